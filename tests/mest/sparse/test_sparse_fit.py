"""Model, masks, optimizers and states that do not belong together are refused, and a refusal changes nothing."""

from __future__ import annotations

import copy
import io
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mest import Sparsifier, sparsify
from mest.errors import DamagedError, InputError
from mest.sparse import Growth, Scheme

X = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
Y = torch.randint(0, 4, (64,), generator=torch.Generator().manual_seed(1))
OPTIONS: dict[str, Any] = {"scheme": "irregular", "sparsity": 0.8, "epochs": 8, "update_every_epochs": 2}


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))


def sgd(model: nn.Module, lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr, momentum=0.9)


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(X), Y).backward()
    optimizer.step()


def contents(model: nn.Module, sparsifier: Sparsifier) -> list[Tensor]:
    held = [*model.state_dict().values(), *sparsifier.masks.values(), sparsifier._generator.get_state()]
    return [tensor.clone() for tensor in held]


def equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(first, second) for first, second in zip(one, other, strict=True))


def test_a_copy_whose_hooks_did_not_run_is_refused() -> None:
    """Optimizers drop their hooks when they are copied; the weights tell. It stays refused, and nothing changes."""
    model = net()
    optimizer = sgd(model)
    sparsifier = sparsify(model, optimizer, method="em", **OPTIONS)
    sparsifier.start_epoch(0)
    model, optimizer, sparsifier = copy.deepcopy((model, optimizer, sparsifier))
    step(model, optimizer)
    before = contents(model, sparsifier)
    for call in (lambda: sparsifier.start_epoch(1), sparsifier.finish, sparsifier.state_dict):
        with pytest.raises(InputError, match=r"0\.weight: \d+ removed weights are not zero"):
            call()
    assert equal(before, contents(model, sparsifier))
    assert (sparsifier.epoch, sparsifier.finished) == (0, False)


def test_a_copy_trains_on_after_start_epoch() -> None:
    """Beginning an epoch hooks the copies; the originals are not touched by it."""
    model = net()
    optimizer = sgd(model)
    sparsifier = sparsify(model, optimizer, method="em", **OPTIONS)
    copied, its_optimizer, its_sparsifier = copy.deepcopy((model, optimizer, sparsifier))
    its_sparsifier.start_epoch(0)
    sparsifier.start_epoch(0)
    step(copied, its_optimizer)
    assert its_sparsifier.zeros_kept
    step(model, optimizer)
    assert equal(contents(model, sparsifier), contents(copied, its_sparsifier))


def test_an_earlier_best_needs_its_own_masks() -> None:
    """Loading weights of another epoch is refused at the next step and at finish; with their state they pass."""
    model = net()
    optimizer = sgd(model, 0.3)
    sparsifier = sparsify(model, optimizer, method="em", **{**OPTIONS, "epochs": 20})
    best: Any = None
    for epoch in range(14):
        sparsifier.start_epoch(epoch)
        step(model, optimizer)
        if epoch == 5:
            best = copy.deepcopy((model.state_dict(), sparsifier.state_dict()))
    model.load_state_dict(best[0])
    before = contents(model, sparsifier)
    for call in (sparsifier.finish, lambda: sparsifier.start_epoch(14), lambda: step(model, optimizer)):
        with pytest.raises(InputError, match="load model and sparsifier from one checkpoint"):
            call()
    assert equal(before, contents(model, sparsifier))
    sparsifier.load_state_dict(best[1])
    sparsifier.finish()
    assert all(torch.equal(model.state_dict()[name], best[0][name]) for name in best[0])


def test_a_state_taken_within_an_epoch_is_compared_at_the_first_step() -> None:
    """Training goes on from it, and the next epoch does not ask for weights that have moved since."""
    model = net()
    sparsifier = sparsify(model, sgd(model), method="em", **OPTIONS)
    sparsifier.start_epoch(0)
    weights, state = copy.deepcopy((model.state_dict(), sparsifier.state_dict()))
    fresh = net(1)
    optimizer = sgd(fresh)
    resumed = sparsify(fresh, optimizer, method="em", **OPTIONS)
    fresh.load_state_dict(weights)
    resumed.load_state_dict(state)
    step(fresh, optimizer)
    assert resumed.start_epoch(1) is None


def test_a_state_is_refused_until_its_weights_are_there() -> None:
    """In a step as at an epoch, as often as it is tried, in either order of loading."""
    model = net()
    optimizer = sgd(model)
    sparsifier = sparsify(model, optimizer, method="em", **OPTIONS)
    sparsifier.start_epoch(0)
    step(model, optimizer)
    weights, state = copy.deepcopy((model.state_dict(), sparsifier.state_dict()))
    fresh = net(1)
    optimizer = sgd(fresh)
    resumed = sparsify(fresh, optimizer, method="em", **OPTIONS)
    resumed.load_state_dict(state)
    for _ in range(2):
        with pytest.raises(InputError):
            resumed.start_epoch(1)
        with pytest.raises(InputError):
            step(fresh, optimizer)
    fresh.load_state_dict(weights)
    assert resumed.start_epoch(1) is None


@pytest.mark.parametrize("part", ["masks", "gradients", "generator", "nonzeros", "epoch"])
def test_a_damaged_state_changes_nothing(part: str) -> None:
    """All of it is read before any of it is taken."""
    model = net()
    sparsifier = sparsify(model, sgd(model), method="em", **OPTIONS)
    sparsifier.start_epoch(0)
    state = sparsifier.state_dict()
    state[part] = {"masks": {}, "gradients": {"x": torch.ones(1)}, "nonzeros": {}, "epoch": "two"}.get(
        part, torch.zeros(3, dtype=torch.uint8)
    )
    before = contents(model, sparsifier)
    with pytest.raises(DamagedError, match="damaged"):
        sparsifier.load_state_dict(state)
    assert equal(before, contents(model, sparsifier))
    assert sparsifier.epoch == 0


class Refusing(Growth):
    """Draws random numbers for one layer and fails at the next."""

    name = "refusing"
    layers = 0

    def priority(self, scheme: Scheme, weight: Tensor, gradient: Tensor | None, generator: torch.Generator) -> Tensor:
        self.layers += 1
        if not self.layers % 2:
            raise InputError("no more")
        return torch.rand(scheme.grid(tuple(weight.shape)), generator=generator)


def test_a_mutation_that_fails_in_its_middle_changes_nothing() -> None:
    """Masks of all layers are known before the first is put in force, and random numbers are given back."""
    model = net()
    sparsifier = sparsify(model, sgd(model), method="em", growth=Refusing(), **OPTIONS)
    before = contents(model, sparsifier)
    for _ in range(2):
        with pytest.raises(InputError, match="no more"):
            sparsifier.start_epoch(0)
        assert equal(before, contents(model, sparsifier))
        assert sparsifier.epoch == -1


def test_a_refused_optimizer_leaves_the_model_as_it_was() -> None:
    """One that trains no sparse layer, one of another model, and what is no optimizer at all."""
    model = net()
    before = copy.deepcopy(model.state_dict())
    for optimizer, message in (
        (torch.optim.SGD([model[2].bias], 0.1), "SGD holds none of the sparse layers' weights"),
        (sgd(net()), "SGD holds none of the sparse layers' weights"),
        (torch.amp.GradScaler("cpu"), "a GradScaler is no torch.optim.Optimizer"),
        (None, "a NoneType is no torch.optim.Optimizer"),
    ):
        with pytest.raises(InputError, match=message):
            sparsify(model, optimizer, method="em", **OPTIONS)  # type: ignore[arg-type]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_an_optimizer_of_biases_can_be_attached() -> None:
    """Where several train a model, one may hold no sparse layer; one of another model is refused and not attached."""
    model = net()
    weights = torch.optim.SGD([model[0].weight, model[2].weight, *model[4].parameters()], 0.1)
    sparsifier = sparsify(model, weights, method="em", **OPTIONS)
    sparsifier.attach(torch.optim.Adam([model[0].bias, model[2].bias])).start_epoch(0)
    with pytest.raises(InputError, match="no other parameter of this model"):
        sparsifier.attach(sgd(net()))


@pytest.mark.parametrize("replace", ["layer", "assigned", "group"])
def test_what_is_no_longer_the_same_parameter_is_refused(replace: str) -> None:
    """A layer was replaced, weights were loaded by assignment, an optimizer let go of a layer."""
    model = net()
    optimizer = sgd(model)
    sparsifier = sparsify(model, optimizer, method="em", **OPTIONS)
    sparsifier.start_epoch(0)
    message = r"2\.weight: no longer the parameter that was made sparse"
    if replace == "layer":
        model[2] = nn.Linear(32, 32)
    elif replace == "assigned":
        model.load_state_dict(copy.deepcopy(model.state_dict()), assign=True)
        message = r"0\.weight and 1 more: no longer the parameter"
    else:
        group = optimizer.param_groups[0]
        group["params"] = [parameter for parameter in group["params"] if parameter is not model[2].weight]
        message = r"2\.weight: sparse, but trained by no attached optimizer"
    with pytest.raises(InputError, match=message):
        sparsifier.start_epoch(1)


def test_epochs_of_numpy_are_whole_numbers() -> None:
    """A state that was counted by NumPy loads with weights_only, and continues one that was not."""
    model = net()
    sparsifier = sparsify(model, sgd(model), method="em", **{**OPTIONS, "epochs": np.int64(8)})
    for odd in (1.0, True, "1", None):
        with pytest.raises(InputError, match="whole numbers from 0 are allowed"):
            sparsifier.start_epoch(odd)  # type: ignore[arg-type]
    sparsifier.start_epoch(np.int64(0))  # type: ignore[arg-type]
    file = io.BytesIO()
    torch.save(sparsifier.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)  # noqa: TID251
    sparsify(model, sgd(model), method="em", **OPTIONS).load_state_dict(state)
    assert type(state["epoch"]) is int
    with pytest.raises(InputError, match=r"epochs: 8\.5 given"):
        sparsify(net(), sgd(model), method="em", **{**OPTIONS, "epochs": 8.5})
