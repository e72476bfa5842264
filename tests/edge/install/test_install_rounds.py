"""Runs that began with a state that was sent: they go with their state and its contents, and nothing else does."""

from __future__ import annotations

from fcntl import LOCK_EX, flock
from pathlib import Path

import pytest

from edge.errors import InputError
from edge.files.digest import sha256
from edge.install.archive import Member
from edge.install.jobs import Job, lay_data
from edge.install.rounds import forget
from edge.install.versions import Board

TUNING, ROUND, NEXT = "a" * 16, "b" * 16, "c" * 16


def laid(board: Board, number: str, content: bytes, name: str) -> Path:
    """Data of one file that came."""
    digest = sha256()
    digest.update(content)
    member, rest = Member(name, str(digest.hexdigest()), len(content)), [content]
    if board.store.arrived(member) < len(content):
        board.store.receive(member, 0, lambda most: rest.pop() if rest else b"")
    return lay_data(board, number, {name: member})


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """One with a run on its artifact and two of rounds, which begin with states of their own."""
    board = Board(tmp_path / "place")
    laid(board, "1" * 16, b"images", "data.npz")
    laid(board, "2" * 16, b"weights", "state.json")
    laid(board, "3" * 16, b"others", "state.json")
    Job(board, TUNING).describe("1-a", ["finetune", "--data=x"])
    Job(board, ROUND).describe("1-a", ["finetune", "--data=x"], "2" * 16)
    Job(board, NEXT).describe("1-a", ["finetune", "--data=x"], "3" * 16)
    return board


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_rounds_are_forgotten_but_the_one_that_is_asked_for(board: Board) -> None:
    """Data to train on, the run on the artifact and the contents of both stay; again, nothing is left to do."""
    assert forget(board, NEXT) == [ROUND]
    assert names(board.root / "jobs") == [TUNING, NEXT]
    assert names(board.root / "data") == ["1" * 16, "3" * 16]
    assert len(names(board.store.folder)) == 2
    assert forget(board, NEXT) == []
    assert forget(board, None) == [NEXT]
    assert names(board.root / "data") == ["1" * 16]
    assert len(names(board.store.folder)) == 1


def test_a_round_at_work_stays(board: Board) -> None:
    """Whoever asks for it to go waits for its end."""
    with open(board.root / "jobs" / ROUND / "running", "w") as lock:
        flock(lock, LOCK_EX)
        assert forget(board, None) == [NEXT]
    assert forget(board, None) == [ROUND]


def test_a_state_of_two_rounds_stays_with_the_second(board: Board) -> None:
    """Rounds that begin with the same weights share them."""
    Job(board, ROUND).describe("1-a", ["finetune", "--data=y"], "3" * 16)
    assert forget(board, NEXT) == [ROUND]
    assert (board.root / "data" / ("3" * 16) / "state.json").read_bytes() == b"others"


def test_a_board_without_runs_has_nothing_to_forget(tmp_path: Path) -> None:
    """Not even a folder is made."""
    assert forget(Board(tmp_path / "new"), None) == []
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("number", ["", "../../etc", "A" * 16, "1" * 15])
def test_strange_numbers_of_states_are_refused(board: Board, number: str) -> None:
    """They would lead elsewhere."""
    with pytest.raises(InputError, match="is not the number of data"):
        Job(board, "d" * 16).describe("1-a", ["finetune"], number)
