"""The published behaviour: the same kept weights where it is right, and none of its defects.

The oracles are written from the description of the algorithm, in NumPy, with percentiles over norms as published.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import mest.sparse
from mest import sparsify
from mest.errors import InputError
from mest.sparse import Block, Channel, Irregular, Pattern, Scheme, select_targets
from mest.sparse.counts import kept_units
from mest.sparse.mutation import first_mask

ODD_SEEDS = range(1, 20, 2)
REMOVED = ("00 01 02 10 20", "00 01 02 12 22", "00 10 20 21 22", "02 12 20 21 22")
REMOVED += ("00 01 02 10 11", "00 01 02 20 22", "00 02 10 20 22", "00 02 12 20 22")


def weights(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def ours(scheme: Scheme, weight: np.ndarray, sparsity: float) -> np.ndarray:
    count = kept_units(scheme, weight.shape, sparsity)
    return first_mask(scheme, torch.from_numpy(weight).abs(), count).numpy()


def published_irregular(weight: np.ndarray, sparsity: float) -> np.ndarray:
    """Weights above the percentile of the magnitudes."""
    magnitude = np.abs(weight)
    return magnitude > np.percentile(magnitude, 100 * sparsity)


def published_block(weight: np.ndarray, sparsity: float, height: int = 4) -> np.ndarray:
    """Blocks above the percentile of the L2 norms of `height` consecutive rows × 1 column."""
    matrix = weight.reshape(weight.shape[0], -1)
    norms = np.stack([np.linalg.norm(matrix[row : row + height], axis=0) for row in range(0, len(matrix), height)])
    kept = norms > np.percentile(norms, 100 * sparsity)
    return np.repeat(kept, height, axis=0).reshape(weight.shape)


def published_pattern(weight: np.ndarray, kernel_sparsity: float) -> np.ndarray:
    """The pattern with the largest remaining norm in each kernel, then per filter the kernels above a percentile."""
    mask = np.zeros(weight.shape, dtype=bool)
    patterns = []
    for removed in REMOVED:
        pattern = np.ones((3, 3), dtype=bool)
        for cell in removed.split():
            pattern[int(cell[0]), int(cell[1])] = False
        patterns.append(pattern)
    for out in range(weight.shape[0]):
        for channel in range(weight.shape[1]):
            kernel = weight[out, channel]
            mask[out, channel] = max(patterns, key=lambda pattern: float(np.linalg.norm(kernel * pattern)))
        norms = np.linalg.norm((weight[out] * mask[out]).reshape(weight.shape[1], 9), axis=1)
        mask[out, norms <= np.percentile(norms, 100 * kernel_sparsity)] = False
    return mask


@pytest.mark.parametrize("seed", ODD_SEEDS)
@pytest.mark.parametrize("sparsity", [0.5, 0.8, 0.9, 0.95])
def test_irregular_keeps_the_published_weights(seed: int, sparsity: float) -> None:
    """The same set wherever the percentile falls between two weights, which it does for these sizes."""
    weight = weights(seed, (20, 15, 3, 3))
    assert np.array_equal(ours(Irregular(), weight, sparsity), published_irregular(weight, sparsity))


@pytest.mark.parametrize("seed", ODD_SEEDS)
@pytest.mark.parametrize("sparsity", [0.5, 0.8, 0.9, 0.95])
def test_block_keeps_the_published_blocks(seed: int, sparsity: float) -> None:
    """The same blocks of 4×1."""
    weight = weights(seed, (32, 25, 3, 3))
    assert np.array_equal(ours(Block(), weight, sparsity), published_block(weight, sparsity))


@pytest.mark.parametrize("seed", ODD_SEEDS)
@pytest.mark.parametrize("kernels_removed", [0.25, 0.5, 0.75])
def test_pattern_keeps_the_published_kernels_and_cells(seed: int, kernels_removed: float) -> None:
    """The same kernels of every filter with the same cells, where the count is the same for all filters."""
    weight = weights(seed, (7, 20, 3, 3))
    kernels = round((1 - kernels_removed) * 20)
    mask = first_mask(Pattern(), torch.from_numpy(weight).abs(), 7 * kernels).numpy()
    assert np.array_equal(mask, published_pattern(weight, kernels_removed))


def model_and_optimizer() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.Flatten(), nn.Linear(64, 3)
    )
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    loss = nn.functional.cross_entropy(
        model(torch.randn(4, 1, 8, 8, generator=generator)), torch.randint(0, 3, (4,), generator=generator)
    )
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)


@pytest.mark.parametrize("scheme", ["irregular", "block", "pattern", "channel"])
def test_the_gradient_weight_acts(scheme: str) -> None:
    """λ changes what is removed, also where the loop zeroes gradients before the next epoch begins."""

    def masks(gradient_weight: float) -> dict[str, torch.Tensor]:
        model, optimizer = model_and_optimizer()
        options = {"method": "em", "epochs": 20, "gradient_weight": gradient_weight}
        sparsifier = sparsify(model, optimizer, scheme=scheme, sparsity=0.6, **options)  # type: ignore[arg-type]
        for epoch in range(6):
            sparsifier.start_epoch(epoch)
            step(model, optimizer, epoch)
        return sparsifier.masks

    without, with_gradients = masks(0.0), masks(100.0)
    assert any(not torch.equal(without[name], with_gradients[name]) for name in without)


def test_channel_exists() -> None:
    """Documented and missing there; here whole input channels go."""
    weight = weights(1, (8, 12, 3, 3))
    mask = ours(Channel(), weight, 0.75)
    norms = np.linalg.norm(weight.transpose(1, 0, 2, 3).reshape(12, -1), axis=1)
    assert sorted(np.flatnonzero(mask[0, :, 0, 0])) == sorted(np.argsort(norms)[-3:])
    assert np.array_equal(mask, np.broadcast_to(mask[:1, :, :1, :1], mask.shape))


def test_pattern_converts_weight_sparsity_once() -> None:
    """0.9 means 90 % of the weights are zero, not 77.5 %: its scripts convert twice."""
    mask = ours(Pattern(), weights(1, (32, 32, 3, 3)), 0.9)
    assert 0.9 <= 1 - mask.mean() < 0.901
    twice = published_pattern(weights(1, (32, 32, 3, 3)), 1 - 2.25 * (1 - 0.775))
    assert 1 - twice.mean() < 0.79


@pytest.mark.parametrize("scheme", [Irregular(), Block(), Pattern(), Channel()], ids=str)
def test_ties_do_not_remove_everything(scheme: Scheme) -> None:
    """Equal weights: the exact count stays, where `>` against the percentile keeps none."""
    equal = np.ones((8, 8, 3, 3), dtype=np.float32)
    assert not published_irregular(equal, 0.8).any()
    assert ours(scheme, equal, 0.8).sum() == kept_units(scheme, equal.shape, 0.8) * scheme.unit_weights(equal.shape)


def test_momentum_of_removed_weights_does_not_live_on() -> None:
    """It is zero from the removal on, and nothing moves a removed weight from zero."""
    model, optimizer = model_and_optimizer()
    sparsifier = sparsify(model, optimizer, scheme="irregular", sparsity=0.8, method="em", epochs=20)
    for epoch in range(7):
        sparsifier.start_epoch(epoch)
        for name, mask in sparsifier.masks.items():
            weight = model.get_parameter(name)
            momentum = optimizer.state[weight].get("momentum_buffer", torch.zeros_like(weight))
            assert not bool(momentum[~mask].any())
        step(model, optimizer, epoch)
        assert sparsifier.zeros_kept


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: masks on a GPU are not compared")
@pytest.mark.parametrize("scheme", ["irregular", "block", "pattern", "channel"])
def test_masks_are_the_same_on_a_gpu(scheme: str) -> None:
    """Nothing says `.cuda()`: the same seed gives the same first masks and growth where the parameters are."""

    def masks(device: str) -> dict[str, torch.Tensor]:
        model, _ = model_and_optimizer()
        model.to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        sparsifier = sparsify(model, optimizer, scheme=scheme, sparsity=0.8, method="em", epochs=20)
        sparsifier.start_epoch(0)
        assert {mask.device.type for mask in sparsifier.masks.values()} == {device}
        return {name: mask.cpu() for name, mask in sparsifier.masks.items()}

    on_cpu, on_gpu = masks("cpu"), masks("cuda")
    assert all(torch.equal(on_cpu[name], on_gpu[name]) for name in on_cpu)


def test_no_device_is_named() -> None:
    """The published code says `.cuda()` everywhere."""
    sources = Path(mest.sparse.__file__).parent.glob("*.py")
    assert not [file.name for file in sources if ".cuda()" in file.read_text()]


def test_a_profile_key_that_matches_no_layer_is_an_error() -> None:
    """Not printed and ignored."""
    model, _ = model_and_optimizer()
    with pytest.raises(InputError, match=r"layer9\.weight: the model has no convolution or linear weight"):
        select_targets(model, "irregular", profile={"1.weight": 0.9, "layer9.weight": 0.9})
