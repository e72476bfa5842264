"""States: whole or not at all, and every alteration is found."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edge.errors import DamagedError, InputError
from edge.files.digest import file_sha256
from edge.handover import state as state_module
from edge.handover.artifact import MANIFEST_FILE, find_artifact
from edge.handover.state import STATE_FILE, _check, is_state, read_facts, read_state, stored_tensors, write_state

ROOT = Path(__file__).parents[3]
TENSORS = {
    "weights": np.arange(12, dtype=np.float32).reshape(3, 4),
    "columns": np.array([1, 2, 250], dtype=np.uint8),
    "empty": np.empty((0, 4), np.float32),
    "steps": np.array([7], dtype=np.int64),
}


def assert_same(left, right):
    assert sorted(left) == sorted(right)
    for name, array in left.items():
        assert array.dtype == right[name].dtype
        np.testing.assert_array_equal(array, right[name])


def test_a_state_comes_back_bit_for_bit(tmp_path):
    """Every dtype and shape, an empty one included, and the facts beside them."""
    write_state(tmp_path / "s", {"step": 7, "engine": "ort"}, TENSORS)
    state = read_state(tmp_path / "s")
    assert state.facts == {"step": 7, "engine": "ort"}
    assert_same(state.tensors, TENSORS)


def test_arrays_are_left_on_the_disk_until_they_are_asked_for(tmp_path):
    """Also once the next generation has taken the file's name away; those of a prefix can be left out."""
    write_state(tmp_path, {"step": 7}, TENSORS)
    stored = stored_tensors(tmp_path)
    write_state(tmp_path, {"step": 8}, {})
    assert_same(dict(stored), TENSORS)
    assert set(stored.without("we")) == set(TENSORS) - {"weights"}
    assert stored["weights"] is not stored["weights"]


def test_a_new_generation_replaces_the_old_one(tmp_path):
    """Only one generation's tensors stay on the disk."""
    for step in range(3):
        assert write_state(tmp_path, {"step": step}, TENSORS) == step + 1
    assert read_facts(tmp_path) == {"step": 2}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["state.json", "tensors-3.bin"]


def test_tensors_start_at_multiples_of_64(tmp_path):
    """So that a reader may map them."""
    write_state(tmp_path, {}, TENSORS)
    entries = json.loads((tmp_path / "state.json").read_text())["tensors"]["entries"]
    assert all(entry["offset"] % 64 == 0 for entry in entries)


def test_an_empty_folder_is_no_state(tmp_path):
    """Continuing from nothing is bad input, not damage."""
    assert not is_state(tmp_path)
    with pytest.raises(InputError, match=r"start without resume$"):
        read_state(tmp_path)


@pytest.mark.parametrize("damage", ["flip", "truncate", "missing", "json", "facts", "schema"])
def test_every_alteration_is_found_by_name(tmp_path, damage):
    """A flipped bit, a cut file, an edited fact: each is refused with the file's name."""
    write_state(tmp_path, {"step": 1}, TENSORS)
    tensors, description = tmp_path / "tensors-1.bin", tmp_path / "state.json"
    if damage == "flip":
        content = bytearray(tensors.read_bytes())
        content[-1] ^= 1
        tensors.write_bytes(content)
    elif damage == "truncate":
        tensors.write_bytes(tensors.read_bytes()[:-4])
    elif damage == "missing":
        tensors.unlink()
    elif damage == "json":
        description.write_text(description.read_text()[:-20])
    elif damage == "facts":
        description.write_text(description.read_text().replace('"step": 1', '"step": 2'))
    else:
        description.write_text('{"schema": "other/1"}')
    with pytest.raises(DamagedError, match=r"tensors-1\.bin|state\.json"):
        read_state(tmp_path)


def test_a_full_disk_keeps_the_last_state(tmp_path, monkeypatch):
    """The message says what to do, and what was there can still be read."""
    write_state(tmp_path, {"step": 1}, TENSORS)
    write = os.write
    written = 0

    def full(descriptor, data):
        nonlocal written
        written += len(data)
        if written > 100:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data)

    monkeypatch.setattr(state_module.os, "write", full)
    with pytest.raises(InputError, match="make room"):
        write_state(tmp_path, {"step": 2}, TENSORS)
    monkeypatch.undo()
    assert read_state(tmp_path).facts == {"step": 1}
    write_state(tmp_path, {"step": 2}, TENSORS)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["state.json", "tensors-2.bin"]


def test_a_damaged_state_is_never_written_over(tmp_path):
    """Saving into it is refused as reading it is."""
    write_state(tmp_path, {"step": 1}, TENSORS)
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(DamagedError):
        write_state(tmp_path, {"step": 2}, TENSORS)


SAVER = """
import sys
import numpy as np
from pathlib import Path
from edge.handover.state import write_state
folder, step = Path(sys.argv[1]), 0
while True:
    step += 1
    write_state(folder, {"step": step}, {"a": np.full(50_000, step, np.int64), "b": np.full(3, step, np.int64)})
    print(step, flush=True)
"""


def kill_while_saving(folder, rounds):
    for number in range(rounds):
        process = subprocess.Popen([sys.executable, "-c", SAVER, str(folder)], cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.003 * (1 + number % 11))
        process.send_signal(signal.SIGKILL)
        reported = [int(line) for line in process.stdout.read().split()]
        process.wait()
        state = read_state(folder)
        step = state.facts["step"]
        assert step >= max(reported, default=1)
        assert (state.tensors["a"] == step).all()
        assert (state.tensors["b"] == step).all()


def test_a_kill_while_saving_leaves_a_whole_state(tmp_path):
    """SIGKILL in the middle of a write: the state is one generation, never a mixture, never older than reported."""
    kill_while_saving(tmp_path, 4)


@pytest.mark.slow
def test_a_hundred_kills_while_saving(tmp_path):
    """The same, many times."""
    kill_while_saving(tmp_path, 100)


def test_a_state_finds_its_artifact_where_it_was_or_beside_itself(tmp_path):
    """By its bytes: a new export in the old place does not hide the old one beside the state."""
    there, state = tmp_path / "there" / "artifact", tmp_path / "here" / "state"
    beside = state.parent / "artifact"
    for folder in (there, beside, state):
        folder.mkdir(parents=True)
    (there / MANIFEST_FILE).write_text("first")
    facts = {"path": str(there), "manifest_sha256": file_sha256(there / MANIFEST_FILE)}
    assert find_artifact(state, facts)[0] == there
    (beside / MANIFEST_FILE).write_text("first")
    (there / MANIFEST_FILE).write_text("exported again")
    assert find_artifact(state, facts)[0] == beside
    (beside / MANIFEST_FILE).unlink()
    with pytest.raises(DamagedError, match=f"^{re.escape(str(there))}: is not the artifact that .* another state"):
        find_artifact(state, facts)
    (there / MANIFEST_FILE).unlink()
    with pytest.raises(InputError, match="put it beside the state, under any name"):
        find_artifact(state, facts)


def test_a_state_finds_its_artifact_beside_itself_under_any_name(tmp_path, monkeypatch):
    """A state that came from a board lies beside the artifact that went there, whatever that was called here."""
    state, damaged, other, wanted = (tmp_path / name for name in ("state", "a-page", "another", "digits-artifact"))
    for folder, manifest in ((damaged, "not JSON"), (other, "another"), (wanted, "first")):
        folder.mkdir()
        (folder / MANIFEST_FILE).write_text(manifest)
    for facts in (
        {"path": "/home/pi/artifact", "manifest_sha256": file_sha256(wanted / MANIFEST_FILE)},
        {"path": str(other), "manifest_sha256": file_sha256(wanted / MANIFEST_FILE)},
    ):
        assert find_artifact(state, facts)[0] == wanted
    state.mkdir()
    monkeypatch.chdir(state)
    assert find_artifact(Path(), facts)[0] == wanted
    with pytest.raises(InputError, match="neither at /home/pi/artifact nor beside the state"):
        find_artifact(state, {"path": "/home/pi/artifact", "engine": "native", "sha256": "0" * 64})


@pytest.mark.parametrize(
    ("part", "key", "value", "said"),
    [
        ("facts", "engine", 3, "'engine' must be one of native, ort"),
        ("facts", "choices", {"optimizer": {"momentum": "much"}}, "facts.choices.optimizer.momentum: 'much'"),
        ("facts", "choices", {"threads": True}, "facts.choices.threads: True where int"),
        ("facts", "artifact", {"path": None, "manifest_sha256": ""}, "facts.artifact: 'path' must be text"),
        ("facts", "artifact", {"path": "a", "engine": "native"}, "facts.artifact: 'sha256' is missing"),
        ("facts", "class_names", [None], "'class_names' must hold printable text"),
        ("tensors", "file", "../other.bin", "cannot be the name of a file of a state"),
        ("tensors", "bytes", "many", "'bytes' must hold integers"),
        (
            "tensors",
            "entries",
            [{"name": "a", "dtype": "|O", "shape": [1], "offset": 0}],
            "is not one that engines keep",
        ),
        ("tensors", "entries", [{"name": "a", "dtype": "<f4", "shape": [2**40], "offset": 0}], "do not lie within"),
        ("tensors", "entries", [{"name": "a", "dtype": "<f4", "shape": [None], "offset": 0}], "'shape' must hold"),
    ],
)
def test_a_signed_description_with_wrong_types_is_named(tmp_path, part, key, value, said):
    """Whoever alters a state can renew its checksum; each field is of its type, or named with its place."""
    write_state(tmp_path, {"step": 1}, TENSORS)
    body = json.loads((tmp_path / STATE_FILE).read_text())
    del body["check"]
    body[part][key] = value
    (tmp_path / STATE_FILE).write_text(json.dumps({**body, "check": _check(body)}))
    with pytest.raises(DamagedError, match=re.escape(said)):
        read_state(tmp_path)


def test_a_missing_fact_is_a_damaged_state(tmp_path):
    """Facts that programs add are kept, one that is asked for and not there is named."""
    write_state(tmp_path, {"mine": [1, None]}, TENSORS)
    facts = read_facts(tmp_path)
    assert facts == {"mine": [1, None]}
    with pytest.raises(DamagedError, match=r"state\.json: facts: 'choices' is missing; copy the whole state"):
        facts["choices"]


def test_a_disk_that_is_full_at_the_first_save_claims_nothing(tmp_path, monkeypatch):
    """There is no state before it, and the message does not speak of one."""

    def full(descriptor, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(state_module.os, "write", full)
    with pytest.raises(InputError, match="nothing was saved before; make room and start again") as refused:
        write_state(tmp_path / "s", {"step": 1}, TENSORS)
    assert "--resume" not in str(refused.value)
    assert not is_state(tmp_path / "s")


def test_a_reader_beside_a_writer_gets_a_whole_generation(tmp_path, monkeypatch):
    """The generation that it was told of is gone when it opens the arrays: it takes the one that took its place."""
    write_state(tmp_path, {"step": 1}, TENSORS)
    told = state_module._read_description

    def overtaken(path):
        body = told(path)
        monkeypatch.setattr(state_module, "_read_description", told)
        write_state(path, {"step": 2}, {"weights": np.ones(3, np.float32)})
        return body

    monkeypatch.setattr(state_module, "_read_description", overtaken)
    found = read_state(tmp_path)
    assert found.facts == {"step": 2}
    assert_same(found.tensors, {"weights": np.ones(3, np.float32)})
