"""The package for each kind of board: read once from a bundle, or made once for a kind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from export.deploy.package import Package, make_package, read_package
from export.deploy.targets import Target
from mest.errors import InputError


class Packages:
    """What is installed, by kind of board. May be called from several threads; `fixed` says that it is one bundle."""

    def __init__(self, source: Path, wheels: Path | None, scratch: Path, say: Callable[[str], None]) -> None:
        if not source.exists():
            raise InputError(f"{source}: no such artifact or bundle; give what 'mest export' or 'mest bundle' wrote")
        self.fixed = not source.is_dir()
        self._source = source
        self._wheels = wheels
        self._scratch = scratch
        self._say = say
        self._made: dict[tuple[str, str], Package] = {}
        self._making = threading.Lock()
        self._read = read_package(source) if self.fixed else None

    def __call__(self, target: Target, python: str) -> Package:
        """The package for a kind of board and its Python, 3.11 say."""
        if self._read is not None:
            return self._read
        with self._making:
            key = (target.name, python)
            if key not in self._made:
                self._say(f"gathering the wheels of {target.name}, Python {python}")
                place = self._scratch / f"{target.name}-{python}"
                self._made[key] = make_package(self._source, target, python, self._wheels, place)
            return self._made[key]
