"""Masks that another program chose: taken exactly, counted exactly, refused in words where they do not fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune

import mest
from mest.errors import InputError
from mest.sparse import parse_scheme
from mest.sparse.counts import kept_units
from mest.sparse.given_masks import of_whole_units, sparsity_of

OPTIONS = {"epochs": 8, "update_every_epochs": 2}


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    inputs = torch.randn(8, 16, generator=torch.Generator().manual_seed(1))
    nn.functional.cross_entropy(model(inputs), torch.arange(8) % 4).backward()
    optimizer.step()


def noise_masks(model: nn.Module, share: float = 0.7) -> dict[str, Tensor]:
    """Masks that no magnitude would choose."""
    generator = torch.Generator().manual_seed(2)
    return {name: torch.rand(model.get_parameter(name).shape, generator=generator) > share for name in FIRST_TWO}


FIRST_TWO = ("0.weight", "2.weight")


@pytest.mark.parametrize("method", ["em", "ems", "static", "rigl"])
def test_zeros_of_another_library_are_where_training_starts(method: str) -> None:
    """The masks are the zeros, exactly; the sparsity is theirs at the end, and they move only where a method says."""
    model = network()
    masks = noise_masks(model)
    with torch.no_grad():
        for name, mask in masks.items():
            model.get_parameter(name).mul_(mask)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    sparsifier = mest.sparsify(model, optimizer, masks=mest.masks_of(model), method=method, **OPTIONS)
    assert sparsifier.masks.keys() == masks.keys()
    assert all(torch.equal(sparsifier.masks[name], mask) for name, mask in masks.items())
    assert sparsifier.at_target
    assert sparsifier.dense == {"4.weight": "no mask is given for it"}
    assert {layer.scheme.name for layer in sparsifier.layers()} == {"irregular"}
    for epoch in range(8):
        sparsifier.start_epoch(epoch)
        step(model, optimizer)
    sparsifier.finish()
    kept = {name: int(mask.count_nonzero()) for name, mask in masks.items()}
    assert {layer.name: layer.kept_weights for layer in sparsifier.layers()} == kept
    assert sparsifier.zeros_kept
    moved = any(not torch.equal(sparsifier.masks[name], mask) for name, mask in masks.items())
    assert moved == (method != "static")


def test_a_kept_weight_that_is_zero_stays_kept() -> None:
    """A dictionary is taken at its word: what it keeps may be zero, what it removes becomes zero."""
    model = network()
    masks = noise_masks(model)
    kept = masks["0.weight"].nonzero()[:5]
    with torch.no_grad():
        model[0].weight[kept[:, 0], kept[:, 1]] = 0
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    sparsifier = mest.sparsify(model, optimizer, masks=masks, method="static", **OPTIONS)
    sparsifier.start_epoch(0)
    step(model, optimizer)
    assert torch.equal(sparsifier.masks["0.weight"], masks["0.weight"])
    assert bool(model[0].weight[kept[:, 0], kept[:, 1]].any())
    assert not model[2].weight[~masks["2.weight"]].any()


def test_masks_of_torch_prune_are_taken_over_with_its_parameters() -> None:
    """What torch.nn.utils.prune computed becomes a plain parameter, the one that the optimizer holds already."""
    model = network()
    for layer in (model[0], model[2]):
        prune.l1_unstructured(layer, "weight", amount=0.75)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    step(model, optimizer)
    held = {name: model[int(name[0])].weight_mask.bool() for name in FIRST_TWO}
    parameter = model[0].weight_orig
    sparsifier = mest.sparsify(model, optimizer, masks=mest.masks_of(model), method="em", **OPTIONS)
    assert model[0].weight is parameter
    assert all(torch.equal(sparsifier.masks[name], mask) for name, mask in held.items())
    assert sparsifier.sparsity == 0.75
    before = model[0].weight.detach().clone()
    sparsifier.start_epoch(0)
    step(model, optimizer)
    assert not torch.equal(before, model[0].weight)
    assert sparsifier.zeros_kept


def test_a_refusal_leaves_a_pruned_model_as_it_was() -> None:
    """An optimizer of other weights is refused; torch.nn.utils.prune goes on holding the model."""
    model = network()
    prune.l1_unstructured(model[0], "weight", amount=0.5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    stranger = torch.optim.SGD([model[2].bias], 0.1)
    with pytest.raises(InputError, match="optimizer"):
        mest.sparsify(model, stranger, masks=mest.masks_of(model), method="em", **OPTIONS)
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in after.items())
    assert bool((model[0].weight == 0).any())


def test_a_mask_dictionary_is_checked_whole() -> None:
    """Names, shapes and values are refused together, the model untouched."""
    model = network()
    before = model[0].weight.detach().clone()
    masks = {
        "0.weigth": torch.ones(32, 16),
        "2": torch.ones(4, 4),
        "4.weight_mask": torch.full((4, 32), 0.5),
        "0.weight": np.zeros((32, 16)),
    }
    with pytest.raises(InputError) as refused:
        mest.sparsify(model, torch.optim.SGD(model.parameters(), 0.1), masks=masks, method="em", **OPTIONS)
    for part in ("nearest: 0.weight", "a mask of (4, 4) for a weight of (32, 32)", "other values", "no weight at all"):
        assert part in str(refused.value)
    assert torch.equal(model[0].weight, before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": 0.9}, "leave a sparsity out"),
        ({"profile": {"0.weight": 0.5}}, "leave a profile out"),
        ({"method": "dense"}, "leave method dense out"),
        ({"scheme": "block"}, "0.weight: its mask is not made of whole units of scheme block; use scheme irregular"),
    ],
)
def test_what_contradicts_masks_is_refused(options: dict[str, object], message: str) -> None:
    """Masks say which layers are sparse and how much; a scheme must be the one that they have."""
    model = network()
    with pytest.raises(InputError) as refused:
        mest.sparsify(
            model,
            torch.optim.SGD(model.parameters(), 0.1),
            masks=noise_masks(model),
            **{"method": "em", **OPTIONS, **options},
        )
    assert message in str(refused.value)


def test_a_few_zeros_by_chance_and_an_empty_layer_are_no_masks() -> None:
    """Half-precision weights have some zeros, a layer that begins at zero has nothing else."""
    model = network()
    with torch.no_grad():
        model[0].weight[0, :3] = 0
        model[2].weight[:, :8] = 0
        model[4].weight.zero_()
    masks = mest.masks_of(model)
    assert list(masks) == ["2.weight"]
    assert int(masks["2.weight"].count_nonzero()) == 32 * 24


@pytest.mark.parametrize("scheme", ["irregular", "block", "block:8", "pattern", "channel"])
def test_masks_of_every_scheme_continue_in_it(scheme: str) -> None:
    """A run that is over hands its masks to a new one of the same scheme."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 16, 3), nn.Flatten(), nn.Linear(256, 4))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    first = mest.sparsify(model, optimizer, scheme=scheme, sparsity=0.8, method="static", epochs=1)
    first.detach()
    second = mest.sparsify(model, optimizer, scheme=scheme, masks=first.masks, method="em", epochs=8)
    assert all(torch.equal(second.masks[name], mask) for name, mask in first.masks.items())
    assert [layer.kept_units for layer in second.layers()] == [layer.kept_units for layer in first.layers()]
    assert second.at_target


@given(
    st.sampled_from(["irregular", "block", "block:2", "channel", "pattern"]),
    st.integers(1, 6),
    st.integers(1, 9),
    st.floats(0, 1),
    st.integers(0, 10),
)
def test_random_masks_keep_their_exact_count(scheme: str, rows: int, columns: int, share: float, seed: int) -> None:
    """Whatever a mask keeps, its sparsity as a float counts back to it."""
    form = parse_scheme(scheme)
    shape = (4 * rows, columns, 3, 3)
    generator = torch.Generator().manual_seed(seed)
    alive = torch.rand(form.grid(shape), generator=generator) >= share
    alive.view(-1)[0] = True
    mask = form.cells(alive, shape, generator, None)
    assert of_whole_units(form, mask)
    assert kept_units(form, shape, sparsity_of(form, mask)) == int(alive.count_nonzero())
