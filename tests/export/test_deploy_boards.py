"""`mest deploy` against a real sshd on 127.0.0.1: whole runs, cuts, kills, versions and refusals.

Boards are homes of their own on this machine; their wheels lead to the packages that are here.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from board_wheels import PYTHON, write_wheels
from finetune_example import NAMES, PREPROCESS, build_model, digits, make_artifact  # noqa: F401 - a fixture
from loopback_sshd import MISSING, Sshd, loopback_sshd, processes_in
from test_deploy_bundle import HERE, _spoil, rewritten

from edge.install.jobs import Job
from edge.install.versions import Board
from edge.plan.choices import OptimizerChoice
from export.artifact import export_artifact
from export.options import Options
from export.source import Source

pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
_FIRST = ("one", "two", "cut", "run", "kill", "back", "reset", "small", "check", "health", "sent", "signed")
BOARDS = (*_FIRST, "first", "worse", "boot")
BASE_PYTHON = str(Path(sys.base_prefix) / "bin" / f"python{PYTHON}")


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Sshd]:
    """One server for the whole module; every test has a board of its own."""
    with loopback_sshd(tmp_path_factory.mktemp("sshd"), BOARDS) as server:
        yield server


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> Path:
    """The folder that packages take their wheels from."""
    return write_wheels(tmp_path_factory.mktemp("board") / "wheels")


@pytest.fixture
def artifact(make_artifact, tmp_path: Path) -> Path:  # noqa: F811
    """An artifact of its own, to be altered."""
    return Path(shutil.copytree(make_artifact(), tmp_path / "artifact"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Digits of another sensor."""
    images, labels = digits(400, shift=1)
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    return tmp_path / "data.npz"


@pytest.fixture
def deploy(server: Sshd, wheels: Path, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """A function that begins a deployment of an artifact or a bundle in a process of its own."""

    def begin(
        source: Path, boards: tuple[str, ...], *words: object, wheels: Path | None = wheels
    ) -> subprocess.Popen[str]:
        options = ["--ssh-config", server.config, "--board-python", BASE_PYTHON, "--out", tmp_path / "home", "--json"]
        options += ["--wheels", wheels] if source.is_dir() else []
        command = [sys.executable, "-m", "mest", "deploy", source, *boards, *options, *words]
        pipe = subprocess.PIPE
        return subprocess.Popen([str(word) for word in command], stdout=pipe, stderr=pipe, text=True)

    return begin


def ended(process: subprocess.Popen[str], code: int = 0) -> dict:
    """The answer of a deployment that ends with a code, by board; its messages as `said`."""
    out, said = process.communicate(timeout=240)
    assert process.returncode == code, said
    found: dict = json.loads(out)["boards"]
    for one in found.values():
        one["said"] = [line.partition(": ")[2] for line in said.splitlines() if line.startswith(f"{one['board']}:")]
    return found


def board_of(server: Sshd, name: str) -> Board:
    return Board(server.homes[name] / ".mest")


def tuning(data: Path, epochs: int = 1, *more: object) -> list[object]:
    return ["--", "finetune", "--data", data, "--memory-budget", "2GiB", "--epochs", epochs, *more]


def wait_for(look: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Until `look` gives something true; fails if the process ends before."""
    while not look():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)


def test_two_boards_and_one_that_is_not_there(deploy, server: Sshd, artifact: Path, data: Path, tmp_path: Path) -> None:
    """Results apart, the failure touches nobody else; again, nothing is copied and the same is brought home."""
    with open(server.config, "a") as config:
        config.write(f"Host gone\n  HostName 127.0.0.1\n  Port 1\n  IdentityFile {server.folder / 'one'}\n")
    found = ended(deploy(artifact, ("one", "gone", "two"), *tuning(data)), 2)
    assert found["gone"]["refused"].startswith("no connection")
    for name in ("one", "two"):
        result = found[name]["result"]
        assert found[name]["exit_code"] == 0
        assert result["zeros_kept"] is True
        assert found[name]["plan"]["planned_peak_bytes"] > 0
        assert result["accuracy_after"] > result["accuracy_before"]
        assert (tmp_path / "home" / name / "report" / "report.html").is_file()
        again = subprocess.run(
            [sys.executable, "-m", "mest", "eval", tmp_path / "home" / name / "state", "--data", data, "--json"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(again.stdout)["images"] == 400
    before = {path: path.read_bytes() for path in (tmp_path / "home" / "one" / "state").iterdir()}
    again = ended(deploy(artifact, ("one",), *tuning(data)))["one"]
    assert again["copied_bytes"] == 0
    assert any(line.endswith(": ended") for line in again["said"])
    assert again["result"] == found["one"]["result"]
    assert {path: path.read_bytes() for path in (tmp_path / "home" / "one" / "state").iterdir()} == before


def test_check_changes_nothing(deploy, server: Sshd, artifact: Path, data: Path) -> None:
    """It says what would be copied and installed."""
    found = ended(deploy(artifact, ("check",), "--check", *tuning(data)))["check"]
    assert found["would_install"].startswith("1-")
    assert found["to_copy_bytes"] > data.stat().st_size
    assert list(server.homes["check"].iterdir()) == []


@pytest.fixture(scope="module")
def heavy_wheels(wheels: Path, tmp_path_factory) -> Path:
    """The same wheels, one of them too large to be sent in a moment."""
    folder = Path(shutil.copytree(wheels, tmp_path_factory.mktemp("heavy") / "wheels"))
    with ZipFile(next(folder.glob("numpy*")), "a") as archive:
        archive.writestr("ballast.bin", np.random.default_rng(0).bytes(120 * 2**20))
    return folder


def test_a_connection_cut_while_copying(deploy, server: Sshd, artifact: Path, heavy_wheels: Path) -> None:
    """Copying goes on by itself where it was cut, and what arrives is whole."""
    store = board_of(server, "cut").store
    process = deploy(artifact, ("cut",), wheels=heavy_wheels)
    for more in (5 * 2**20, 20 * 2**20):
        least = part_bytes(store.folder) + more
        wait_for(lambda least=least: part_bytes(store.folder) >= least, process)  # type: ignore[misc]
        assert server.cut() > 0
    found = ended(process)["cut"]
    assert board_of(server, "cut").active() == found["active"]
    tries = [line for line in found["said"] if line.startswith("copying")]
    assert len(tries) == 3
    assert sum("no connection" in line for line in found["said"]) == 2
    assert not list(store.folder.glob("*.part"))
    sizes = [float(line.split()[1]) for line in tries]
    assert sizes[0] > sizes[1] > sizes[2]  # what was there is not sent again


def part_bytes(folder: Path) -> int:
    try:
        return max((path.stat().st_size for path in folder.glob("*.part")), default=0)
    except FileNotFoundError:
        return 0


def test_a_connection_cut_while_running(deploy, server: Sshd, artifact: Path, data: Path) -> None:
    """The run goes on meanwhile; deploy attaches again and misses nothing of what was said."""
    process = deploy(artifact, ("run",), *tuning(data, 150))
    log = server.homes["run"] / ".mest" / "jobs"
    wait_for(lambda: any("epoch 5:" in path.read_text() for path in log.glob("*/said.log")), process)
    assert server.cut() > 0
    found = ended(process)["run"]
    assert any("no connection" in line for line in found["said"])
    epochs = [line.split(":")[0] for line in found["said"] if line.startswith("epoch ")]
    assert epochs == [f"epoch {number}" for number in range(150)]
    assert sum(line.startswith("engine native") for line in found["said"]) == 1
    assert found["result"]["steps"] == 150 * 12


def test_kills_at_random_moments(deploy, server: Sshd, artifact: Path, data: Path) -> None:
    """The active version is a whole one after each, and the next call finishes."""
    draw, board = random.Random(7), board_of(server, "kill")
    for number in range(6):
        process = deploy(artifact, ("kill",), *tuning(data, 20))
        time.sleep(draw.uniform(0.5, 6.0))
        process.kill()
        process.communicate()
        active = board.active()
        assert active is None or active in board.installed(), number
        if active is not None:
            subprocess.run([board.root / "active" / "start", "verify", "-q"], check=True, stdout=subprocess.DEVNULL)
    found = ended(deploy(artifact, ("kill",), *tuning(data, 20)))["kill"]
    assert found["result"]["zeros_kept"] is True
    assert board.installed() == [found["active"]]
    assert len(list((board.root / "jobs").iterdir())) == 1


def test_a_reset_of_the_board(deploy, server: Sshd, artifact: Path, data: Path, tmp_path: Path) -> None:
    """Everything of ours on the board dies at once; the next call continues the run, to the same weights."""
    words = tuning(data, 90, "--save-every", 10)
    process = deploy(artifact, ("reset",), *words)
    jobs = server.homes["reset"] / ".mest" / "jobs"
    wait_for(lambda: any("epoch 5:" in path.read_text() for path in jobs.glob("*/said.log")), process)
    process.kill()
    process.communicate()
    for pid in processes_in(server.homes["reset"]):
        os.kill(pid, signal.SIGKILL)
    (folder,) = jobs.iterdir()
    assert Job(board_of(server, "reset"), folder.name).ended() is None
    found = ended(deploy(artifact, ("reset",), *words))["reset"]
    assert any(line.endswith(": continued") for line in found["said"])
    assert found["result"]["steps"] == 90 * 12
    alone = [sys.executable, "-m", "mest", "finetune", artifact, "--out", tmp_path / "alone", "-q", *words[2:]]
    subprocess.run([str(word) for word in alone], check=True, stdout=subprocess.DEVNULL)
    tensors = [next(place.glob("tensors-*.bin")).read_bytes() for place in (tmp_path / "alone", folder / "state")]
    assert tensors[0] == tensors[1]


def test_a_board_that_restarts_continues_by_itself(deploy, server: Sshd, artifact: Path, data: Path) -> None:
    """By the line that was written for cron: run after everything was killed, it ends the run and is gone then."""
    home = server.homes["boot"]
    (home / "bin").mkdir()
    for name, text in (("crontab", FAKE_CRONTAB), ("loginctl", "#!/bin/sh\nexit 1\n")):
        (home / "bin" / name).write_text(text)
        (home / "bin" / name).chmod(0o755)
    (home / "crontab").write_text("0 5 * * * backup\n")
    process = deploy(artifact, ("boot",), "--resume-on-boot", *tuning(data, 25, "--save-every", 12))
    jobs = home / ".mest" / "jobs"
    wait_for(lambda: any("epoch 5:" in path.read_text() for path in jobs.glob("*/said.log")), process)
    process.kill()
    process.communicate()
    for pid in processes_in(home):
        os.kill(pid, signal.SIGKILL)
    (folder,) = jobs.iterdir()
    other, line = (home / "crontab").read_text().splitlines()
    around = {"HOME": str(home), "PATH": f"{home / 'bin'}:/usr/bin:/bin"}  # cron gives no more
    command = ["/bin/sh", "-c", line.removeprefix("@reboot ")]
    subprocess.run(command, env=around, cwd="/", stdout=subprocess.DEVNULL, check=True, timeout=120)
    assert (home / "crontab").read_text().splitlines() == [other] == ["0 5 * * * backup"]
    ended_well = Job(board_of(server, "boot"), folder.name).ended()
    assert ended_well is not None
    assert ended_well["code"] == 0
    found = ended(deploy(artifact, ("boot",), "--resume-on-boot", *tuning(data, 25, "--save-every", 12)))["boot"]
    assert found["result"]["steps"] == 25 * 12
    assert found["resumes_on_boot"] is None
    assert (home / "crontab").read_text().splitlines() == [other]


FAKE_CRONTAB = """#!/bin/sh
case $1 in
-l) cat "$HOME/crontab" ;;
-) cat >"$HOME/crontab.new" && mv "$HOME/crontab.new" "$HOME/crontab" ;;
esac
"""


def test_versions_go_up_and_back(
    deploy, server: Sshd, artifact: Path, data: Path, wheels: Path, tmp_path: Path
) -> None:
    """A second version, a first run of it that fails, which makes the first active again; and older bundles."""
    board = board_of(server, "back")
    first = ended(deploy(artifact, ("back",), *tuning(data)))["back"]
    bundle = [sys.executable, "-m", "mest", "bundle", artifact, "--target", HERE, "--wheels", wheels, "-q"]
    subprocess.run([*bundle, "--out", tmp_path / "old.bundle"], check=True)
    failed = ended(deploy(rewritten(artifact), ("back",), *tuning(data, 2, "--lr", "1e30")), 2)["back"]
    assert failed["version"] == 2
    assert failed["ended"] == {**failed["ended"], "code": 2, "back": first["active"]}
    assert failed["active"] == board.active() == first["active"]
    assert any("is active again" in line for line in failed["said"])
    second = ended(deploy(artifact, ("back",), *tuning(data)))["back"]
    assert (second["version"], second["active"]) == (2, board.active())
    older = ended(deploy(tmp_path / "old.bundle", ("back",)), 4)["back"]
    assert "version 2 was active here already" in older["refused"]
    assert ended(deploy(artifact, ("back",), "--rollback"))["back"]["active"] == first["active"] == board.active()


def test_what_does_not_fit_is_not_activated(deploy, server: Sshd, artifact: Path, data: Path) -> None:
    """By the plan that is made there, with the least that would do; and a budget that the board does not have."""
    words = ["--", "finetune", "--data", data, "--memory-budget"]
    found = ended(deploy(artifact, ("small",), *words, "1MiB"), 3)["small"]
    assert "nothing was activated" in found["refused"]
    assert found["plan"]["smallest_budget_bytes"] > 2**20
    assert board_of(server, "small").active() is None
    found = ended(deploy(artifact, ("small",), *words, "64TiB"), 3)["small"]
    assert "does not fit: the board has" in found["refused"]


def test_a_version_that_fails_its_check_is_not_activated(deploy, server: Sshd, artifact: Path) -> None:
    """The one before stays active."""
    first = ended(deploy(artifact, ("health",)))["health"]["active"]
    _spoil(artifact)
    found = ended(deploy(artifact, ("health",)), 4)["health"]
    assert "was not activated" in found["refused"]
    assert board_of(server, "health").active() == first


def test_a_version_that_is_worse_gives_way(deploy, server: Sshd, artifact: Path, tmp_path: Path) -> None:
    """By held-out samples: it is not activated, or the one before is active again where it was activated unseen."""
    images, labels = digits(300)
    np.savez(tmp_path / "held_out.npz", images=images, labels=labels)
    untrained = tmp_path / "untrained"
    export_artifact(Source(build_model(), {}, (1, 8, 8), NAMES, PREPROCESS, OptimizerChoice()), untrained, Options())
    asked, board = ("--health-data", tmp_path / "held_out.npz"), board_of(server, "worse")
    good = ended(deploy(artifact, ("worse",), *asked))["worse"]
    assert (good["health"]["other"], good["health"]["worse"]) == (None, False)
    assert good["health"]["accuracy"] > 0.5
    bad = ended(deploy(untrained, ("worse",), *asked, "--health-drop", 0.1), 4)["worse"]
    assert bad["refused"].endswith(f"at most 10.0% less is allowed; {bad['installed']} was not activated")
    assert bad["health"]["other_accuracy"] == good["health"]["accuracy"] > bad["health"]["accuracy"] + 0.1
    assert board.active() == good["active"]
    allowed = ended(deploy(untrained, ("worse",), *asked, "--health-drop", 1))["worse"]
    assert board.active() == allowed["active"] == bad["installed"]
    back = ended(deploy(untrained, ("worse",), *asked), 4)["worse"]
    assert back["refused"].endswith(f"{good['active']} is active again")
    assert board.active() == back["active"] == back["health"]["back"] == good["active"]


def test_data_go_along_or_lie_there(deploy, server: Sshd, artifact: Path, data: Path, tmp_path: Path) -> None:
    """A folder with odd names arrives as it is; board:PATH is read where it lies."""
    from PIL import Image

    images, labels = digits(60, shift=1)
    for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        place = tmp_path / "photos" / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(place / f"ä photo '{number}'.png")
    found = ended(deploy(artifact, ("sent",), *tuning(tmp_path / "photos")))["sent"]
    assert found["result"]["samples_train"] + found["result"]["samples_held_out"] == 60
    (sent,) = (server.homes["sent"] / ".mest" / "data").iterdir()
    names = {path.relative_to(sent).as_posix() for path in sent.rglob("*.png")}
    assert names == {path.relative_to(tmp_path / "photos").as_posix() for path in (tmp_path / "photos").rglob("*.png")}
    there = shutil.copyfile(data, server.homes["sent"] / "there.npz")
    found = ended(deploy(artifact, ("sent",), *tuning(f"board:{there}")))["sent"]
    assert found["result"]["samples_train"] > 60
    assert len(list((server.homes["sent"] / ".mest" / "data").iterdir())) == 1


def test_stages_of_a_list(deploy, server: Sshd, artifact: Path, data: Path, tmp_path: Path) -> None:
    """The first board first; the next stage is refused by a board that is not there, and the last does not begin."""
    (tmp_path / "boards.yaml").write_text(
        "boards:\n- {name: pioneer, host: first, place: ~/.elsewhere}\n- {name: lost, host: -x}\n- check\n"
        "groups: {most: [pioneer, check]}\n"
    )
    words = ["--stage", "1,2,100%", *tuning(data)]
    with pytest.raises(AssertionError, match="board '-x': must be a host"):  # before anything is connected
        ended(deploy(artifact, ("--boards", tmp_path / "boards.yaml"), *words))
    listed = (tmp_path / "boards.yaml").read_text().replace("host: -x", "python: python2.9, host: check")
    (tmp_path / "boards.yaml").write_text(listed)
    process = deploy(artifact, ("--boards", tmp_path / "boards.yaml"), *words)
    out, said = process.communicate(timeout=240)
    assert process.returncode == 2, said
    answer = json.loads(out)
    assert [stage["failed"] for stage in answer["stages"]] == [[], ["lost"], []]
    found = answer["boards"]
    assert found["pioneer"]["result"]["zeros_kept"] is True
    assert (server.homes["first"] / ".elsewhere" / "active").is_symlink()
    assert "has no python2.9" in found["lost"]["refused"]
    assert found["check"]["not_begun"] == "lost failed in stage 2"
    assert list(server.homes["check"].iterdir()) == []
    page = Path(answer["page"]).read_text()
    assert page.count("<tr>") == 1 + 3
    assert "pioneer/report/report.html" in page
    look = [sys.executable, "-m", "mest", "boards", tmp_path / "boards.yaml", "--group", "most", "--json"]
    look += ["--ssh-config", server.config, "--board-python", BASE_PYTHON]
    seen = json.loads(subprocess.run(look, capture_output=True, check=True).stdout)["boards"]
    assert seen["pioneer"]["active"] == found["pioneer"]["active"]
    assert [(run["running"], run["code"]) for run in seen["pioneer"]["runs"]] == [(False, 0)]
    assert seen["check"]["active"] is None
    assert list(server.homes["check"].iterdir()) == []


def test_a_board_that_asks_for_signatures(deploy, server: Sshd, artifact: Path, wheels: Path, tmp_path: Path) -> None:
    """It takes what its allowed signer signed, and nothing else becomes active."""
    for name in ("anna", "eve"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    board = board_of(server, "signed")
    board.root.mkdir()
    (board.root / "allowed_signers").write_text(f'anna namespaces="mest" {(tmp_path / "anna.pub").read_text()}')
    bundle = [sys.executable, "-m", "mest", "bundle", artifact, "--target", HERE, "--wheels", wheels, "-q"]
    for name in ("anna", "eve"):
        subprocess.run([*bundle, "--sign", tmp_path / name, "--out", tmp_path / f"{name}.bundle"], check=True)
    for source in (artifact, tmp_path / "eve.bundle"):
        found = ended(deploy(source, ("signed",)), 4)["signed"]
        assert "sign" in found["refused"]
        assert (board.active(), board.installed()) == (None, [])
    assert ended(deploy(tmp_path / "anna.bundle", ("signed",)))["signed"]["active"] == board.active()


def test_messages_of_a_board_speak_of_options(deploy, artifact: Path, tmp_path: Path) -> None:
    """What goes wrong beside the others is told as the command line spells it."""
    found = ended(deploy(artifact, ("one",), wheels=tmp_path / "nowhere"), 2)["one"]
    assert found["refused"].startswith("--wheels ")


def test_a_board_without_python(deploy, artifact: Path) -> None:
    """It is said so, and what to do."""
    found = ended(deploy(artifact, ("one",), "--board-python", "python2.9"), 2)["one"]
    assert "has no python2.9" in found["refused"]
