"""A step of the planned list before it has addresses: what it reads and writes by the names of buffers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from edge.native.geometry import Cut
from edge.native.graph import Image, Node
from edge.plan.footprint import Buffer, Kind


@dataclass(frozen=True)
class ViewSpec:
    """A stored tensor read through a node's batch norm and activation."""

    data: str
    node: Node
    image: Image

    def buffers(self) -> Iterator[str]:
        """Every buffer that reading touches."""
        yield self.data
        if self.node.norm:
            yield norm_buffer(self.node)


@dataclass(frozen=True)
class GradSpec:
    """The gradient of a node's value; with `stored`, read as the gradient of the stored tensor."""

    data: str
    node: Node
    image: Image
    stored: str | None = None

    def buffers(self) -> Iterator[str]:
        """Every buffer that reading touches."""
        yield self.data
        if self.stored is not None:
            yield self.stored
            if self.node.norm:
                yield norm_buffer(self.node)
                yield slope_buffer(self.node)


@dataclass(frozen=True)
class Spec:
    """One step. `numbers` are the plain fields of the C struct; `norm` and `sums_norm` name batch norms by node."""

    op: str
    name: str
    node: Node | None = None
    a: ViewSpec | None = None
    b: ViewSpec | None = None
    g: GradSpec | None = None
    sums: GradSpec | None = None
    out: str | None = None
    norm: Node | None = None
    sums_norm: Node | None = None
    frozen: bool = False  # the batch norm uses its running statistics
    cut: Cut | None = None
    scratch: str | None = None
    scratch_floats: int = 0
    partial_grads: str | None = None
    extra: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)

    def buffers(self) -> Iterator[str]:
        """Every buffer that the step touches."""
        for part in (self.a, self.b, self.g, self.sums):
            if part is not None:
                yield from part.buffers()
        for name in (self.out, self.scratch, self.partial_grads, *self.extra):
            if name is not None:
                yield name


def norm_buffer(node: Node) -> str:
    """Mean, 1/deviation and scale of a batch norm in this pass."""
    return f"{node.name}.statistics"


def slope_buffer(node: Node) -> str:
    """The coefficients of a batch norm's backward pass."""
    return f"{node.name}.slopes"


def sums_buffer(node: Node, backward: bool) -> str:
    """The threads' sums for a batch norm."""
    return f"{node.name}.{'gradient ' if backward else ''}sums"


class Steps:
    """The list being written, with the lifetime of every buffer that its steps touch."""

    def __init__(self) -> None:
        self.specs: list[Spec] = []
        self._sizes: dict[str, tuple[Kind, int]] = {}
        self._lives: dict[str, tuple[int, int]] = {}

    def declare(self, name: str, kind: Kind, nbytes: int) -> str:
        """Give a buffer its size before the first step that touches it; the name."""
        self._sizes[name] = (kind, nbytes)
        return name

    def emit(self, spec: Spec) -> None:
        """Append a step."""
        now = len(self.specs)
        self.specs.append(spec)
        for name in spec.buffers():
            first, _ = self._lives.get(name, (now, now))
            self._lives[name] = (first, now)

    def buffers(self) -> tuple[Buffer, ...]:
        """All buffers with their lifetimes, in order of first use."""
        return tuple(
            Buffer(name, self._sizes[name][0], self._sizes[name][1], first, last)
            for name, (first, last) in self._lives.items()
        )
