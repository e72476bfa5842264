"""Memory-economic sparse training: train sparse from the first step, export, fine-tune on small boards.

Names are loaded on first use, so that `import mest` works without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mest.version import __version__

if TYPE_CHECKING:
    from mest.sparse import Sparsifier, sparsify

__all__ = ["Sparsifier", "__version__", "sparsify"]

_HOMES = {"Sparsifier": "mest.sparse", "sparsify": "mest.sparse"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'mest' has no attribute {name!r}")
