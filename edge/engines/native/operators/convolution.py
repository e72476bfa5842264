"""Convolutions and linear layers, which are convolutions of one cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from edge.engines.native.forward import Forward
from edge.engines.native.geometry import Cut, Window, cut_work
from edge.engines.native.gradients import Backward
from edge.engines.native.layout import WeightLayout, weight_layout
from edge.engines.native.node import Image, Node
from edge.engines.native.operators.rule import Rule
from edge.engines.native.places import Places
from edge.engines.native.rows import NormSpec, Row
from edge.engines.native.slots import GradSpec, Slot
from edge.engines.native.steps import Spec
from edge.engines.native.weights import Tensor, Weight
from edge.libmest import program as structs
from edge.network import Conv, Linear, Network
from edge.plan.choices import Choices


@dataclass(frozen=True, slots=True)
class ConvRow(Row):
    """A pass of a layer over its weight, cut into pieces of work."""

    weight: str
    bias: str | None
    cut: Cut
    backward: bool

    def made(self, places: Places) -> structs.Conv:
        """The row of the table."""
        array = places.operands.array
        weight = _weight(places.tensors, self.weight)
        layout, window, cut = weight.layout, self.cut.window, self.cut
        found = structs.Conv(
            values=array(weight.values),
            grads=array(weight.gradient),
            format=layout.kind,
            block_height=layout.height,
            index_bytes=layout.index_bytes,
            rows=window.output[0],
            groups=window.groups,
            in_h=window.input[1],
            in_w=window.input[2],
            out_h=window.output[1],
            out_w=window.output[2],
            tile_rows=cut.tile_rows,
            tiles=cut.tiles,
            parts=cut.parts,
            plane_w=cut.plane_w,
            x_rows=cut.x_rows,
            d_rows=cut.d_rows,
        )
        for name, (down, across) in {
            "kernel": window.kernel,
            "stride": window.stride,
            "dilation": window.dilation,
        }.items():
            setattr(found, f"{name}_h", down)
            setattr(found, f"{name}_w", across)
        found.pad_top, found.pad_left = window.padding
        for name in ("starts", "columns", "t_starts", "t_columns", "t_places"):
            if name in weight.indices:
                setattr(found, name, array(weight.indices[name], writable=False))
        if "channels" in weight.indices:
            found.channel_list = array(weight.indices["channels"], writable=False)
        if self.bias is not None:
            found.bias = array(places.tensors[self.bias].values)
            if self.backward:
                found.bias_grad = array(places.tensors[self.bias].gradient)
        return found

    def refresh(self, made: structs.Conv, tensors: Mapping[str, Tensor]) -> None:
        """Take over the numbers of non-zeros and of channels that are read."""
        weight = _weight(tensors, self.weight)
        made.entries = weight.entries
        made.in_channels = weight.read


class Convolution(Rule):
    """One step each way; the weight's gradient reads the input, the input's gradient the weight."""

    takes_activation = True
    adds_sums = True
    heavy = True

    def reads(self, node: Node, trained: frozenset[str]) -> Iterable[Node]:
        """The input, where the weight is trained."""
        if _layer(node).weight in trained:
            yield node.inputs[0].node.base

    def layouts(
        self, node: Node, network: Network, choices: Choices, trained: frozenset[str], inputs_need: bool
    ) -> Mapping[str, WeightLayout]:
        """The weight's."""
        layer = _layer(node)
        parameter, window = network.parameters[layer.weight], _window(node, network)
        return {layer.weight: weight_layout(parameter, window, choices, layer.weight in trained, inputs_need)}

    def forward(self, forward: Forward, node: Node, out: Slot, label: str, norm: NormSpec | None) -> None:
        """One step."""
        layer = _layer(node)
        cut = cut_of(forward, forward.model.layouts[layer.weight], backward=False)
        forward.steps.emit(
            Spec(
                "conv",
                label,
                node,
                a=forward.view(node.inputs[0].node, cut.window.input),
                out=out,
                norm=norm,
                rows={"conv": ConvRow(layer.weight, layer.bias, cut, backward=False)},
                scratch=forward.scratch(f"{label} scratch", cut.scratch_floats),
                scratch_floats=cut.scratch_floats,
                numbers={"act": node.store_act},
            )
        )

    def backward(self, backward: Backward, node: Node) -> None:
        """One step for all that is wanted: the gradients of weight, bias and input."""
        layer, value, forward = _layer(node), node.inputs[0], backward.forward
        layout = backward.model.layouts[layer.weight]
        weight_grad = layer.weight in backward.model.trained
        bias_grad = layer.bias in backward.model.trained
        input_grad = backward.wanted(value)
        if not (weight_grad or bias_grad or input_grad):
            return
        cut = cut_of(forward, layout, backward=True)
        partial = None
        if (weight_grad or bias_grad) and forward.threads > 1 and forward.groups * cut.tiles > 1:
            floats = layout.capacity * weight_grad + layout.parameter.rows * bias_grad
            partial = forward.scratch(f"{node.name} partial gradients", floats)
        seen, out, accumulate, sums, summed = cut.window.input, None, 0, None, None
        if input_grad and layout.parameter.format == "channel":
            out, accumulate = backward.zeroed_target(value), 1  # it adds to the channels that it reads alone
        elif input_grad:
            out, accumulate = backward.target(value)
            if value.whole and cut.window.stride[1] == 1:  # else written a position at a time: sums take a pass
                sums, summed = backward.sums_on_the_way(value.node, out)
        backward.steps.emit(
            Spec(
                "conv_grad",
                f"{node.name} gradient",
                node,
                a=forward.view(value.node, seen) if weight_grad else None,
                g=replace(backward.grad(node), image=cut.window.output),
                sums=replace(sums, image=seen) if sums else GradSpec(out, value.node, seen) if out else None,
                out=out,
                sums_norm=summed,
                rows={"conv": ConvRow(layer.weight, layer.bias, cut, backward=True)},
                scratch=forward.scratch(f"{node.name} gradient scratch", cut.scratch_floats),
                scratch_floats=cut.scratch_floats,
                partial_grads=partial,
                numbers={"accumulate": accumulate, "input_grad": int(input_grad), "weight_grad": int(weight_grad)},
            )
        )


def _layer(node: Node) -> Conv | Linear:
    assert isinstance(node.operator, Conv | Linear)
    return node.operator


def _window(node: Node, network: Network) -> Window:
    """The window of a convolution; of a linear layer 1×1 over its positions, each a row, so that they can be cut."""
    layer, image = _layer(node), _seen(node, node.inputs[0].image)
    if isinstance(layer, Linear):
        return Window(input=image, output=_seen(node, node.image))
    _, _, *kernel = network.parameters[layer.weight].shape
    padding = layer.padding[0], layer.padding[1]
    return Window((kernel[0], kernel[1]), layer.stride, layer.dilation, padding, layer.groups, image, node.image)


def _seen(node: Node, image: Image) -> Image:
    """A shape as the layer's window has it: of a linear layer a position is a row."""
    channels, height, width = image
    return (channels, height * width, 1) if isinstance(node.operator, Linear) else image


def _weight(tensors: Mapping[str, Tensor], name: str) -> Weight:
    weight = tensors[name]
    assert isinstance(weight, Weight)
    return weight


def cut_of(forward: Forward, layout: WeightLayout, backward: bool, inputs: bool = True) -> Cut:
    """How a pass over a layer is cut; `backward` and `inputs` say which panels it needs, as in `cut_work`."""
    return cut_work(
        layout.window,
        layout.read,
        layout.kind,
        layout.height,
        layout.entries,
        forward.groups,
        forward.samples,
        forward.threads,
        backward,
        inputs,
    )
