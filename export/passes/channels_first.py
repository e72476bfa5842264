"""Every value with its channels first, as the native network has them: layers over the last axis of images and tokens.

Not part of `normalise`: lowering alone reads what comes of it, in a copy of the graph. Nodes that only move numbers
vanish into the `Layout` of what they write; a node behind them reads the value that the numbers lie in. A linear layer
over the last axis becomes a Gemm of such a value, a layer norm over the last axis a ChannelNormalization.
Handlers of nodes that only move numbers are in `only_moved.py`, of those that read several values in `broadcasting.py`
and `joined.py`.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx

from export.graph import attributes
from export.operators.elementwise import is_elementwise
from export.passes.attention import scored
from export.passes.broadcasting import elementwise, expand
from export.passes.joined import concat
from export.passes.layout import FEATURES, Atom, Layout, LayoutError, merged
from export.passes.only_moved import cut, gather, reshape, squeeze, transpose
from export.passes.products import REDUCTIONS, multiply, normalise, pad, reduce, soften
from export.passes.rewriting import Handler, NoAttentionError, Rewriting, plainly
from export.passes.sample_norm import CHANNEL_NORM


def put_channels_first(model: onnx.ModelProto, trained: Collection[str]) -> int:
    """Rewrite what has its channels elsewhere, in place; return how many nodes were. `trained`: the parameters.

    Requires a normalised graph. Ensures that every value with images in it has its channels behind them, and that a
    value that some node computed keeps its name. Raises InputError naming the first operator for which that cannot be.
    """
    written_out: set[str] = set()
    # A copy: an attempt changes the nodes that it reads.
    untouched = onnx.GraphProto(node=model.graph.node, value_info=model.graph.value_info)
    while True:
        try:
            return Rewriting(model, trained, HANDLERS, _otherwise, scored, written_out).run()
        except NoAttentionError as found:
            written_out.add(found.product)
            del model.graph.node[:], model.graph.value_info[:]
            model.graph.node.extend(untouched.node)
            model.graph.value_info.extend(untouched.value_info)


def _otherwise(self: Rewriting, node: onnx.NodeProto) -> None:
    if is_elementwise(node):
        elementwise(self, node)
    else:
        plainly(self, node)


def _linear(self: Rewriting, node: onnx.NodeProto) -> None:
    """A Gemm with the weight as a layer has it, or a MatMul with that weight transposed, and its bias."""
    if node.op_type == "MatMul" and node.input[1] in self.layouts:
        (multiply if node.output[0] in self.written_out else scored)(self, node)
        return
    values, bias = attributes(node), list(node.input[2:])
    if node.op_type == "Gemm":
        if self.all_plain(node) or not values.get("transB") or values.get("transA") or node.input[1] in self.layouts:
            plainly(self, node)
            return
        weight = node.input[1]
        if values.get("alpha", 1) != 1 or values.get("beta", 1) != 1:
            raise LayoutError("alpha or beta is not 1")
    else:
        turn = self.makers.get(node.input[1])
        if turn is None or turn.op_type != "Transpose" or turn.input[0] not in self.constants:
            raise LayoutError("none of its operands is the weight of a linear layer")
        weight = turn.input[0]
    layout, stored = self.layout(node.input[0]), self.constants.get(weight)
    last, output = len(layout.axes) - 1, node.output[0]
    if stored is None or stored.ndim != 2:
        raise LayoutError("its weight is no stored matrix")
    layout = self.arranged(layout, [last], node, f"{output}.input")
    if node.op_type == "MatMul" and (join := _bias(self, output, len(stored))):
        bias, output = [join[0]], join[1]
        self.joined.add(output)
    vector = last == 1 and layout.batch_first
    source = (self.channels_first if vector else self.source)(layout, node, f"{output}.input")
    shape = (len(stored), *self.natives[source][1:])
    self.emit("Gemm", [source, weight, *bias], output, shape, node, transB=1)
    rows = merged([Atom(FEATURES, len(stored))])
    self.layouts[output] = Layout(output, (*layout.axes[:last], rows)).over(output)


def _bias(self: Rewriting, value: str, features: int) -> tuple[str, str] | None:
    """The stored vector that the only reader of a value adds to it, and what that writes."""
    readers = self.readers.get(value, [])
    if len(readers) != 1 or readers[0].op_type != "Add" or value in self.outputs:
        return None
    (other,) = (name for name in readers[0].input if name != value)
    stored = self.constants.get(other)
    return (other, readers[0].output[0]) if stored is not None and stored.shape == (features,) else None


def _layer_norm(self: Rewriting, node: onnx.NodeProto) -> None:
    layout = self.layout(node.input[0])
    last = len(layout.axes) - 1
    over_last = int(attributes(node).get("axis", -1)) % (last + 1) == last
    if self.all_plain(node) and not (over_last and last > 1):
        plainly(self, node)
        return
    if not over_last:
        raise LayoutError("it is not over all features of each position")
    found, output = self.arranged(layout, [last], node, f"{node.output[0]}.input"), node.output[0]
    epsilon = attributes(node).get("epsilon", 1e-5)
    shape = self.natives[found.source]
    self.emit(CHANNEL_NORM, [found.source, *node.input[1:]], output, shape, node, epsilon=epsilon)
    self.layouts[output] = found.over(output)


def _pool(self: Rewriting, node: onnx.NodeProto) -> None:
    """A mean over all axes behind the first two, of a window that is a sequence's features or of an image."""
    layout = self.layout(node.input[0])
    if len(layout.axes) != 3:
        plainly(self, node)
        return
    found, output = self.arranged(layout, [0, 1], node, f"{node.output[0]}.input"), node.output[0]
    self.emit("GlobalAveragePool", [found.source], output, (self.natives[found.source][0], 1, 1), node)
    self.layouts[output] = Layout(output, (*found.axes[:2], ())).over(output)


def _batch_norm(self: Rewriting, node: onnx.NodeProto) -> None:
    layout = self.layout(node.input[0])
    (plainly if layout.batch_first and len(layout.axes) in (2, 4) else normalise)(self, node)


def _pad(self: Rewriting, node: onnx.NodeProto) -> None:
    (plainly if self.all_plain(node) else pad)(self, node)


HANDLERS: dict[str, Handler] = {
    "Transpose": transpose,
    "Reshape": reshape,
    "Flatten": reshape,
    "Squeeze": squeeze,
    "Unsqueeze": squeeze,
    "Gather": gather,
    "Slice": cut,
    "Gemm": _linear,
    "MatMul": _linear,
    "LayerNormalization": _layer_norm,
    **dict.fromkeys(REDUCTIONS, reduce),
    "Softmax": soften,
    "Expand": expand,
    "BatchNormalization": _batch_norm,
    "Pad": _pad,
    "GlobalAveragePool": _pool,
    "Concat": concat,
}
