"""Gives the planned steps their addresses: specs become the C structs that one call runs."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np

from edge.native import structs
from edge.native.graph import Node
from edge.native.layout import WeightLayout
from edge.native.program import Listing, Model
from edge.native.specs import GradSpec, Spec, ViewSpec, norm_buffer, slope_buffer, sums_buffer
from edge.native.weights import Tensor, Weight
from edge.network import AvgPool, GlobalAvgPool, MaxPool, Select


class Lowered:
    """A program ready to run, and everything that its pointers lead to."""

    def __init__(
        self,
        model: Model,
        listing: Listing,
        tensors: Mapping[str, Tensor],
        gradients: np.ndarray,
        update: structs.Update,
        arena: np.ndarray,
        offsets: Mapping[str, int],
    ) -> None:
        self.listing = listing
        self._model = model
        self._tensors = tensors
        self._gradients = gradients
        self._update = update
        self._arena = arena
        self._base = arena.ctypes.data
        self._offsets = offsets
        self._held: list[Any] = []
        self._convs: list[tuple[structs.Conv, WeightLayout]] = []
        self.steps = (structs.Step * len(listing.specs))()
        for step, spec in zip(self.steps, listing.specs, strict=True):
            self._fill(step, spec)
        channels, height, width = model.network.input
        self.program = structs.Program(
            self.steps, len(listing.specs), listing.groups, listing.samples, channels, height, width
        )
        self.refresh()

    def refresh(self) -> None:
        """Take over the numbers of non-zeros after a mutation."""
        for conv, layout in self._convs:
            weight = self._tensors[layout.parameter.name]
            assert isinstance(weight, Weight)
            conv.entries = weight.entries
            conv.in_channels = weight.read

    def _at(self, name: str | None) -> int:
        return 0 if name is None else self._base + self._offsets[name]

    def _keep(self, thing: Any) -> Any:
        self._held.append(thing)
        return ctypes.pointer(thing)

    def _fill(self, step: structs.Step, spec: Spec) -> None:
        step.op = structs.OPS.index(spec.op)
        for name, number in spec.numbers.items():
            setattr(step, name, number)
        if spec.a:
            step.a = self._view(spec.a)
        if spec.b:
            step.b = self._view(spec.b)
        if spec.g:
            step.g = self._grad(spec.g)
        if spec.sums:
            step.sums = self._grad(spec.sums)
        step.out = self._at(spec.out)
        step.scratch = self._at(spec.scratch)
        step.scratch_floats = spec.scratch_floats
        step.partial_grads = self._at(spec.partial_grads)
        if spec.norm:
            step.norm = self._keep(self._norm(spec, spec.norm, spec.op.startswith("norm_grad")))
        if spec.sums_norm:
            step.sums_norm = self._keep(self._norm(spec, spec.sums_norm, True))
        if spec.op in ("conv", "conv_grad"):
            step.conv = self._keep(self._conv(spec))
        elif "pool" in spec.op:
            assert spec.a
            step.pool = self._keep(_pool(spec.node, spec.a.image[1:]))
        elif spec.op.startswith("select"):
            assert spec.node
            self._select(step, spec.node)
        elif spec.op == "update":
            step.update = self._keep(self._update)
        elif spec.op == "zero" and spec.out is None:
            step.out, step.out_count = _address(self._gradients), self._gradients.size

    def _view(self, view: ViewSpec) -> structs.View:
        mean = scale = shift = 0
        node = view.node
        if node.norm:
            mean = self._at(norm_buffer(node))
            scale = mean + 8 * node.image[0]
            shift = _address(self._tensors[node.norm.shift].values)
        return structs.View(self._at(view.data), mean, scale, shift, node.read_act, *view.image)

    def _grad(self, grad: GradSpec) -> structs.Grad:
        found = structs.Grad(
            data=self._at(grad.data), channels=grad.image[0], height=grad.image[1], width=grad.image[2]
        )
        if grad.stored is None:
            return found
        node = grad.node
        found.stored = self._at(grad.stored)
        found.act = node.act
        if node.norm:
            found.mean = self._at(norm_buffer(node))
            found.scale = found.mean + 8 * node.image[0]
            found.shift = _address(self._tensors[node.norm.shift].values)
            if self._model.choices.batch_norm == "train":
                found.slope = self._at(slope_buffer(node))
                found.offset = found.slope + 4 * node.image[0]
        return found

    def _norm(self, spec: Spec, node: Node, backward: bool) -> structs.Norm:
        norm, touched = node.norm, set(spec.buffers())
        assert norm
        found = structs.Norm(epsilon=norm.epsilon, momentum=norm.momentum, channels=node.image[0], frozen=spec.frozen)
        tensors = {role: self._tensors[name] for role, name in norm.parameters().items()}
        found.gamma, found.beta = _address(tensors["scale"].values), _address(tensors["shift"].values)
        found.running_mean, found.running_var = _address(tensors["mean"].values), _address(tensors["variance"].values)
        found.gamma_grad, found.beta_grad = _address(tensors["scale"].gradient), _address(tensors["shift"].gradient)
        if norm_buffer(node) in touched:
            found.mean = self._at(norm_buffer(node))
            found.rstd, found.scale = found.mean + 4 * node.image[0], found.mean + 8 * node.image[0]
        if slope_buffer(node) in touched:
            found.slope = self._at(slope_buffer(node))
            found.offset = found.slope + 4 * node.image[0]
        if sums_buffer(node, backward) in touched:
            found.partials = self._at(sums_buffer(node, backward))
        return found

    def _conv(self, spec: Spec) -> structs.Conv:
        assert spec.node
        assert spec.node.operator
        assert spec.cut
        names = spec.node.operator.parameters()
        weight = self._tensors[names["weight"]]
        assert isinstance(weight, Weight)
        layout, window, cut = weight.layout, weight.layout.window, spec.cut
        found = structs.Conv(
            values=_address(weight.values),
            grads=_address(weight.gradient),
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
                setattr(found, name, _address(weight.indices[name]))
        if "channels" in weight.indices:
            found.channel_list = _address(weight.indices["channels"])
        if "bias" in names:
            found.bias = _address(self._tensors[names["bias"]].values)
            if spec.op == "conv_grad":
                found.bias_grad = _address(self._tensors[names["bias"]].gradient)
        self._convs.append((found, layout))
        return found

    def _select(self, step: structs.Step, node: Node) -> None:
        operator = node.operator
        assert isinstance(operator, Select)
        channels = np.ascontiguousarray(self._model.network.parameters[operator.channels].values, np.int32)
        self._held.append(channels)
        step.channel_list = _address(channels)
        step.g.channels, step.g.height, step.g.width = node.image


def _pool(node: Node | None, size: tuple[int, ...]) -> structs.Pool:
    assert node
    operator = node.operator
    if isinstance(operator, GlobalAvgPool):
        return structs.Pool(size[0], size[1], 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0)
    assert isinstance(operator, MaxPool | AvgPool)
    dilation = operator.dilation if isinstance(operator, MaxPool) else (1, 1)
    include = isinstance(operator, AvgPool) and operator.count_include_pad
    top, left, bottom, right = operator.padding
    return structs.Pool(
        *operator.kernel, *operator.stride, *dilation, top, left, bottom, right, *operator.shape[1:], int(include)
    )


def _address(array: np.ndarray) -> int:
    return int(array.ctypes.data) if array.size else 0
