"""What onnxruntime-training holds where many operators read one value: a part of its gradient from each of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from edge.engines.ort.footprint import estimate
from edge.plan.choices import Choices, OptimizerChoice
from export.artifact import build, write_ort
from export.capture import capture
from export.options import Options
from export.ort.files import missing
from export.ort.memory import measured_memory
from export.source import Source

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))
OPTIMIZER = OptimizerChoice()
INPUT = (3, 32, 32)
READERS = 12


class Branches(nn.Module):
    """A wide value read by many narrow convolutions, which are put side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.branches = nn.ModuleList(nn.Conv2d(16, 2, 1) for _ in range(READERS))
        self.head = nn.Linear(2 * READERS, 4)

    def forward(self, images: Tensor) -> Tensor:
        wide = self.stem(images)
        return self.head(torch.cat([branch(wide) for branch in self.branches], 1).mean((2, 3)))


def test_every_reader_of_a_value_makes_a_part_of_its_gradient(tmp_path: Path) -> None:
    """The plan, without what export measures, comes near the kernel's count; with one buffer a value it was a third."""
    torch.manual_seed(0)
    model = Branches().eval()
    built = build(Source(model, {}, INPUT, tuple("abcd"), {}), capture(model, INPUT), Options())
    write_ort(built, OPTIMIZER, 0.0, "em", tmp_path, "none")
    found = measured_memory(tmp_path, INPUT)
    choices = Choices(batch_size=32, micro_batch=32, optimizer=OPTIMIZER)
    measured = found["fixed_bytes"] + 32 * found["bytes_per_sample"]
    assert 0.85 * measured < estimate(built.network, choices).nbytes < 1.15 * measured
