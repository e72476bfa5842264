"""Facts of the machine: shape, honesty about what is not shown, and the way to another machine's plan."""

from __future__ import annotations

import json
import os

import pytest

from edge.engines.board import board_baselines, read_board, read_board_file
from edge.errors import DamagedError, InputError


def test_a_board_is_plain_json_and_names_this_machine():
    """Architecture, cores, memory, page size, allocator, versions, engines with reasons."""
    board = json.loads(json.dumps(read_board()))
    assert board["architecture"] == os.uname().machine
    assert board["cores"] == len(os.sched_getaffinity(0))
    assert board["memory"]["total_bytes"] > 64 << 20
    assert board["page_bytes"] == os.sysconf("SC_PAGE_SIZE")
    assert "numpy" in board["versions"]
    assert set(board["engines"]) == {"native", "ort"}
    assert all(facts["reason"] for facts in board["engines"].values())


def test_a_preloaded_allocator_is_named(monkeypatch):
    """Comparisons of memory depend on it."""
    monkeypatch.setenv("LD_PRELOAD", "/usr/lib/libjemalloc.so.2")
    assert "jemalloc" in read_board()["allocator"]


def test_baselines_are_those_of_the_other_board(tmp_path):
    """An engine that is not available there has none."""
    board = read_board()
    board["engines"] = {
        "native": {"available": True, "reason": "", "baseline_bytes": 28 << 20},
        "ort": {"available": False, "reason": "no wheel", "baseline_bytes": None},
    }
    (tmp_path / "board.json").write_text(json.dumps(board))
    assert board_baselines(read_board_file(tmp_path / "board.json")) == {"native": 28 << 20, "ort": None}


@pytest.mark.parametrize(("content", "error"), [(None, InputError), ("{", DamagedError), ('{"a": 1}', DamagedError)])
def test_a_board_file_of_another_kind_is_refused(tmp_path, content, error):
    """With how to make one."""
    path = tmp_path / "board.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(error, match="mest board --json"):
        read_board_file(path)
