"""Rounds on boards behind a real sshd on 127.0.0.1: they make what children here would make of the same data."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from board_wheels import PYTHON, write_wheels
from finetune_example import make_artifact  # noqa: F401 - a fixture
from loopback_sshd import MISSING, Sshd, loopback_sshd, processes_in
from native_artifact import write_images

from edge.chance import mix
from edge.errors import InputError
from edge.handover.artifact import Artifact, open_artifact
from edge.handover.state import read_state, write_state
from export.flower import gateway
from export.flower.averaging import Update
from export.flower.board_round import place_on
from export.flower.boards import Boards
from export.flower.gateway import train_on_boards
from export.flower.layout import layout_of_artifact, weights_of
from export.flower.merging import together
from export.flower.orders import Order, Place
from export.flower.rounds import Trained, train, trained
from mest.errors import InputError as RefusedInput
from mest.errors import MestError

LIST = """boards:
- one
- {name: attic, host: two}
- gone
- bare
groups: {both: [one, attic], first: [one], second: [attic]}
"""
ORDER = Order(learning_rate=0.05, batch_size=8, gradient_weight=1.0, seed=3)
needs_sshd = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


@pytest.fixture(scope="module")
def artifact(make_artifact) -> Artifact:  # noqa: F811
    """One that the boards have."""
    return open_artifact(make_artifact())


@pytest.fixture(scope="module")
def server(tmp_path_factory, artifact: Artifact) -> Iterator[Sshd]:
    """Two boards with the artifact, one that nobody answers for and one without anything."""
    pytest.importorskip("yaml", reason="needs yaml for the list of boards")
    base = tmp_path_factory.mktemp("boards")
    wheels = write_wheels(base / "wheels")
    with loopback_sshd(base / "sshd", ("one", "two", "bare")) as server:
        with open(server.config, "a") as config:
            config.write(f"Host gone\n  HostName 127.0.0.1\n  Port 1\n  IdentityFile {server.folder / 'one'}\n")
        command = [sys.executable, "-m", "mest", "deploy", artifact.path, "one", "two", "--wheels", wheels]
        command += ["--ssh-config", server.config, "--board-python", base_python(), "--out", base / "home", "-q"]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        yield server


def base_python() -> str:
    return str(Path(sys.base_prefix) / "bin" / f"python{PYTHON}")


@pytest.fixture
def boards(server: Sshd, tmp_path: Path):
    """A function from a group of the list to its boards."""
    (tmp_path / "boards.yaml").write_text(LIST)

    def read(group: str = "", **beside: object) -> Boards:
        given = {"boards": str(tmp_path / "boards.yaml"), "board-python": base_python(), "group": group}
        found = Boards.read({**given, "ssh-config": str(server.config), **beside})
        assert found is not None
        return found

    return read


@pytest.fixture
def place(tmp_path: Path, artifact: Artifact) -> Place:
    """A gateway that sends each board data of its own."""
    for board, count in (("one", 40), ("attic", 80), ("gone", 20), ("bare", 20)):
        write_images(tmp_path / f"part-{board}.npz", artifact.network, count, count)
    return Place(artifact.path, str(tmp_path / "part-{board}.npz"), tmp_path / "work", threads=1, name="gate")


def trained_here(artifact: Artifact, place: Place, work: Path, number: int, board: str) -> Trained:
    """What a child of this machine makes of a board's data."""
    layout = layout_of_artifact(artifact)
    own = replace(place_on(place, board), work=work / board)
    order = ORDER.seeded(mix(ORDER.seed, number))
    return train(own, artifact, layout, weights_of(layout, layout.parameters), order, wants_scores=True)


@needs_sshd
def test_boards_make_what_children_here_would(artifact, server: Sshd, boards, place: Place, tmp_path: Path) -> None:
    """Bit for bit, by samples; two that fail are a line each; nothing of the round stays, data are sent once."""
    layout = layout_of_artifact(artifact)
    weights = weights_of(layout, layout.parameters)
    found = train_on_boards(boards(), place, artifact, layout, weights, ORDER, wants_scores=True)
    here = {name: trained_here(artifact, place, tmp_path, number, name) for number, name in enumerate(("one", "attic"))}
    updates = [Update(name, one.samples, one.weights, one.scores) for name, one in here.items()]
    expected = together(layout, "gate", updates)
    assert found.samples == expected.samples == 30 + 70
    for name in layout.parameters:
        assert found.weights.values[name].tobytes() == expected.weights.values[name].tobytes()
        if name in layout.sparse:
            assert (found.weights.values[name] != weights.values[name]).any()
    assert expected.scores
    for name in expected.scores:
        assert found.scores[name].tobytes() == expected.scores[name].tobytes()
    assert [line.partition(":")[0] for line in found.left_out] == ["gone", "bare"]
    assert found.left_out[0].startswith("gone: no connection")
    assert "has nothing installed; 'mest deploy ARTIFACT BOARD' installs" in found.left_out[1]
    for name in here:
        assert found.facts[f"{name}/planned-peak-bytes"] > 0
        assert found.facts[f"{name}/seconds"] >= found.facts[f"{name}/run-seconds"] - 0.1
        assert found.facts[f"{name}/num-examples"] == here[name].samples
        assert json.loads(found.plan)[name]["micro_batch"] == json.loads(here[name].plan)["micro_batch"]
    for board in ("one", "two"):
        root = server.homes[board] / ".mest"
        assert list((root / "jobs").iterdir()) == []
        (data,) = (root / "data").iterdir()
        assert [path.suffix for path in data.iterdir()] == [".npz"]
    again = train_on_boards(boards("both"), place, artifact, layout, found.weights, ORDER)
    for name in here:
        size = (tmp_path / f"part-{name}.npz").stat().st_size
        assert found.facts[f"{name}/copied-bytes"] > size
        assert 0 < again.facts[f"{name}/copied-bytes"] < found.facts[f"{name}/copied-bytes"] - size + 4096
    assert again.left_out == ()
    assert all((again.weights.values[name] != found.weights.values[name]).any() for name in layout.sparse)


@needs_sshd
def test_boards_move_their_own_masks_on_data_that_lie_there(artifact, server: Sshd, boards, place: Place) -> None:
    """What differs is joined and pruned back to as many units; the data are read where the board has them."""
    layout = layout_of_artifact(artifact)
    weights = weights_of(layout, layout.parameters)
    for name in ("one", "attic"):
        (server.folder / f"{name}.npz").write_bytes(Path(place_on(place, name).data).read_bytes())
    there = replace(place, data=f"board:{server.folder}/{{board}}.npz", memory_budget="256MiB")
    order = replace(ORDER, mutate="em", mutate_every=1, epochs=2)
    found = train_on_boards(boards("both"), there, artifact, layout, weights, order)
    encoded = layout.encoded(found.weights)
    for name, parameter in layout.sparse.items():
        assert (found.weights.masks[name] != weights.masks[name]).any()
        assert encoded[name].nonzeros == parameter.nonzeros
    for name in ("one", "attic"):
        assert found.facts[f"{name}/budget-bytes"] == 256 * 2**20
        assert found.facts[f"{name}/planned-peak-bytes"] <= 256 * 2**20


@needs_sshd
def test_a_budget_that_nothing_fits_is_the_boards_own_line(artifact, boards, place: Place, server: Sshd) -> None:
    """A failed round goes back to no other version, and leaves nothing behind either."""
    layout = layout_of_artifact(artifact)
    weights = weights_of(layout, layout.parameters)
    active = (server.homes["one"] / ".mest" / "active").readlink()
    with pytest.raises(InputError, match=r"^no board trained: one: mest finetune: .*budget"):
        train_on_boards(boards("first"), replace(place, memory_budget="1MiB"), artifact, layout, weights, ORDER)
    assert (server.homes["one"] / ".mest" / "active").readlink() == active
    assert list((server.homes["one"] / ".mest" / "jobs").iterdir()) == []


@needs_sshd
def test_a_board_that_is_late_is_left_out_until_it_ends(
    artifact, boards, place: Place, server: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its run goes on, so the next round goes without it; once that run is gone, it takes part and clears up."""
    jobs = server.homes["two"] / ".mest" / "jobs"

    def seconds() -> float:  # the hour is over as soon as the run has begun, however fast this machine is
        return 3600.0 * any("epoch 1:" in path.read_text() for path in jobs.glob("*/said.log"))

    layout = layout_of_artifact(artifact)
    weights = weights_of(layout, layout.parameters)
    endless = replace(ORDER, epochs=1_000_000)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(gateway, "time", SimpleNamespace(monotonic=seconds))
            with pytest.raises(InputError, match=r"attic: did not end within 3000 s"):
                train_on_boards(boards("second"), place, artifact, layout, weights, endless)
        with pytest.raises(InputError, match=r"attic: run [0-9a-f]{16} is at work there; this round goes without it"):
            train_on_boards(boards("second"), place, artifact, layout, weights, ORDER)
    finally:
        for pid in processes_in(server.homes["two"]):
            os.kill(pid, signal.SIGKILL)
    done = train_on_boards(boards("second"), place, artifact, layout, weights, ORDER)
    assert done.samples == 70
    assert list(jobs.iterdir()) == []


@needs_sshd
def test_a_round_goes_on_after_a_reset_of_the_board(
    artifact, boards, place: Place, server: Sshd, tmp_path: Path
) -> None:
    """Everything of ours on the board dies at once; the same round continues the run, to the same weights."""
    layout = layout_of_artifact(artifact)
    weights = weights_of(layout, layout.parameters)
    order, jobs = replace(ORDER, epochs=300), server.homes["one"] / ".mest" / "jobs"
    found: list[Trained] = []

    def serve() -> None:
        found.append(train_on_boards(boards("first"), place, artifact, layout, weights, order))

    at_work = threading.Thread(target=serve)
    at_work.start()
    said: list[Path] = []
    while not any("epoch 5:" in path.read_text() for path in said):
        assert at_work.is_alive()
        time.sleep(0.01)
        said = list(jobs.glob("*/said.log"))
    for pid in processes_in(server.homes["one"]):
        os.kill(pid, signal.SIGKILL)
    killed_at = said[0].read_text().count("epoch ")
    at_work.join(200)
    (done,) = found
    assert killed_at < 300
    own = replace(place_on(place, "one"), work=tmp_path / "here")
    here = train(own, artifact, layout, weights, order.seeded(mix(order.seed, 0)))
    for name in layout.parameters:
        assert done.weights.values[name].tobytes() == here.weights.values[name].tobytes()
    assert done.facts["one/steps"] == here.facts["steps"]


def test_what_a_board_sends_is_looked_at(artifact, place: Place, tmp_path: Path) -> None:
    """An answer without figures and a state without its arrays are a refusal of one line."""
    layout = layout_of_artifact(artifact)
    local = replace(place_on(place, "one"), work=tmp_path / "work")
    train(local, artifact, layout, weights_of(layout, layout.parameters), ORDER)
    end = tmp_path / "work" / "end"
    with pytest.raises(InputError, match="are not those of a fine-tuning"):
        trained(end, artifact, {}, layout, ORDER, False)
    saved = read_state(end)
    fewer = {name: array for name, array in saved.tensors.items() if not name.endswith("/values")}
    write_state(tmp_path / "fewer", saved.facts, fewer)
    with pytest.raises(MestError, match="the state holds no"):
        trained(tmp_path / "fewer", artifact, {"plan": {}, "samples_train": 3}, layout, ORDER, False)


def test_a_node_names_its_boards(tmp_path: Path) -> None:
    """None without a list; what is about boards is refused without one, and what is wrong with them by name."""
    pytest.importorskip("yaml", reason="needs yaml for the list of boards")
    (tmp_path / "list.yaml").write_text(LIST)
    given = {"boards": str(tmp_path / "list.yaml")}
    assert Boards.read({"artifact": "here"}) is None
    found = Boards.read({**given, "group": "both", "board-seconds": 60})
    assert found is not None
    assert [one.name for one in found.listed] == ["one", "attic"]
    assert list(found.channels()) == ["one", "attic"]
    assert found.seconds == 60.0
    with pytest.raises(InputError, match=r'group is about boards; give boards="FILE", or leave it out'):
        Boards.read({"group": "both"})
    with pytest.raises(InputError, match="board-seconds 0: must be above 0"):
        Boards.read({**given, "board-seconds": 0})
    with pytest.raises(InputError, match="at-once 'all': must be like 8"):
        Boards.read({**given, "at-once": "all"})
    with pytest.raises(RefusedInput, match="no such group"):
        Boards.read({**given, "group": "none"})
