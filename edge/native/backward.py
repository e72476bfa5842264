"""The backward half of a program: who adds what to whose gradient, in place where nobody still reads it."""

from __future__ import annotations

from collections import Counter
from math import prod

from edge.native.forward import Forward
from edge.native.geometry import cut_work
from edge.native.graph import Node, Value
from edge.native.segments import Segment
from edge.native.specs import GradSpec, Spec, norm_buffer, slope_buffer, sums_buffer


class Backward:
    """Emits backward steps, latest node first. `held` names the buffer with a node's gradient so far."""

    def __init__(self, forward: Forward, dropped: frozenset[Node] = frozenset()) -> None:
        """`dropped` nodes' stored tensors are computed again when first read."""
        self.forward = forward
        self._dropped = set(dropped)
        self.model = forward.model
        self.steps = forward.steps
        self.held: dict[Node, str] = {}
        self._summed: set[Node] = set()  # batch norms whose gradient sums were added on the way
        last = self.model.nodes[-1]
        reaching = {last}
        for node in reversed(self.model.nodes):
            if node in reaching:
                reaching.update(value.node for value in node.inputs)
        # Contributions still to come to each node's gradient.
        self._pending: Counter[Node] = Counter()
        for node in self.model.nodes:
            if node in reaching and node in self.model.needs:
                self._pending.update(value.node for value in node.inputs)

    def loss(self) -> None:
        """The loss, and the gradient of the logits if anything is trained by it."""
        last = self.model.nodes[-1]
        out = self._new(last) if last in self.model.needs else None
        numbers = {"classes": prod(last.image), "smoothing": self.model.choices.label_smoothing}
        self.steps.emit(Spec("loss", "loss", last, a=self.forward.view(last), out=out, numbers=numbers))

    def recompute(self, segment: Segment) -> None:
        """Forward again what the segment's backward pass reads and was not kept."""
        wanted: set[Node] = set()
        for node in segment.nodes:
            if node in self.held or node in self.model.needs:
                wanted |= self._reads(node)
        inside = [node for node in segment.nodes if node not in segment.kept and node.base is node]
        for node in reversed(inside):
            if node in wanted:
                wanted.update(value.node.base for value in node.inputs)
        for node in inside:
            if node in wanted and node.kind != "input":
                self.forward.node(node, again="'")

    def _bring_back(self, node: Node) -> None:
        """Store a dropped node's tensor again, and first the dropped ones that it is made of."""
        self._dropped.discard(node)
        for value in node.inputs:
            if value.node.base in self._dropped:
                self._bring_back(value.node.base)
        self.forward.node(node, again="'")

    def _reads(self, node: Node) -> set[Node]:
        """Nodes whose stored tensor the node's backward steps read."""
        found = set()
        if node.norm or node.act:
            found.add(node.base)
        if node.kind == "max_pool" or (node.kind == "conv" and self._weight_trained(node)):
            found.add(node.inputs[0].node.base)
        return found

    def _weight_trained(self, node: Node) -> bool:
        return node.operator is not None and node.operator.parameters()["weight"] in self.model.trained

    def node(self, node: Node) -> None:
        """The node's steps, if its gradient is wanted."""
        if node not in self.held or node not in self.model.needs:
            return
        self._pending.subtract(value.node for value in node.inputs)
        for read in sorted(self._reads(node) & self._dropped, key=lambda found: found.index):
            self._bring_back(read)
        self._norm_sums(node)
        if node.kind == "conv":
            self._conv(node)
        elif node.kind == "add":
            self._add(node)
        elif node.kind in ("max_pool", "avg_pool"):
            self._pool(node)
        elif node.kind == "select":
            self._select(node)
        elif node.kind in ("copy", "alias"):
            self._push(node, node.inputs[0], self._grad(node))

    def _new(self, node: Node) -> str:
        name = self.held[node] = f"grad {node.name}"
        return self.steps.declare(name, "workspace", 4 * self.forward.floats(node.image))

    def _target(self, value: Value) -> tuple[str, int]:
        """The buffer of a value's gradient and whether it holds something already."""
        if value.node in self.held:
            return self.held[value.node], 1
        return self._new(value.node), 0

    def _grad(self, node: Node) -> GradSpec:
        """The node's gradient, read as its stored tensor's."""
        stored = self.forward.where[node.base] if node.norm or node.act else None
        return GradSpec(self.held[node], node, node.image, stored)

    def _wants_sums(self, node: Node) -> bool:
        norm = node.norm
        if norm is None or node not in self.model.needs:
            return False
        trained = norm.scale in self.model.trained or norm.shift in self.model.trained
        return trained or not self.forward.frozen

    def _sums_on_the_way(self, node: Node, out: str) -> tuple[GradSpec | None, tuple[str, ...]]:
        """If the step that writes `out` completes the node's gradient: what it needs to add the batch norm's sums."""
        if not self._wants_sums(node) or self._pending[node] or node in self._summed:
            return None, ()
        self._summed.add(node)
        return GradSpec(out, node, node.image, self.forward.where[node.base]), (self._sums(node),)

    def _sums(self, node: Node) -> str:
        nbytes = 8 * 4 * node.image[0] * self.forward.threads
        return self.steps.declare(sums_buffer(node, True), "workspace", nbytes)

    def _norm_sums(self, node: Node) -> None:
        if not self._wants_sums(node):
            return
        if node not in self._summed:
            name, sums = f"{node.name} gradient sums", (self._sums(node),)
            self.steps.emit(Spec("norm_grad_sums", name, node, g=self._grad(node), norm=node, extra=sums))
        extra = (sums_buffer(node, True), norm_buffer(node), slope_buffer(node))
        name, frozen = f"{node.name} gradient slopes", self.forward.frozen
        self.steps.emit(Spec("norm_grad_finish", name, node, norm=node, frozen=frozen, extra=extra))

    def _conv(self, node: Node) -> None:
        value, forward = node.inputs[0], self.forward
        operator = node.operator
        assert operator is not None
        names = operator.parameters()
        layout = self.model.layouts[names["weight"]]
        weight_grad = self._weight_trained(node)
        bias_grad = names.get("bias") in self.model.trained
        input_grad = value.node in self.model.needs
        if not (weight_grad or bias_grad or input_grad):
            return
        cut = cut_work(
            layout.window,
            layout.read,
            layout.kind,
            layout.height,
            layout.entries,
            forward.groups,
            forward.samples,
            forward.threads,
            True,
        )
        partial = None
        if (weight_grad or bias_grad) and forward.threads > 1 and forward.groups * cut.tiles > 1:
            floats = layout.capacity * weight_grad + layout.parameter.rows * bias_grad
            partial = forward.scratch(f"{node.name} partial gradients", floats)
        out, accumulate, sums = None, 0, None
        extra: tuple[str, ...] = ()
        if input_grad:
            out, accumulate = self._target(value)
            if layout.parameter.format == "channel":
                if not accumulate:
                    self._zero(value.node, out)
                accumulate = 1
            elif value.image == value.node.image:
                sums, extra = self._sums_on_the_way(value.node, out)
        self.steps.emit(
            Spec(
                "conv_grad",
                f"{node.name} gradient",
                node,
                a=forward.value(value) if weight_grad else None,
                g=self._grad(node),
                sums=sums or (GradSpec(out, value.node, value.image) if out else None),
                out=out,
                sums_norm=value.node if sums else None,
                cut=cut,
                scratch=forward.scratch(f"{node.name} gradient scratch", cut.scratch_floats),
                scratch_floats=cut.scratch_floats,
                partial_grads=partial,
                extra=extra,
                numbers={"accumulate": accumulate, "input_grad": int(input_grad), "weight_grad": int(weight_grad)},
            )
        )

    def _zero(self, node: Node, out: str) -> None:
        numbers = {"out_count": self.forward.floats(node.image)}
        self.steps.emit(Spec("zero", f"{node.name} zero gradient", node, out=out, numbers=numbers))

    def _pool(self, node: Node) -> None:
        value = node.inputs[0]
        if value.node not in self.model.needs:
            return
        out, accumulate = self._target(value)
        floats = self.forward.pool_floats(value)
        self.steps.emit(
            Spec(
                f"{node.kind}_grad",
                f"{node.name} gradient",
                node,
                a=self.forward.value(value),
                g=self._plain_grad(node),
                out=out,
                scratch=self.forward.scratch(f"{node.name} gradient scratch", floats),
                scratch_floats=floats,
                numbers={"accumulate": accumulate},
            )
        )

    def _plain_grad(self, node: Node) -> GradSpec:
        """The node's gradient as the stored tensor's: pushed through batch norm and activation in place if need be."""
        if node.norm or node.act:
            out = self.held[node]
            self.steps.emit(Spec("push_grad", f"{node.name} gradient in place", node, g=self._grad(node), out=out))
        return GradSpec(self.held[node], node, node.image)

    def _select(self, node: Node) -> None:
        value = node.inputs[0]
        if value.node not in self.model.needs:
            return
        gradient = self._plain_grad(node)
        out, accumulate = self._target(value)
        if not accumulate:
            self._zero(value.node, out)
        a = self.forward.value(value)
        self.steps.emit(Spec("select_grad", f"{node.name} gradient", node, a=a, g=gradient, out=out))

    def _push(self, node: Node, value: Value, gradient: GradSpec) -> None:
        """Add a gradient of the value's shape to the value's."""
        if value.node not in self.model.needs:
            return
        out, accumulate = self._target(value)
        sums, extra = (
            self._sums_on_the_way(value.node, out) if value.image == value.node.image == node.image else (None, ())
        )
        self.steps.emit(
            Spec(
                "push_grad",
                f"{node.name} gradient to {value.node.name}",
                node,
                g=gradient,
                sums=sums,
                out=out,
                sums_norm=value.node if sums else None,
                extra=extra,
                numbers={"accumulate": accumulate},
            )
        )

    def _add(self, node: Node) -> None:
        """Both inputs get the same gradient: they share its buffer where nobody writes it before all have read it."""
        shared = self.held[node]
        wanted = [value for value in node.inputs if value.node in self.model.needs]
        twice = len({value.node for value in wanted}) < len(wanted)
        readers = [] if twice else [value for value in wanted if self._only_reads(value)]
        writers = [value for value in wanted if value not in readers]
        heir = None
        if len(writers) == 1 and writers[0].node not in self.held:
            first_write = self._first_write(writers[0].node, node)
            if all(reader.node.index > first_write for reader in readers):
                heir = writers[0]
        summed: Node | None = None
        if node.norm or node.act:
            sums = None
            extra: tuple[str, ...] = ()
            for value in readers:
                sums, extra = self._sums_on_the_way(value.node, shared)
                if sums:
                    summed = value.node
                    break
            name = f"{node.name} gradient in place"
            self.steps.emit(
                Spec("push_grad", name, node, g=self._grad(node), sums=sums, out=shared, sums_norm=summed, extra=extra)
            )
        for value in writers:
            if value is not heir:
                self._push(node, value, GradSpec(shared, node, node.image))
        for value in (*readers, *([heir] if heir else [])):
            self.held[value.node] = shared

    def _only_reads(self, value: Value) -> bool:
        """True if the value's node will read this gradient once and never write it."""
        node = value.node
        in_place = node.kind in ("add", "max_pool", "avg_pool", "select") and bool(node.norm or node.act)
        passes_on = node.kind == "add"
        return node not in self.held and not self._pending[node] and not in_place and not passes_on

    def _first_write(self, node: Node, after: Node) -> int:
        """Index of the node whose backward steps first write the gradient of `node`, once `after` has been done."""
        coming = [consumer.index for consumer in node.consumers if consumer.index < after.index]
        return max(coming, default=node.index)
