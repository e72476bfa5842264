"""Checkpoints are whole or not there, and nothing foreign is taken for one."""

from __future__ import annotations

import errno
import resource
from pathlib import Path

import pytest
import torch

from mest.durable import write_durably, write_json
from mest.errors import DamagedError, InputError
from mest.train.checkpoint import KEYS, load_checkpoint, save_checkpoint

CONTENT = {name: {} for name in KEYS} | {"model": {"weight": torch.arange(6.0)}, "epoch": 3}


def test_round_trip(tmp_path: Path) -> None:
    """Tensors and plain values come back as they were; no other file stays."""
    save_checkpoint(tmp_path / "a.pt", CONTENT)
    assert torch.equal(load_checkpoint(tmp_path / "a.pt")["model"]["weight"], torch.arange(6.0))
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


@pytest.mark.parametrize("size", [1000, 70_000])
def test_a_disk_that_fills_up_keeps_the_checkpoint_before(tmp_path: Path, size: int) -> None:
    """A limit on the file's size stands in for the full disk: one system error, the old file intact."""
    path = tmp_path / "a.pt"
    save_checkpoint(path, CONTENT)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        with pytest.raises(OSError, match=r"a.pt") as failed:
            save_checkpoint(path, CONTENT | {"model": {"weight": torch.rand(100_000)}})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert failed.value.errno == errno.EFBIG
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


def test_any_failure_while_writing_leaves_nothing_behind(tmp_path: Path) -> None:
    """An error in the writer itself is passed on as it is."""
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(ZeroDivisionError):
        write_durably(tmp_path / "a.json", lambda file: file.write(b"x") and 1 // 0)
    assert (tmp_path / "a.json").read_text() == '{\n "a": 1\n}\n'
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_missing_is_bad_input(tmp_path: Path) -> None:
    """A missing checkpoint is not an invitation to start anew."""
    with pytest.raises(InputError, match=r"none.pt: no such checkpoint"):
        load_checkpoint(tmp_path / "none.pt")


def test_truncated_altered_and_foreign_files_are_damaged(tmp_path: Path) -> None:
    """Cut off, one bit changed, another program's, ours without a part."""
    path = tmp_path / "a.pt"
    save_checkpoint(path, CONTENT)
    whole = path.read_bytes()
    where = whole.index(torch.arange(6.0).numpy().tobytes())
    altered = whole[:where] + bytes([whole[where] ^ 1]) + whole[where + 1 :]
    for content in (whole[:-100], whole[: len(whole) // 2], altered, b"", b"hello"):
        path.write_bytes(content)
        with pytest.raises(DamagedError, match=r"a.pt: (damaged|not a readable)"):
            load_checkpoint(path)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(DamagedError, match=r"not a checkpoint of mest"):
        load_checkpoint(path)
    save_checkpoint(path, {"epoch": 1})
    with pytest.raises(DamagedError, match=r"incomplete checkpoint without .*model"):
        load_checkpoint(path)


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self):
        return (Path.touch, (self.victim,))


def test_a_hostile_checkpoint_runs_nothing(tmp_path: Path) -> None:
    """Only tensors and plain values are read."""
    torch.save(Hostile(tmp_path / "made"), tmp_path / "a.pt")
    with pytest.raises(DamagedError):
        load_checkpoint(tmp_path / "a.pt")
    assert not (tmp_path / "made").exists()
