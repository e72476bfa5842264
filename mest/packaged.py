"""What comes with the package: data sets by name, profiles, recipes and rankings by their path in the repository."""

from __future__ import annotations

import difflib
from pathlib import Path

from mest.errors import InputError

#: data sets that come with the package, by their names
DATA_SETS = {name: Path(__file__).parent / "data" / f"{name}.npz" for name in ("digits", "watch")}
OF_NUMBERS = frozenset({"watch"})  # those that hold windows of numbers, not images


def resolve_packaged(path: str | Path) -> Path:
    """The existing file that `path` names: as given, else in the repository, else inside the installed package.

    `profiles/resnet32_cifar/blk/resnet32_0.9.yaml` works from any directory: a wheel carries the repository's
    `profiles/` and `pkl/` as `mest/_packaged/profiles` and `mest/_packaged/pkl`, each ranking as `.npz` alone; the name
    of its `.pkl` leads to that.

    Raises InputError with the nearest existing names.
    """
    asked = Path(path).expanduser()
    if asked.is_file():
        return asked
    roots = _roots()
    if not asked.is_absolute():
        for root in roots:
            # A path that climbs out of the root with `..` is an ordinary path and was tried above.
            if (root / asked).is_file() and (root / asked).resolve().is_relative_to(root.resolve()):
                return root / asked
        twin = roots[1] / asked.with_suffix(".npz")
        if asked.suffix == ".pkl" and ".." not in asked.parts and twin.is_file():
            return twin
    raise InputError(f"{path}: no such file, neither here nor among the packaged ones{_nearest(asked, roots)}")


def _roots() -> tuple[Path, Path]:
    package = Path(__file__).resolve().parent
    return package.parent, package / "_packaged"


def _nearest(asked: Path, roots: tuple[Path, ...]) -> str:
    """A hint with the closest packaged names; empty where nothing comes close."""
    folder = asked.parts[0] if len(asked.parts) > 1 else ""
    if folder not in ("profiles", "pkl"):
        return ""
    names = {
        file.relative_to(root).as_posix() for root in roots for file in (root / folder).rglob("*.*") if file.is_file()
    }
    close = difflib.get_close_matches(asked.as_posix(), sorted(names), n=3, cutoff=0.6)
    return f"; nearest: {', '.join(close)}" if close else ""
