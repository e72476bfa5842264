"""The backward half of a program: who adds what to whose gradient, in place where nobody still reads it."""

from __future__ import annotations

from collections import Counter

from edge.engines.native.forward import Forward
from edge.engines.native.node import Node, Value
from edge.engines.native.rows import NormSpec
from edge.engines.native.slots import GradSpec, Slot
from edge.engines.native.steps import Spec


class Backward:
    """What backward steps are written with, latest node first. `held` is the slot with a node's gradient so far.

    `summed` has the gradient sums of batch norms for which they are added already.
    """

    def __init__(self, forward: Forward) -> None:
        self.forward = forward
        self.model = forward.model
        self.steps = forward.steps
        self.held: dict[Node, Slot] = {}
        self.summed: dict[Node, Slot] = {}
        reaching = {self.model.nodes[-1]}
        for node in reversed(self.model.nodes):
            if node in reaching:
                reaching.update(value.node for value in node.inputs)
        # Contributions still to come to each node's gradient.
        self._pending: Counter[Node] = Counter()
        for node in self.model.nodes:
            if node in reaching and node in self.model.needs:
                self._pending.update(value.node for value in node.inputs)

    def wanted(self, value: Value) -> bool:
        """True if something trained depends on the value's gradient."""
        return value.node in self.model.needs

    def begin(self, node: Node) -> None:
        """The node's steps come now: what they add to its inputs' gradients is no longer awaited."""
        self._pending.subtract(value.node for value in node.inputs)

    def awaited(self, node: Node) -> bool:
        """True if a later step adds to the node's gradient."""
        return self._pending[node] > 0

    def new(self, node: Node) -> Slot:
        """A buffer for the node's gradient."""
        found = self.held[node] = Slot(f"grad {node.name}", "workspace", 4 * self.forward.floats(node.image))
        return found

    def target(self, value: Value) -> tuple[Slot, int]:
        """The slot of a value's gradient, and 1 if it holds something already."""
        if value.node in self.held:
            return self.held[value.node], 1
        return self.new(value.node), 0

    def zeroed_target(self, value: Value) -> Slot:
        """The slot of a value's gradient, with zeros in it where nothing was added yet."""
        out, accumulate = self.target(value)
        if not accumulate:
            numbers = {"out_count": self.forward.floats(value.node.image)}
            self.steps.emit(Spec("zero", f"{value.node.name} zero gradient", value.node, out=out, numbers=numbers))
        return out

    def grad(self, node: Node) -> GradSpec:
        """The node's gradient, read as its stored tensor's."""
        return self._as_stored(node, self.held[node])

    def grad_in_place(self, node: Node) -> GradSpec:
        """The stored tensor's gradient as it is: pushed through batch norm and activation in place if need be."""
        if node.norm or node.act:
            out = self.held[node]
            self.steps.emit(Spec("push_grad", f"{node.name} gradient in place", node, g=self.grad(node), out=out))
        return GradSpec(self.held[node], node, node.image)

    def push(self, node: Node, value: Value, gradient: GradSpec, last: bool = True) -> None:
        """Add a gradient of the value's shape to the value's; not the `last` where the node will add another."""
        if not self.wanted(value):
            return
        out, accumulate = self.target(value)
        same = value.whole and value.image == node.image
        sums, summed = self.sums_on_the_way(value.node, out) if same and last else (None, None)
        self.steps.emit(
            Spec(
                "push_grad",
                f"{node.name} gradient to {value.node.name}",
                node,
                g=gradient,
                sums=sums,
                out=out,
                sums_norm=summed,
                numbers={"accumulate": accumulate},
            )
        )

    def sums_on_the_way(self, node: Node, out: Slot) -> tuple[GradSpec | None, NormSpec | None]:
        """If the step that writes `out` completes the node's gradient: what it needs to add the batch norm's sums."""
        if not self.wants_sums(node) or self.awaited(node) or node in self.summed:
            return None, None
        self.start_sums(node)
        return self._as_stored(node, out), self.norm(node)

    def wants_sums(self, node: Node) -> bool:
        """True if the node's batch norm has a gradient of its own, or its statistics are part of the gradient."""
        norm = node.norm
        if norm is None or node not in self.model.needs:
            return False
        trained = norm.scale in self.model.trained or norm.shift in self.model.trained
        return trained or not self.forward.frozen(node)

    def start_sums(self, node: Node) -> None:
        """Room for the gradient sums of the node's batch norm."""
        self.summed[node] = self.forward.new_sums(f"{node.name}.gradient sums", node)

    def norm(self, node: Node) -> NormSpec:
        """The node's batch norm with all that its backward pass has."""
        forward = self.forward
        return NormSpec(
            node, forward.statistics[node], forward.slopes[node], self.summed[node], frozen=forward.frozen(node)
        )

    def _as_stored(self, node: Node, data: Slot) -> GradSpec:
        """The gradient of the node's value in `data`, read through its batch norm and activation."""
        if not (node.norm or node.act):
            return GradSpec(data, node, node.image)
        statistics, slopes = self.forward.statistics.get(node), self.forward.slopes.get(node)
        return GradSpec(data, node, node.image, self.forward.where[node.base], statistics, slopes)
