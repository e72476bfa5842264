"""Bytes and arithmetic of each method, against counts by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mest.sparse import em, ems, rigl, select_targets, static
from mest.sparse.accounting import output_positions, peak_bytes, peak_bytes_by_method, training_flops, units_by_epoch


class Net(nn.Module):
    """A first convolution, a sparse one of 32×16×3×3 = 4,608 weights at stride 2, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.second = nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(32)
        self.head = nn.Linear(32, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.second(self.first(images))).mean(dim=(2, 3)))


OUTSIDE = 3 * 16 * 9 + 2 * 32 + 32 * 10 + 10


def test_bytes_by_hand() -> None:
    """Irregular at 0.9: 460 weights, at EM&S's densest 552; 16-bit columns and 33 row starts."""
    model = Net()
    targets = select_targets(model, "irregular", sparsity=0.9)
    held = peak_bytes(model, targets, static(10))
    assert held.weights == held.gradients == held.optimizer == 4 * (OUTSIDE + 460)
    assert held.indices == 4 * 33 + 460
    assert held.total == 3 * held.weights + held.indices
    assert peak_bytes(model, targets, ems(10)).weights == 4 * (OUTSIDE + 552)


def test_every_method_has_its_price() -> None:
    """EM holds what static holds; EM&S pays its overshoot; RigL a dense gradient; dense no indices."""
    model = Net()
    held = peak_bytes_by_method(model, select_targets(model, "block", sparsity=0.9), 160, optimizer_state=2)
    assert held["em"].total == held["static"].total == held["set"].total
    assert held["em"].total < held["ems"].total < held["rigl"].total < held["dense"].total
    assert held["rigl"].gradients == held["dense"].gradients == 4 * (OUTSIDE + 4608)
    assert held["rigl"].weights == held["em"].weights
    assert held["dense"].indices == 0
    assert held["em"].optimizer == 2 * held["em"].weights


def test_units_follow_the_run() -> None:
    """EM&S: 12 percent, then 11, then 10 of 4,608."""
    target = select_targets(Net(), "irregular", sparsity=0.9)["second.weight"]
    units = units_by_epoch(ems(20, decay_epochs="5-10"), target, (32, 16, 3, 3))
    assert units == [552] * 5 + [506] * 5 + [460] * 10


def test_output_positions_come_from_one_pass() -> None:
    """Per sample, whatever the batch; mode and running statistics stay as they were."""
    model = Net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert output_positions(model, torch.randn(3, 3, 8, 8)) == {
        "first.weight": 64,
        "second.weight": 16,
        "head.weight": 1,
    }
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_positions_of_a_transposed_convolution_are_those_it_reads() -> None:
    """Each of its 6 × 4 × 2 × 2 weights is used once at each of 3 × 5 input positions, not at the 6 × 10 written."""
    model = nn.Sequential(nn.ConvTranspose2d(6, 4, 2, 2))
    assert output_positions(model, torch.randn(2, 6, 3, 5)) == {"0.weight": 15}


def test_flops_by_hand() -> None:
    """Two passes for the first layer, three for the others; sparse ones by their density."""
    model = Net()
    targets = select_targets(model, "irregular", sparsity=0.9)
    sample = torch.randn(2, 3, 8, 8)
    rest = 2 * (2 * 432 * 64) + 3 * (2 * 320)
    flops = training_flops(model, targets, static(10), sample)
    assert flops.dense_per_sample == rest + 3 * 2 * 4608 * 16
    assert flops.per_sample == pytest.approx(rest + 3 * 2 * 460 * 16)
    assert flops.share == flops.per_sample / flops.dense_per_sample


def test_flops_of_the_methods() -> None:
    """EM costs what static costs, EM&S more; RigL adds dense weight gradients where the steps are known."""
    model = Net()
    targets = select_targets(model, "irregular", sparsity=0.9)
    sample = torch.randn(1, 3, 8, 8)
    cost = {make.__name__: training_flops(model, targets, make(20), sample).share for make in (static, em, ems, rigl)}
    assert cost["em"] == cost["static"] == cost["rigl"] < cost["ems"] < 1
    known = training_flops(model, targets, rigl(20), sample, steps_per_epoch=10)
    # Mutations at 5 and 10 of 20 epochs: two steps of 200 with a dense weight gradient.
    extra = 2 * 4608 * 16 * (1 - 460 / 4608) * 2 / 200
    assert known.per_sample == pytest.approx(training_flops(model, targets, rigl(20), sample).per_sample + extra)
