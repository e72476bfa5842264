"""Fixtures of the board's tests."""

from __future__ import annotations

import os
from collections import Counter
from zlib import crc32

import numpy as np
import pytest
from native_guards import between_guards

from edge.engines.native import engine as engine_module
from edge.engines.native import weights as weights_module

MANY = 8


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On an emulated processor half of the cases of a test with many, the same ones every time: all take too long."""
    if not os.environ.get("MEST_EMULATED"):
        return
    name = {item: item.nodeid.partition("[")[0] for item in items}
    cases = Counter(name.values())
    left_out = {item for item in items if cases[name[item]] > MANY and crc32(item.nodeid.encode()) % 2}
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def guarded(monkeypatch) -> list[tuple[np.ndarray, int, int]]:
    """Arrays of engines lie between two guards; gives the memory of each, and where its array starts and ends."""
    found = []

    def aligned(count: int, dtype: type | np.dtype) -> np.ndarray:
        raw, start, end = between_guards(count, dtype)
        found.append((raw, start, end))
        return raw[start:end].view(dtype)

    monkeypatch.setattr(engine_module, "aligned", aligned)
    monkeypatch.setattr(weights_module, "aligned", aligned)
    return found
