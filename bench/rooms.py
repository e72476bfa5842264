"""How the sources hang together: rooms, floors, arrows and circles of each package, read from its imports.

A room is a file or a folder directly in a package. An arrow goes from a room to one
that it imports from, anywhere: inside functions and under TYPE_CHECKING too. A floor is the number of rooms that the
longest chain of arrows below a room has. A circle is a set of modules that import each other, directly or not.

python -m bench.rooms [--at REVISION]
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("mest", "edge", "export")
OPERATORS = ("relu6", "avgpool", "batchnorm", "maxpool", "flatten", "hardswish")

Arrows = dict[str, set[str]]  # by what imports: what it imports


def module_name(path: Path, root: Path) -> str:
    """The dotted name of a source file."""
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def imports(root: Path = ROOT, packages: Iterable[str] = PACKAGES) -> Arrows:
    """For each module of the packages, the modules of the packages that it imports."""
    paths = {module_name(path, root): path for package in packages for path in sorted((root / package).rglob("*.py"))}
    return {name: _imported(path, set(paths)) - {name} for name, path in paths.items()}


def _imported(path: Path, known: set[str]) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inside & known) or {node.module}
    return found & known


def circles(arrows: Mapping[str, set[str]]) -> list[set[str]]:
    """The sets of two or more that reach each other (Tarjan's strongly connected components)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(one: str) -> None:
        number[one] = lowest[one] = len(number)
        stack.append(one)
        for other in sorted(arrows.get(one, ())):
            if other not in number:
                visit(other)
                lowest[one] = min(lowest[one], lowest[other])
            elif other in stack:
                lowest[one] = min(lowest[one], number[other])
        if lowest[one] == number[one]:
            place = stack.index(one)
            together = set(stack[place:])
            del stack[place:]
            if len(together) > 1:
                found.append(together)

    for one in sorted(arrows):
        if one not in number:
            visit(one)
    return found


def rooms(arrows: Mapping[str, set[str]], package: str) -> Arrows:
    """The arrows between the rooms of a package: the files and folders directly inside it."""

    def room(module: str) -> str | None:
        parts = module.split(".")
        return parts[1] if parts[0] == package and len(parts) > 1 else None

    found: Arrows = {name: set() for name in map(room, arrows) if name}
    for module, others in arrows.items():
        here = room(module)
        if here:
            found[here] |= {there for there in map(room, others) if there and there != here}
    return found


def floors(arrows: Mapping[str, set[str]]) -> dict[str, int]:
    """The floor of each room, the lowest being 1; rooms in a circle share their floor."""
    together = {one: frozenset(members) for members in circles(arrows) for one in members}
    height: dict[str, int] = {}

    def of(one: str, path: frozenset[str] = frozenset()) -> int:
        if one not in height:
            mates = together.get(one, frozenset({one}))
            below = {other for mate in mates for other in arrows.get(mate, ())} - mates
            found = 1 + max((of(other) for other in below), default=0)
            height.update(dict.fromkeys(mates, found))
        return height[one]

    for one in arrows:
        of(one)
    return height


def naming(root: Path, operator: str) -> list[str]:
    """The sources, C included, that name an operator in whatever spelling."""
    found = []
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*")):
            if path.suffix in (".py", ".c", ".h"):
                text = path.read_text(encoding="utf-8").lower().replace("_", "")
                if operator in text:
                    found.append(path.relative_to(root).as_posix())
    return found


def report(root: Path) -> str:
    """The figures of all packages, a line each, then the circles."""
    arrows = imports(root)
    lines = ["| package | modules | rooms | floors | arrows between rooms |", "|---|---|---|---|---|"]
    for package in PACKAGES:
        found = rooms(arrows, package)
        modules = sum(name.split(".")[0] == package for name in arrows)
        height = max(floors(found).values(), default=0)
        lines.append(f"| {package}/ | {modules} | {len(found)} | {height} | {sum(map(len, found.values()))} |")
    found = circles(arrows)
    lines += ["", f"circles of modules: {len(found)}", *(f"  {', '.join(sorted(one))}" for one in found)]
    for package in PACKAGES:
        for one in circles(rooms(arrows, package)):
            lines.append(f"circle of rooms in {package}/: {', '.join(sorted(one))}")
    lines += [""] + [f"files that name {operator}: {len(naming(root, operator))}" for operator in OPERATORS]
    return "\n".join(lines)


def main() -> None:
    """Print the report of the working tree, or of a revision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at", metavar="REVISION", help="of the repository's history, instead of the working tree")
    given = parser.parse_args()
    if given.at is None:
        print(report(ROOT))
        return
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", given.at, *PACKAGES], cwd=ROOT, capture_output=True, check=True)
        subprocess.run(["tar", "x", "-C", folder], input=archive.stdout, check=True)
        print(report(Path(folder)))


if __name__ == "__main__":
    main()
