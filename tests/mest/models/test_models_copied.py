"""A model is copied whatever its hooks computed in the last pass."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from mest.models.copied import copy_of


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
@pytest.mark.parametrize(
    "how", [lambda part: nn.utils.weight_norm(part), lambda part: prune.random_unstructured(part, "weight", 0.5)]
)
def test_what_hooks_compute_is_copied(how) -> None:
    """After a pass torch refuses the copy; ours gives the same answers and trains, and so does the model."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), how(nn.Conv2d(4, 2, 3)))
    images = torch.randn(2, 1, 8, 8)
    expected = model(images)
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(model)
    copied = copy_of(model)
    assert torch.equal(copied(images), expected)
    assert not {id(each) for each in copied.parameters()} & {id(each) for each in model.parameters()}
    for one in (copied, model):
        one(images).sum().backward()
        assert all(each.grad is not None for each in one.parameters())
