"""Files by content on a board: cut anywhere, they go on from there; altered, they are thrown away."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from edge.errors import DamagedError, InputError
from edge.install import store as store_module
from edge.install.archive import Member, Place
from edge.install.store import Store

CONTENT = bytes(range(256)) * 700
MEMBER = Member("artifact/network.bin", sha256(CONTENT).hexdigest(), len(CONTENT))


def source(content: bytes, cut: int | None = None):
    """A function that reads on from `content`, which ends after `cut` bytes."""
    place = 0

    def read(most: int) -> bytes:
        nonlocal place
        piece = content[: len(content) if cut is None else cut][place : place + min(most, 1000)]
        place += len(piece)
        return piece

    return read


@pytest.mark.parametrize("cut", [0, 1, 999, 1000, 70_000, len(CONTENT) - 1])
def test_a_cut_file_goes_on(tmp_path: Path, cut: int) -> None:
    """What came before the cut is not sent again, and the whole is what was sent."""
    store = Store(tmp_path / "content")
    assert store.arrived(MEMBER) == 0
    with pytest.raises(InputError, match="what came is kept"):
        store.receive(MEMBER, 0, source(CONTENT, cut))
    assert store.arrived(MEMBER) == cut
    assert not store.path(MEMBER.sha256).exists()
    store.receive(MEMBER, cut, source(CONTENT[cut:]))
    assert store.holds(MEMBER)
    assert store.path(MEMBER.sha256).read_bytes() == CONTENT
    assert [path.name for path in store.folder.iterdir()] == [MEMBER.sha256]


def test_a_cut_between_the_last_byte_and_the_name(tmp_path: Path) -> None:
    """It is not here yet, nothing of it is sent again, and it gets its name after it was compared."""
    store = Store(tmp_path)
    (tmp_path / f"{MEMBER.sha256}.part").write_bytes(CONTENT)
    assert not store.holds(MEMBER)
    assert store.arrived(MEMBER) == len(CONTENT)
    store.receive(MEMBER, len(CONTENT), source(b""))
    assert store.holds(MEMBER)
    assert [path.name for path in tmp_path.iterdir()] == [MEMBER.sha256]


def test_an_altered_file_is_thrown_away(tmp_path: Path) -> None:
    """Its first part too, so that the next try begins anew."""
    store = Store(tmp_path / "content")
    with pytest.raises(DamagedError, match="arrived altered"):
        store.receive(MEMBER, 0, source(CONTENT[:-1] + b"\0"))
    assert store.arrived(MEMBER) == 0
    assert list(store.folder.iterdir()) == []


def test_no_more_is_written_than_was_announced(tmp_path: Path) -> None:
    """Even if whoever sends goes on."""
    store = Store(tmp_path / "content")
    pieces = iter([CONTENT, b"more"])
    store.receive(MEMBER, 0, lambda most: next(pieces))
    assert store.path(MEMBER.sha256).read_bytes() == CONTENT
    longer = iter([CONTENT[:-1], b"more"])
    with pytest.raises(DamagedError, match="arrived altered"):
        store.receive(Member("other", "0" * 64, len(CONTENT)), 0, lambda most: next(longer))
    assert [path.name for path in store.folder.iterdir()] == [MEMBER.sha256]


def test_a_full_disk_is_said_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what would be needed and what is there."""
    monkeypatch.setattr(store_module, "free_bytes", lambda folder: 1000)
    with pytest.raises(InputError, match="179200 bytes do not fit the 1000 that are free"):
        Store(tmp_path / "content").receive(MEMBER, 0, source(CONTENT))


def test_a_file_of_this_machine_is_taken_once(tmp_path: Path) -> None:
    """And begins anew where a part of it had come."""
    (tmp_path / "file").write_bytes(b"head" + CONTENT)
    store = Store(tmp_path / "content")
    with pytest.raises(InputError):
        store.receive(MEMBER, 0, source(CONTENT, 5))
    store.copy(MEMBER, Place(tmp_path / "file", 4))
    assert store.path(MEMBER.sha256).read_bytes() == CONTENT
    (tmp_path / "file").unlink()
    store.copy(MEMBER, Place(tmp_path / "file", 4))
