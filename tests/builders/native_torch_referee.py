"""PyTorch as the referee: runs a native network's operators on dense weights in float32 or float64."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from activation_cases import ACTIVATIONS
from arithmetic_cases import ARITHMETIC, calculate
from resampling_cases import resampled
from sample_norm_case import sample_normalised
from token_cases import attended, linearly, prepended

from edge.network import Network, select_trainable
from edge.network.operators.resampling import Resample
from edge.network.operators.sample_norm import SampleNorm
from edge.plan.choices import Choices
from edge.weight.formats import decode, kept_mask


@dataclass
class Referee:
    """Parameters as tensors, with masks; `step` is one optimizer step of the masked dense network."""

    network: Network
    choices: Choices
    dtype: torch.dtype

    def __post_init__(self) -> None:
        self.values: dict[str, torch.Tensor] = {}
        self.masks: dict[str, torch.Tensor] = {}
        trained = select_trainable(self.network, self.choices.trainable)
        for name, parameter in self.network.parameters.items():
            dense = torch.from_numpy(decode(parameter).copy())
            if not dense.dtype.is_floating_point:
                self.values[name] = dense
                continue
            self.values[name] = dense.to(self.dtype).requires_grad_(name in trained)
            if parameter.sparse:
                self.masks[name] = torch.from_numpy(kept_mask(parameter).reshape(parameter.shape).copy())
        weights = [value for value in self.values.values() if value.requires_grad]
        asked = self.choices.optimizer
        if asked.kind == "adamw":
            self.optimizer: torch.optim.Optimizer = torch.optim.AdamW(
                weights, lr=1.0, betas=(asked.beta1, asked.beta2), eps=asked.epsilon, weight_decay=asked.weight_decay
            )
        else:
            self.optimizer = torch.optim.SGD(
                weights, lr=1.0, momentum=asked.momentum, nesterov=asked.nesterov, weight_decay=asked.weight_decay
            )

    def forward(self, images: torch.Tensor, training: bool) -> torch.Tensor:
        """Logits."""
        found = {"input": images.to(self.dtype)}
        for op in self.network.operators:
            x, names = found[op.inputs[0]], op.parameters()
            p = {role: self.values[name] for role, name in names.items()}
            if op.op == "conv":
                top, left, bottom, right = op.padding
                x = F.pad(x, (left, right, top, bottom))
                x = F.conv2d(x, p["weight"], p.get("bias"), op.stride, 0, op.dilation, op.groups)
            elif op.op == "conv_transpose":
                numbers = op.stride, op.padding[:2], op.output_padding, op.groups, op.dilation
                x = F.conv_transpose2d(x, p["weight"], p.get("bias"), *numbers)
            elif op.op == "linear":
                x = linearly(x, p)
            elif op.op == "batch_norm":
                train = training and self.choices.batch_norm == "train" and not op.frozen
                x = F.batch_norm(x, p["mean"], p["variance"], p["scale"], p["shift"], train, op.momentum, op.epsilon)
            elif isinstance(op, SampleNorm):
                x = sample_normalised(x, op.sets, p, op.epsilon)
            elif type(op) in ACTIVATIONS:
                x = ACTIVATIONS[type(op)].torch(x)
            elif type(op) in ARITHMETIC:
                x = calculate(op, [found[name] for name in op.inputs], p)
            elif op.op == "max_pool":
                x = F.max_pool2d(x, op.kernel, op.stride, op.padding[:2], op.dilation, op.ceil_mode)
            elif op.op == "avg_pool":
                x = F.avg_pool2d(x, op.kernel, op.stride, op.padding[:2], op.ceil_mode, op.count_include_pad)
            elif op.op == "global_avg_pool":
                x = x.mean((2, 3), keepdim=True)
            elif op.op == "flatten":
                x = x.flatten(1)
            elif op.op == "unsqueeze":
                x = x[:, :, None, None]
            elif op.op == "concat":
                x = torch.cat([found[name] for name in op.inputs], 1)
            elif op.op == "reshape":
                x = x.reshape(len(x), *op.shape)
            elif op.op == "attention":
                x = attended(x, op.heads, op.features, op.scale, op.windows, p)
            elif op.op == "prepend":
                x = prepended(x, p["tokens"])
            elif op.op == "positions":
                x = x.flatten(2)[:, :, None, op.first : op.first + op.count]
            elif isinstance(op, Resample):
                x = resampled(op, x)
            elif op.op == "select":
                x = x[:, p["channels"].long()]
            found[op.name] = x
        return found[self.network.logits]

    def step(self, images: np.ndarray, labels: np.ndarray, learning_rate: float) -> float:
        """Mean loss of one step, in micro-batches where the choices say so."""
        self.optimizer.zero_grad()
        size, total = self.choices.micro_batch, 0.0
        for start in range(0, len(images), size):
            x, y = torch.from_numpy(images[start : start + size]), torch.from_numpy(labels[start : start + size])
            logits = self.forward(x, True)
            loss = F.cross_entropy(logits, y, label_smoothing=self.choices.label_smoothing, reduction="sum") / len(
                images
            )
            loss.backward()
            total += loss.item()
        for name, mask in self.masks.items():
            if self.values[name].grad is not None:
                self.values[name].grad *= mask
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        return total

    def tensors(self) -> dict[str, np.ndarray]:
        """Every parameter now, and `NAME:grad` of those trained, dense."""
        found = {name: value.detach().numpy() for name, value in self.values.items()}
        found |= {
            f"{name}:grad": v.grad.numpy() for name, v in self.values.items() if v.requires_grad and v.grad is not None
        }
        return found


def engine_tensors(network: Network, snapshot: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A native engine's snapshot in the shape of `Referee.tensors`; the masks are those of the network."""
    found = {}
    for name, parameter in network.parameters.items():
        if f"{name}/values" not in snapshot:
            continue
        for part, suffix in (("values", ""), ("gradient", ":grad")):
            if f"{name}/{part}" not in snapshot:
                continue
            dense = np.zeros(parameter.size, np.float32)
            mask = kept_mask(parameter).reshape(-1) if parameter.sparse else np.ones(parameter.size, bool)
            dense[mask] = by_position(parameter, snapshot[f"{name}/{part}"])
            found[name + suffix] = dense.reshape(parameter.shape)
    return found


def by_position(parameter, values: np.ndarray) -> np.ndarray:
    """Stored values in the order of their dense position."""
    from edge.weight.formats import positions

    return values[np.argsort(positions(parameter), kind="stable")] if parameter.sparse else values


def compare(network: Network, choices: Choices, engine, images, labels, learning_rate=0.1, slack: float = 4.0) -> None:
    """One step of the engine against float64, with float32 PyTorch's own error (and rounding) as the floor."""
    exact, single = Referee(network, choices, torch.float64), Referee(network, choices, torch.float32)
    expected, rough = exact.step(images, labels, learning_rate), single.step(images, labels, learning_rate)
    result = engine.train_step(images, labels, learning_rate)
    assert abs(result.loss - expected) <= slack * abs(rough - expected) + 1e-5 * abs(expected)
    ours, theirs, truth = engine_tensors(network, engine.snapshot()), single.tensors(), exact.tensors()
    for name, value in ours.items():
        true = truth[name]
        scale = float(np.abs(true).max()) or 1.0
        floor = float(np.abs(theirs[name] - true).max())
        error = float(np.abs(value - true).max())
        assert error <= slack * floor + 1e-5 * scale, (name, error, floor, scale)
