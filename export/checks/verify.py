"""PyTorch as the judge of an artifact: what it makes of the same batch, and whether the engines agree with it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from edge.plan.choices import OptimizerChoice
from export.checks.agreement import DisagreementError, Expected, floors, nudged, trusted
from export.checks.observe import Batch
from export.source import Source
from mest.models.chance import without_chance
from mest.models.copied import copy_of
from mest.models.probe import eager, logits_of
from mest.sparse.layers import bare
from mest.tasks.registry import TASKS


def expect(
    source: Source,
    trained: Sequence[str],
    held: Sequence[str],
    batch: Batch,
    optimizer: OptimizerChoice,
    label_smoothing: float,
    trainable: Collection[str] | None = None,
    nudges: int = 0,
) -> Expected:
    """What one step of PyTorch makes of the batch in float64; for the floors also in float32, and nudged so often.

    Layers that are `held` have their gradients masked.

    `trainable`: what the artifact could train; raises DisagreementError for another parameter that PyTorch would move.
    """
    known = trained if trainable is None else trainable

    def step(images: Batch, dtype: torch.dtype) -> _Step:
        return _step(source, trained, known, held, images, optimizer, label_smoothing, dtype)

    exact = step(batch, torch.float64)
    if trainable is not None and (lost := exact.gradients.keys() - set(known)):
        raise DisagreementError(f"{min(lost)}: has a gradient in PyTorch, and the exported graph does not train it")
    rounded = step(batch, torch.float32)
    moved = (step(other, torch.float64) for other in nudged(batch, nudges))  # one at a time: they are large
    judged = exact.gradients.keys() & set(trained) if optimizer.kind == "adamw" else ()
    meant = {name: trusted(exact.gradients[name]) for name in judged}
    return Expected(
        "PyTorch",
        batch,
        exact.logits,
        exact.loss,
        exact.before,
        exact.updated,
        exact.biased_variance,
        meant,
        floors(exact, rounded, moved, meant),
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
    known: Collection[str],
    held: Sequence[str],
    batch: Batch,
    choice: OptimizerChoice,
    label_smoothing: float,
    dtype: torch.dtype,
) -> _Step:
    model = copy_of(bare(source.model)).cpu().to(dtype)
    masks = {name: torch.from_numpy(layer.mask) for name, layer in source.layers.items()}
    weights = dict(model.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for name, mask in masks.items():
            weights[name].mul_(mask)
    images, labels = torch.from_numpy(batch.images).to(dtype), torch.from_numpy(batch.labels)
    model.eval()
    with torch.no_grad(), eager():
        logits = model(images.clone())  # a model may normalise its input in place
    before = _arrays(model)
    samples: dict[str, int] = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.register_forward_hook(_count_samples(samples, path))
    model.train()
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
    with without_chance(model), eager():
        trained_logits = logits_of(model(images.clone()))
    task = TASKS[source.task.name]
    wanted = task.against(images, labels)
    loss = task.loss_sum(trained_logits, wanted, label_smoothing) / task.terms(wanted, len(images), lambda terms: terms)
    loss.backward()
    for name in held:
        gradient = weights[name].grad
        if gradient is not None:
            gradient.mul_(masks[name])
    names = {id(weights[name]): name for name in known}
    gradients = {names.get(id(weight), name): weight.grad for name, weight in model.named_parameters()}
    optimizer.step()
    updated = _arrays(model)
    modules = dict(model.named_modules())
    biased = {}
    for path, count in samples.items():
        name, momentum = f"{path}.running_var", float(modules[path].momentum)
        moved_by = updated[name] - (1 - momentum) * before[name]
        biased[name] = (1 - momentum) * before[name] + moved_by * (count - 1) / count
    return _Step(
        logits.numpy().astype(np.float64).reshape(len(logits), -1),
        float(loss.detach()),
        before,
        updated,
        {name: gradient.numpy() for name, gradient in gradients.items() if gradient is not None and gradient.any()},
        biased,
    )


def _count_samples(samples: dict[str, int], path: str):  # type: ignore[no-untyped-def]  # a hook as torch takes it
    def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if module.training:
            samples[path] = inputs[0].numel() // inputs[0].shape[1]

    return hook


def _arrays(model: nn.Module) -> dict[str, np.ndarray]:
    return {
        name: tensor.detach().numpy().astype(np.float64).copy()
        for name, tensor in model.state_dict().items()
        if tensor.is_floating_point()
    }
