"""Transposed convolutions: the steps of the convolution that they mirror, each in the other's place.

The mirrored convolution reads what the layer writes and writes what it reads; its rows are the layer's input channels.
So the layer's value is made as that convolution's input gradient is, and its input's gradient as that one's value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from edge.engines.native.forward import Forward
from edge.engines.native.geometry import Window
from edge.engines.native.gradients import Backward
from edge.engines.native.layout import WeightLayout, weight_layout
from edge.engines.native.node import Node
from edge.engines.native.operators.convolution import ConvRow, cut_of
from edge.engines.native.operators.rule import Rule
from edge.engines.native.rows import NormSpec
from edge.engines.native.slots import GradSpec, Slot
from edge.engines.native.steps import Spec
from edge.network import Network
from edge.network.operators.convolution import ConvTranspose
from edge.plan.choices import Choices


class TransposedConvolution(Rule):
    """One step each way."""

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
        """The weight's, always with the lists by the mirrored input's channels, which the value is made with."""
        layer = _layer(node)
        parameter = network.parameters[layer.weight]
        _, _, *kernel = parameter.shape
        window = Window(
            (kernel[0], kernel[1]),
            layer.stride,
            layer.dilation,
            (layer.padding[0], layer.padding[1]),
            layer.groups,
            input=node.image,
            output=node.inputs[0].image,
        )
        trains = layer.weight in trained
        return {layer.weight: weight_layout(parameter, window, choices, trains, needs_input_grad=True)}

    def forward(self, forward: Forward, node: Node, out: Slot, label: str, norm: NormSpec | None) -> None:
        """One step."""
        layer = _layer(node)
        cut = cut_of(forward, forward.model.layouts[layer.weight], backward=True, inputs=False)
        forward.steps.emit(
            Spec(
                "conv_transpose",
                label,
                node,
                a=forward.view(node.inputs[0].node, cut.window.output),
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
        layout, trained = backward.model.layouts[layer.weight], backward.model.trained
        weight_grad, input_grad = layer.weight in trained, backward.wanted(value)
        if not (weight_grad or input_grad or layer.bias in trained):
            return
        cut = cut_of(forward, layout, backward=True)
        partial = None
        if weight_grad and forward.threads > 1 and forward.groups * cut.tiles > 1:
            partial = forward.scratch(f"{node.name} partial gradients", layout.capacity)
        seen, out, accumulate, sums, summed = cut.window.output, None, 0, None, None
        if input_grad:
            out, accumulate = backward.target(value)
            if value.whole:
                sums, summed = backward.sums_on_the_way(value.node, out)
        backward.steps.emit(
            Spec(
                "conv_transpose_grad",
                f"{node.name} gradient",
                node,
                a=forward.view(value.node, seen) if weight_grad else None,
                g=replace(backward.grad(node), image=cut.window.input),
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


def _layer(node: Node) -> ConvTranspose:
    assert isinstance(node.operator, ConvTranspose)
    return node.operator
