"""Hooks on an optimizer, which go with it and not with a copy of it."""

from __future__ import annotations

from typing import Any


class Hooks:
    """Holds the handles. Who inherits registers hooks in `refresh`, unless `_hooked` finds them there."""

    _handles: list[Any]

    def _hooked(self, registered: dict[int, Any]) -> bool:
        """True if one of the hooks is among those that the optimizer has: a copy has none."""
        return any(handle.id in registered for handle in self._handles)

    def detach(self) -> None:
        """Removes the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def __getstate__(self) -> dict[str, Any]:
        """A copy hooks nothing until it is told to refresh."""
        return {**vars(self), "_handles": []}
