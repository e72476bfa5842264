"""Flame charts by module path: what each module takes, and its parts below it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edge.report.charts import CHARACTER, WIDE
from edge.report.numbers import percent_text
from edge.report.svg import Drawing, escape, label, shorten, tag

ROW = 24
DEPTH_CLASS = ("kind-3", "kind-1")  # by turns; white words can be read on both


@dataclass
class Module:
    """A module with what it takes itself and in its parts, which stand in the order in which they first appeared."""

    name: str
    total: float = 0.0
    parts: dict[str, Module] = field(default_factory=dict)


def tree(found: Sequence[tuple[Sequence[str], float]]) -> Module:
    """The modules of (path, value) pairs, values added up."""
    root = Module("whole step")
    for path, value in found:
        root.total += value
        node = root
        for name in path:
            node = node.parts.setdefault(name, Module(name))
            node.total += value
    return root


def flame(root: Module, write: Callable[[float], str], title: str, width: int = WIDE) -> Drawing:
    """Each module as wide as what it takes, its parts below it."""
    parts: list[str] = []
    depth = _draw(root, "", 0, 8.0, float(width - 16), root.total or 1.0, write, parts)
    largest = sorted(root.parts.values(), key=lambda module: -module.total)[:5]
    description = "; ".join(f"{module.name}: {write(module.total)}" for module in largest)
    return Drawing(width, 8 + ROW * (depth + 1), title, description, "".join(parts))


def _draw(
    node: Module,
    above: str,
    depth: int,
    x: float,
    room: float,
    whole: float,
    write: Callable[[float], str],
    parts: list[str],
) -> int:
    """Draw a module and its parts; give the depth of the deepest."""
    path = f"{above}.{node.name}" if above else node.name
    hover = tag("title", escape(f"{path}: {write(node.total)}, {percent_text(node.total / whole)}"))
    top, colour = 4 + ROW * depth, DEPTH_CLASS[depth % 2]
    parts.append(tag("rect", hover, x=x, y=top, width=room, height=ROW - 1, class_=f"tile {colour}"))
    words = f"{node.name} · {write(node.total)}"
    letters = int((room - 8) / CHARACTER)
    if letters >= len(words) or letters >= 5:
        text = words if letters >= len(words) else shorten(node.name, letters)
        parts.append(label(text, x + 4, top + 16, "inside"))
    deepest = depth
    for part in node.parts.values():
        own = room * part.total / (node.total or 1.0)
        if own >= 0.3:
            deepest = max(deepest, _draw(part, "" if not depth else path, depth + 1, x, own, whole, write, parts))
        x += own
    return deepest
