"""What each method needs: bytes at its peak, and training arithmetic against dense.

Counted from definitions, not measured: weights, gradients and optimizer state of kept weights at 4 bytes each, indices
as the compressed formats of docs/network-format.md hold them. Activations are not counted (as in the paper, section 3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mest.errors import InputError
from mest.sparse.counts import kept_units, phase_counts
from mest.sparse.decimals import weights_of
from mest.sparse.growth import parse_growth
from mest.sparse.layers import Layer, Target, bare, layers_of
from mest.sparse.methods import METHODS, make_schedule
from mest.sparse.schedule import Schedule

FLOAT_BYTES = 4


@dataclass(frozen=True)
class MethodBytes:
    """Bytes that a method holds at its peak, over all parameters of a model, dense layers included.

    `gradients` counts one gradient per kept weight, and where the growth rule reads the gradients of removed weights,
    those too.
    """

    method: str
    weights: int
    gradients: int
    indices: int
    optimizer: int

    @property
    def total(self) -> int:
        """The sum."""
        return self.weights + self.gradients + self.indices + self.optimizer


@dataclass(frozen=True)
class TrainingFlops:
    """Multiply-adds × 2 of forward and backward passes for one sample, averaged over the epochs of a run."""

    method: str
    per_sample: float
    dense_per_sample: float

    @property
    def share(self) -> float:
        """Of dense."""
        return self.per_sample / self.dense_per_sample if self.dense_per_sample else 1.0


def peak_bytes(
    model: nn.Module,
    targets: Mapping[str, Target],
    schedule: Schedule,
    *,
    growth: str | None = None,
    optimizer_state: int = 1,
) -> MethodBytes:
    """The bytes of one method. `optimizer_state` is the floats per weight: 1 for momentum, 2 for Adam, 0 for plain SGD.

    The peak is in the densest phase, so that EM&S pays for its overshoot; `growth` defaults to the schedule's.
    """
    sparse = {} if schedule.dense else targets
    all_weights = sum(parameter.numel() for parameter in bare(model).parameters())
    shapes = {name: tuple(bare(model).get_parameter(name).shape) for name in sparse}
    outside = all_weights - sum(weights_of(shape) for shape in shapes.values())
    kept, indices = outside, 0
    for name, target in sparse.items():
        units = max(units_by_epoch(schedule, target, shapes[name]))
        kept += units * target.scheme.unit_weights(shapes[name])
        indices += target.scheme.index_bytes(shapes[name], units)
    dense_gradient = bool(sparse) and parse_growth(growth or schedule.growth).needs_dense_gradient
    return MethodBytes(
        method=schedule.method,
        weights=FLOAT_BYTES * kept,
        gradients=FLOAT_BYTES * (all_weights if dense_gradient else kept),
        indices=indices,
        optimizer=FLOAT_BYTES * optimizer_state * kept,
    )


def peak_bytes_by_method(
    model: nn.Module, targets: Mapping[str, Target], epochs: int, *, optimizer_state: int = 1
) -> dict[str, MethodBytes]:
    """The bytes of every method for the same targets, by its name; each with the bounds that the targets yield.

    A method of one's own that has bounds of its own, or that is not for so many epochs, is left out.
    """
    found = {}
    for name in METHODS:
        try:
            schedule = make_schedule(name, epochs)
        except InputError:
            continue
        if not schedule.bounds:
            found[name] = peak_bytes(model, targets, schedule, optimizer_state=optimizer_state)
    return found


def units_by_epoch(schedule: Schedule, target: Target, shape: tuple[int, ...]) -> list[int]:
    """Units that a layer keeps in each epoch of a run."""
    return [
        kept_units(target.scheme, shape, schedule.in_force(epoch, target.weight_sparsity))
        for epoch in range(schedule.epochs)
    ]


def training_flops(
    model: nn.Module,
    targets: Mapping[str, Target],
    schedule: Schedule,
    sample: Tensor,
    *,
    growth: str | None = None,
    steps_per_epoch: int | None = None,
) -> TrainingFlops:
    """Arithmetic of training with a method, from one forward pass of `sample`, a batch of any size.

    A layer costs one multiply-add per weight and output position in the forward pass, as many for the input's gradient
    (not in the first layer) and as many for the weight's. Zeros cost nothing. A growth rule that reads the gradients
    of removed weights pays a dense weight gradient in one step before each mutation; with `steps_per_epoch` None
    that is taken as nothing. Everything but convolution and linear layers is left out, on both sides.
    """
    positions = output_positions(model, sample)
    sparse = {} if schedule.dense else targets
    dense_gradient = bool(sparse) and parse_growth(growth or schedule.growth).needs_dense_gradient
    dense_total = total = 0.0
    for place, layer in enumerate(layer for layer in layers_of(model) if layer.name in positions):
        passes = 2 if place == 0 else 3
        full = 2.0 * layer.weights * positions[layer.name]
        dense_total += passes * full
        if layer.name not in sparse:
            total += passes * full
            continue
        density = _mean_density(schedule, sparse[layer.name], layer)
        total += passes * full * density
        if dense_gradient and steps_per_epoch:
            mutations = sum(_mutates(schedule, sparse[layer.name], layer, epoch) for epoch in range(1, schedule.epochs))
            total += full * (1 - density) * mutations / (schedule.epochs * steps_per_epoch)
    return TrainingFlops(schedule.method, total, dense_total)


def output_positions(model: nn.Module, sample: Tensor) -> dict[str, int]:
    """Output positions per sample of every convolution and linear layer that `sample` runs through, by weight name.

    Those at which each weight is used: of a transposed convolution they are the input's. A layer that runs several
    times counts each time. The model is left as it was.
    """
    layers = {layer.name: layer for layer in layers_of(model)}
    inner = bare(model)
    positions: dict[str, int] = {}
    handles = []

    def count(layer: Layer) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            rows = inputs[0] if layer.transposed else output  # its weight has a row for each channel of these
            positions[layer.name] = positions.get(layer.name, 0) + rows.numel() // layer.shape[0] // len(sample)

        return hook

    modes = {module: module.training for module in inner.modules()}
    try:
        for name, layer in layers.items():
            handles.append(inner.get_submodule(name.rpartition(".")[0]).register_forward_hook(count(layer)))
        inner.eval()
        with torch.no_grad():
            inner(sample)
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training
    return positions


def _mean_density(schedule: Schedule, target: Target, layer: Layer) -> float:
    """Kept ÷ all weights of a layer, averaged over the epochs."""
    units = units_by_epoch(schedule, target, layer.shape)
    return sum(units) * target.scheme.unit_weights(layer.shape) / (len(units) * layer.weights)


def _mutates(schedule: Schedule, target: Target, layer: Layer, epoch: int) -> bool:
    """True if the epoch begins with a mutation that regrows something in the layer."""
    pruned, grown = phase_counts(target.scheme, layer.shape, schedule.phase(epoch, target.weight_sparsity))
    return schedule.due(epoch) and grown > pruned
