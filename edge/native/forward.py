"""The forward half of a program: what each node stores, and the statistics of batch norms on the way."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from edge.native.geometry import cut_work
from edge.native.graph import Image, Node, Value
from edge.native.specs import Spec, Steps, ViewSpec, norm_buffer, slope_buffer, sums_buffer

if TYPE_CHECKING:
    from edge.native.program import Model


class Forward:
    """Emits forward steps. `where` names the buffer that holds a node's stored tensor now."""

    def __init__(self, model: Model, groups: int, samples: int, training: bool) -> None:
        self.model = model
        self.groups = groups
        self.samples = samples
        self.threads = model.choices.threads
        self.training = training
        self.frozen = not training or model.choices.batch_norm == "frozen"
        self.steps = Steps()
        self.where: dict[Node, str] = {}

    def floats(self, image: Image) -> int:
        """Floats of a tensor for the whole micro-batch."""
        return prod(image) * self.groups * self.samples

    def view(self, node: Node, image: Image | None = None) -> ViewSpec:
        """The node's value as an input."""
        return ViewSpec(self.where[node.base], node, image or node.image)

    def value(self, value: Value) -> ViewSpec:
        """A value as an input, in its own shape."""
        return self.view(value.node, value.image)

    def node(self, node: Node, again: str = "") -> None:
        """The node's steps. `again` marks a recomputation: statistics are there already, buffers get a new name."""
        first = node.inputs[0] if node.inputs else None
        if node.kind == "alias":
            if node.norm and not again:
                self._statistics(node, needs_sums=True)
            return
        name = self.where[node] = node.name + again
        self.steps.declare(name, "saved activations", 4 * self.floats(node.image))
        adds_sums = node.norm is not None and not self.frozen and not again and node.kind in ("conv", "add")
        extra = (self._sums(node),) if adds_sums else ()
        label = f"{node.name}{' again' if again else ''}"
        if node.kind == "input":
            self.steps.emit(Spec("input", label, node, out=name))
        elif node.kind == "conv":
            assert first is not None
            layout = self.model.layouts[node.operator.weight]  # type: ignore[union-attr]
            cut = cut_work(
                layout.window,
                layout.read,
                layout.kind,
                layout.height,
                layout.entries,
                self.groups,
                self.samples,
                self.threads,
                False,
            )
            self.steps.emit(
                Spec(
                    "conv",
                    label,
                    node,
                    a=self.value(first),
                    out=name,
                    norm=node if adds_sums else None,
                    cut=cut,
                    scratch=self.scratch(f"{label} scratch", cut.scratch_floats),
                    scratch_floats=cut.scratch_floats,
                    extra=extra,
                    numbers={"act": node.store_act},
                )
            )
        elif node.kind in ("max_pool", "avg_pool"):
            assert first is not None
            floats = self.pool_floats(first)
            self.steps.emit(
                Spec(
                    node.kind,
                    label,
                    node,
                    a=self.value(first),
                    out=name,
                    scratch=self.scratch(f"{label} scratch", floats),
                    scratch_floats=floats,
                )
            )
        elif node.kind == "add":
            left, right = (self.value(value) for value in node.inputs)
            numbers = {"act": node.store_act}
            norm = node if adds_sums else None
            self.steps.emit(
                Spec("add", label, node, a=left, b=right, out=name, norm=norm, extra=extra, numbers=numbers)
            )
        else:  # copy, select
            assert first is not None
            self.steps.emit(
                Spec(node.kind, label, node, a=self.value(first), out=name, numbers={"act": node.store_act})
            )
        if node.norm and not again:
            self._statistics(node, needs_sums=not adds_sums)

    def scratch(self, name: str, floats: int) -> str:
        """A buffer of `floats` for every thread."""
        return self.steps.declare(name, "workspace", 4 * floats * self.threads)

    def pool_floats(self, value: Value) -> int:
        """Scratch of a pooling step per thread: one plane, and two rows of samples."""
        floats = (prod(value.image[1:]) + 2) * self.samples
        return floats + -floats % 16

    def _sums(self, node: Node) -> str:
        return self.steps.declare(sums_buffer(node, False), "workspace", 8 * 4 * node.image[0] * self.threads)

    def _statistics(self, node: Node, needs_sums: bool) -> None:
        self.steps.declare(norm_buffer(node), "saved activations", 4 * 3 * node.image[0])
        self.steps.declare(slope_buffer(node), "workspace", 4 * 2 * node.image[0])
        extra: tuple[str, ...] = (norm_buffer(node),)
        if not self.frozen:
            if needs_sums:
                stored = ViewSpec(self.where[node.base], node.base, node.image)
                name = f"{node.name} sums"
                self.steps.emit(Spec("norm_sums", name, node, a=stored, norm=node, extra=(self._sums(node),)))
            extra += (sums_buffer(node, False),)
        self.steps.emit(
            Spec("norm_finish", f"{node.name} statistics", node, norm=node, frozen=self.frozen, extra=extra)
        )
