"""Memory-economic sparse training: train sparse from the first step, export, fine-tune on small boards.

What a program may use is named in the `__all__` of `mest` and of `mest.sparse`; docs/python-api.md says more. Every
other module is internal and may change without notice. Names are loaded on first use, so that `import mest` works
without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mest.version import __version__

if TYPE_CHECKING:
    from mest.errors import DamagedError, InputError, MestError
    from mest.sparse import Sparsifier, masks_of, sparsify

__all__ = ["DamagedError", "InputError", "MestError", "Sparsifier", "__version__", "masks_of", "sparsify"]

_HOMES = {
    **dict.fromkeys(("DamagedError", "InputError", "MestError"), "mest.errors"),
    **dict.fromkeys(("Sparsifier", "masks_of", "sparsify"), "mest.sparse"),
}
_ROOMS = ("loops", "ranking", "sparse")  # those with names for programs: `import mest` is enough for `mest.sparse.em`


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _ROOMS:
        return import_module(f"mest.{name}")
    raise AttributeError(f"module 'mest' has no attribute {name!r}; it offers {', '.join(__all__)}")
