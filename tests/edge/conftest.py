"""Fixtures of the board's tests."""

from __future__ import annotations

import numpy as np
import pytest
from native_guards import between_guards

from edge.engines.native import engine as engine_module
from edge.engines.native import weights as weights_module


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
