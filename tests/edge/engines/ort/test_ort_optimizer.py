"""The ort engine's update, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from edge.engines.ort.optimizer import Optimizer
from edge.plan.choices import OptimizerChoice

torch = pytest.importorskip("torch", reason="needs torch as the referee")

CHOICES = [
    OptimizerChoice(momentum=0.0, weight_decay=0.0),
    OptimizerChoice(momentum=0.0, weight_decay=0.01),
    OptimizerChoice(),
    OptimizerChoice(nesterov=True),
    OptimizerChoice(kind="adamw", weight_decay=0.01),
    OptimizerChoice(kind="adamw", weight_decay=0.0, beta1=0.8, beta2=0.95, epsilon=1e-4),
]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_ten_steps_are_those_of_pytorch(choice):
    """Weights after ten steps with a changing learning rate, also across the pieces that the scratch is cut in."""
    random = np.random.default_rng(3)
    size = (1 << 15) + 77
    weight = random.standard_normal(size).astype(np.float32)
    reference = torch.nn.Parameter(torch.from_numpy(weight.copy()))
    if choice.kind == "adamw":
        other = torch.optim.AdamW(
            [reference], betas=(choice.beta1, choice.beta2), eps=choice.epsilon, weight_decay=choice.weight_decay
        )
    else:
        other = torch.optim.SGD(
            [reference], momentum=choice.momentum, nesterov=choice.nesterov, weight_decay=choice.weight_decay
        )
    ours = Optimizer(choice, {"w": size})
    for step in range(10):
        gradient = random.standard_normal(size).astype(np.float32)
        rate = 0.01 * (1 + step)
        other.param_groups[0]["lr"] = rate
        reference.grad = torch.from_numpy(gradient.copy())
        other.step()
        ours.begin_step()
        ours.update("w", weight, gradient, rate)
    np.testing.assert_allclose(weight, reference.detach().numpy(), rtol=2e-5, atol=2e-6)


def test_a_weight_without_gradient_or_decay_stays():
    """Exactly, so that free slots stay zero."""
    weight = np.zeros(5, np.float32)
    for choice in CHOICES:
        ours = Optimizer(choice, {"w": 5})
        ours.begin_step()
        ours.update("w", weight, np.zeros(5, np.float32), 0.1)
        assert not weight.any()
