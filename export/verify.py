"""PyTorch as the judge of an artifact: what it makes of the same batch, and whether the engines agree with it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from edge.plan.choices import OptimizerChoice
from export.compact import Kept, cut
from export.observe import Batch, Observed
from export.source import Source
from mest.errors import MestError

BATCH = 8
LEARNING_RATE = {"sgd": 0.01, "adamw": 0.001}
# A difference is accepted up to these shares of: the logits, the loss, the parameter's own update, the largest update
# of any parameter (sums over a batch lose digits by that scale), the parameter; and up to a multiple of PyTorch's own
# float32 error.
LOGITS_SHARE, LOSS_SHARE, UPDATE_SHARE, LARGEST_UPDATE_SHARE, WEIGHT_SHARE = 1e-4, 1e-5, 1e-3, 2e-5, 1e-6
FLOOR_FACTOR = 20.0
# One AdamW step moves every weight by the learning rate against the sign of its gradient; where the gradient is
# rounding noise (a bias in front of batch norm) its sign is noise too.
NOISE_SHARE = 1e-3


class DisagreementError(MestError):
    """The engines do not give the same network; the artifact cannot be trusted and is not written."""

    exit_code = 4


@dataclass(frozen=True, eq=False)
class Expected:
    """PyTorch's answer in float64, `floor` the error of its own float32 by name (logits and loss as "")."""

    batch: Batch
    logits: np.ndarray
    loss: float
    before: dict[str, np.ndarray]
    updated: dict[str, np.ndarray]
    biased_variance: dict[str, np.ndarray]
    trusted: dict[str, np.ndarray]
    floor: dict[str, float]


def make_batch(input: tuple[int, int, int], classes: int, kind: str, seed: int = 0) -> Batch:
    """A small batch of noise with labels, the same for the same seed."""
    generator = np.random.default_rng(seed)
    images = generator.standard_normal((BATCH, *input)).astype(np.float32)
    return Batch(images, np.arange(BATCH, dtype=np.int64) % classes, LEARNING_RATE[kind])


def expect(
    source: Source,
    trained: Sequence[str],
    held: Sequence[str],
    batch: Batch,
    optimizer: OptimizerChoice,
    label_smoothing: float,
) -> Expected:
    """What one step of PyTorch makes of the batch. Layers that are `held` have their gradients masked."""
    exact = _step(source, trained, held, batch, optimizer, label_smoothing, torch.float64)
    rounded = _step(source, trained, held, batch, optimizer, label_smoothing, torch.float32)
    floor = {name: float(np.abs(rounded.updated[name] - value).max()) for name, value in exact.updated.items()}
    floor[""] = float(np.abs(rounded.logits - exact.logits).max())
    return Expected(
        batch,
        exact.logits,
        exact.loss,
        exact.before,
        exact.updated,
        exact.biased_variance,
        {name: _trusted(gradient) for name, gradient in exact.gradients.items()} if optimizer.kind == "adamw" else {},
        floor,
    )


@dataclass(frozen=True, eq=False)
class _Step:
    logits: np.ndarray
    loss: float
    before: dict[str, np.ndarray]
    updated: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]
    biased_variance: dict[str, np.ndarray]


def _step(
    source: Source,
    trained: Sequence[str],
    held: Sequence[str],
    batch: Batch,
    choice: OptimizerChoice,
    label_smoothing: float,
    dtype: torch.dtype,
) -> _Step:
    model = copy.deepcopy(source.model).cpu().to(dtype)
    masks = {name: torch.from_numpy(layer.mask) for name, layer in source.layers.items()}
    weights = dict(model.named_parameters())
    with torch.no_grad():
        for name, mask in masks.items():
            weights[name].mul_(mask)
    images, labels = torch.from_numpy(batch.images).to(dtype), torch.from_numpy(batch.labels)
    model.eval()
    with torch.no_grad():
        logits = model(images)
    before = _arrays(model)
    samples: dict[str, int] = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.register_forward_hook(_count_samples(samples, path))
    model.train()
    _without_chance(model)
    for name, weight in weights.items():
        weight.requires_grad_(name in trained)
    moved = [weights[name] for name in trained]
    optimizer: torch.optim.Optimizer
    if choice.kind == "adamw":
        betas = (choice.beta1, choice.beta2)
        optimizer = torch.optim.AdamW(
            moved, batch.learning_rate, betas, choice.epsilon, weight_decay=choice.weight_decay
        )
    else:
        optimizer = torch.optim.SGD(
            moved, batch.learning_rate, choice.momentum, weight_decay=choice.weight_decay, nesterov=choice.nesterov
        )
    loss = nn.functional.cross_entropy(model(images), labels, label_smoothing=label_smoothing)
    loss.backward()
    for name in held:
        gradient = weights[name].grad
        if gradient is not None:
            gradient.mul_(masks[name])
    gradients = {name: weights[name].grad for name in trained}
    optimizer.step()
    updated = _arrays(model)
    modules = dict(model.named_modules())
    biased = {}
    for path, count in samples.items():
        name, momentum = f"{path}.running_var", float(modules[path].momentum)
        moved_by = updated[name] - (1 - momentum) * before[name]
        biased[name] = (1 - momentum) * before[name] + moved_by * (count - 1) / count
    return _Step(
        logits.numpy().astype(np.float64),
        float(loss.detach()),
        before,
        updated,
        {name: gradient.numpy() for name, gradient in gradients.items() if gradient is not None},
        biased,
    )


def _without_chance(model: nn.Module) -> None:
    """Leave out what a captured graph leaves out while training: dropout, stochastic depth and the like.

    Those are modules of their own without parameters, whose only difference between the modes that is; attention keeps
    its share as a number.
    """
    for module in model.modules():
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
        if not [*module.children(), *module.parameters(), *module.buffers()]:
            module.eval()


def _count_samples(samples: dict[str, int], path: str):  # type: ignore[no-untyped-def]  # a hook as torch takes it
    def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        samples[path] = inputs[0].numel() // inputs[0].shape[1]

    return hook


def _arrays(model: nn.Module) -> dict[str, np.ndarray]:
    return {
        name: tensor.detach().numpy().astype(np.float64).copy()
        for name, tensor in model.state_dict().items()
        if tensor.is_floating_point()
    }


def _trusted(gradient: np.ndarray) -> np.ndarray:
    """Where a gradient is more than rounding noise."""
    size = np.abs(gradient)
    trusted: np.ndarray = size > NOISE_SHARE * size.max(initial=0.0) + 1e-7
    return trusted


def compare(expected: Expected, observed: Observed, kept: Mapping[str, Kept], unbiased_variance: bool) -> float:
    """The largest difference of an updated value, over its tolerance; 1 would be just too much.

    Raises DisagreementError naming the layer and the numbers. `unbiased_variance`: whether the engine's running
    variance is PyTorch's; onnxruntime's is the biased one.
    """
    worst = 0.0
    if observed.nonzero_outside:
        raise DisagreementError(
            f"engine {observed.engine}: {observed.nonzero_outside[0]} is not zero outside its mask after one step"
        )
    scale = float(np.abs(expected.logits).max())
    pairs = [
        ("logits", observed.logits, expected.logits, LOGITS_SHARE * scale + FLOOR_FACTOR * expected.floor[""]),
        ("loss", np.array(observed.loss), np.array(expected.loss), LOSS_SHARE * (1 + abs(expected.loss))),
    ]
    moved = {name: expected.updated[name] - before for name, before in expected.before.items()}
    largest = max(float(np.abs(moved[name]).max(initial=0.0)) for name in observed.updated if name in moved)
    for name, value in observed.updated.items():
        if name not in expected.updated:
            continue
        wanted = expected.updated[name]
        if not unbiased_variance:
            wanted = expected.biased_variance.get(name, wanted)
        wanted = cut(wanted, kept.get(name))
        if value.shape != wanted.shape:
            raise DisagreementError(f"engine {observed.engine}: {name} has shape {value.shape}, PyTorch {wanted.shape}")
        tolerance = UPDATE_SHARE * float(np.abs(cut(moved[name], kept.get(name))).max(initial=0.0))
        tolerance += LARGEST_UPDATE_SHARE * largest + WEIGHT_SHARE * float(np.abs(wanted).max(initial=0.0))
        tolerance += FLOOR_FACTOR * expected.floor[name] + 1e-9
        if name in expected.trusted:
            trusted = cut(expected.trusted[name], kept.get(name))
            value, wanted = value[trusted], wanted[trusted]
        pairs.append((name, value, wanted, tolerance))
    for name, value, wanted, tolerance in pairs:
        difference = float(np.abs(value - wanted).max(initial=0.0))
        if not difference <= tolerance:
            raise DisagreementError(
                f"engine {observed.engine}: {name} differs from PyTorch by {difference:.3g} in one step "
                f"(largest value {float(np.abs(wanted).max(initial=0.0)):.3g}, allowed {tolerance:.3g})"
            )
        worst = max(worst, difference / tolerance)
    return worst
