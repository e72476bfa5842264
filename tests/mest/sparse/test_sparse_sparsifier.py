"""The sparsifier in a training loop: counts at every step, zeros everywhere, exact resume."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from mest import sparsify
from mest.errors import DamagedError, InputError
from mest.sparse import Irregular, Magnitude, Schedule, Score, Sparsifier, Target, ems, make_schedule, select_targets
from mest.sparse.counts import kept_units

SCHEMES = ("irregular", "block", "pattern", "channel")
METHODS = ("em", "ems", "set", "rigl", "static")
EPOCHS = 20


def small_model(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.Conv2d(8, 20, 3, padding=1),
        nn.BatchNorm2d(20),
        nn.ReLU(),
        nn.Conv2d(20, 16, 3, padding=1),
        nn.Flatten(),
        nn.Linear(16 * 16, 4),
    )


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-2)


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    return torch.randn(8, 3, 4, 4, generator=generator), torch.randint(0, 4, (8,), generator=generator)


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    images, labels = batch(step)
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(images), labels).backward()
    optimizer.step()


def check_zeros(sparsifier: Sparsifier, optimizer: torch.optim.Optimizer) -> None:
    """Weights, gradients and state outside the masks are exactly zero."""
    assert sparsifier.zeros_kept
    for name, mask in sparsifier.masks.items():
        weight = sparsifier.model.get_parameter(name)
        tensors = [weight.grad, *optimizer.state[weight].values()]
        for tensor in tensors:
            if isinstance(tensor, torch.Tensor) and tensor.shape == weight.shape:
                assert not bool(tensor[~mask].any()), name


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("method", METHODS)
def test_every_layer_is_at_what_its_phase_prescribes(scheme: str, method: str) -> None:
    """At every step of the run the counts are those in force; at the end every layer is at its target."""
    model = small_model()
    optimizer = sgd(model)
    sparsifier = sparsify(model, optimizer, scheme=scheme, sparsity=0.8, method=method, epochs=EPOCHS, seed=1)
    for epoch in range(EPOCHS):
        sparsifier.start_epoch(epoch)
        for state in sparsifier.layers():
            sparsity = sparsifier.schedule.in_force(epoch, 0.8)
            assert state.kept_units == kept_units(state.scheme, state.shape, sparsity)
            assert state.kept_weights == state.kept_units * state.scheme.unit_weights(state.shape)
        train_step(model, optimizer, epoch)
        check_zeros(sparsifier, optimizer)
    sparsifier.finish()
    assert sparsifier.at_target
    assert all(state.sparsity >= 0.8 for state in sparsifier.layers())
    check_zeros(sparsifier, optimizer)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_mutation_moves_weights_and_grown_ones_start_from_nothing(scheme: str) -> None:
    """EM exchanges units; grown weights, their momentum and their gradient are zero, survivors are untouched."""
    model = small_model()
    optimizer = sgd(model)
    sparsifier = sparsify(model, optimizer, scheme=scheme, sparsity=0.7, method="em", epochs=EPOCHS)
    for epoch in range(5):
        sparsifier.start_epoch(epoch)
        train_step(model, optimizer, epoch)
    before = {name: mask.clone() for name, mask in sparsifier.masks.items()}
    weights = {name: model.get_parameter(name).detach().clone() for name in before}
    mutation = sparsifier.start_epoch(5)
    assert mutation is not None
    assert mutation.layers.keys() == before.keys()
    for name, layer in mutation.layers.items():
        weight, mask = model.get_parameter(name), sparsifier.masks[name]
        grown, kept = mask & ~before[name], mask & before[name]
        assert layer.pruned_units == layer.grown_units > 0
        assert int(grown.sum()) == layer.grown_weights
        assert not bool(weight[grown].any())
        assert not bool(optimizer.state[weight]["momentum_buffer"][grown].any())
        assert torch.equal(weight[kept], weights[name][kept])
    assert 0 < mutation.churn < 0.5
    check_zeros(sparsifier, optimizer)


def test_ems_is_over_its_target_between_mutations() -> None:
    """Not at target while grown; pruned back by the last phase, and by finish where that never comes."""
    model = small_model()
    sparsifier = sparsify(model, sgd(model), scheme="irregular", sparsity=0.9, method="ems", epochs=8)
    seen = []
    for epoch in range(4):
        sparsifier.start_epoch(epoch)
        seen.append(sparsifier.at_target)
    assert seen == [False] * 4
    mutation = sparsifier.finish()
    assert mutation is not None
    assert sparsifier.at_target
    assert sparsifier.start_epoch(5) is None
    assert sparsifier.finish() is None


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd nesterov": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, nesterov=True, weight_decay=0.1),
    "sgd one by one": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, foreach=False),
    "adam": lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.1, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01),
    "adamw fused": lambda p: torch.optim.AdamW(p, 0.01, fused=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.5, centered=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, 0.01, initial_accumulator_value=0.1),
    "adadelta": lambda p: torch.optim.Adadelta(p),
    "rprop": lambda p: torch.optim.Rprop(p),
    "asgd": lambda p: torch.optim.ASGD(p, 0.01, lambd=0.1),
    "radam": lambda p: torch.optim.RAdam(p, 0.01),
    "adafactor": lambda p: torch.optim.Adafactor(p, 0.01),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_zeros_hold_with_every_optimizer(kind: str) -> None:
    """Whatever state an optimizer keeps, that of removed weights is zero after every step and every mutation."""
    model = small_model()
    optimizer = OPTIMIZERS[kind](model.parameters())
    sparsifier = sparsify(model, optimizer, scheme="block", sparsity=0.7, method="em", epochs=9, update_every_epochs=2)
    for epoch in range(6):
        sparsifier.start_epoch(epoch)
        check_zeros(sparsifier, optimizer)
        train_step(model, optimizer, epoch)
        check_zeros(sparsifier, optimizer)


def test_zeros_hold_with_an_optimizer_that_calls_back() -> None:
    """LBFGS moves along directions of its own; the weights outside the mask stay zero."""
    model = small_model()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)
    sparsifier = sparsify(model, optimizer, scheme="block", sparsity=0.7, method="static", epochs=2)
    sparsifier.start_epoch(0)
    images, labels = batch(0)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = nn.functional.cross_entropy(model(images), labels)
        value.backward()
        return value

    optimizer.step(loss)
    assert sparsifier.zeros_kept


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("method", "gradient_weight"), [("em", 0.5), ("ems", 0.0), ("rigl", None)])
@pytest.mark.parametrize("stop", [5, 10])
def test_resume_just_before_a_mutation_is_exact(
    scheme: str, method: str, gradient_weight: float | None, stop: int
) -> None:
    """Stopping at the end of an epoch and going on from what was saved gives the same weights, bit for bit."""

    def fresh(seed: int) -> tuple[nn.Module, torch.optim.Optimizer, Sparsifier]:
        model = small_model(seed)
        optimizer = sgd(model)
        options = {"gradient_weight": gradient_weight, "epochs": EPOCHS, "seed": 5}
        return model, optimizer, sparsify(model, optimizer, scheme=scheme, sparsity=0.8, method=method, **options)  # type: ignore[arg-type]

    def train(run: tuple[nn.Module, torch.optim.Optimizer, Sparsifier], epochs: range) -> None:
        for epoch in epochs:
            run[2].start_epoch(epoch)
            for step in range(2):
                train_step(run[0], run[1], 2 * epoch + step)

    whole, stopped = fresh(0), fresh(0)
    train(whole, range(12))
    train(stopped, range(stop))
    file = io.BytesIO()
    torch.save([part.state_dict() for part in stopped], file)
    file.seek(0)
    continued = fresh(99)
    for part, state in zip(continued, torch.load(file, weights_only=True), strict=True):  # noqa: TID251
        part.load_state_dict(state)
    train(continued, range(stop, 12))
    for run in (whole, continued):
        run[2].finish()
    for name, value in whole[0].state_dict().items():
        assert torch.equal(value, continued[0].state_dict()[name]), name
    for name, mask in whole[2].masks.items():
        assert torch.equal(mask, continued[2].masks[name]), name


def test_equal_seeds_give_equal_runs_and_others_do_not() -> None:
    """Growth has its own generator: the global one neither matters nor moves."""

    def masks(seed: int) -> torch.Tensor:
        model = small_model()
        torch.manual_seed(seed + 100)
        untouched = torch.get_rng_state()
        sparsifier = sparsify(model, sgd(model), scheme="irregular", sparsity=0.8, method="em", epochs=20, seed=seed)
        sparsifier.start_epoch(0)
        assert torch.equal(untouched, torch.get_rng_state())
        return sparsifier.masks["1.weight"]

    assert torch.equal(masks(3), masks(3))
    assert not torch.equal(masks(3), masks(4))


def test_gradient_of_the_last_whole_step_decides() -> None:
    """With a large λ what goes is the smallest accumulated gradient, as it was before weight decay and zeroing."""
    model = small_model()
    optimizer = sgd(model)
    sparsifier = sparsify(
        model, optimizer, scheme="irregular", sparsity=0.5, method="em", epochs=20, gradient_weight=1e12
    )
    sparsifier.start_epoch(4)
    for part in (0, 1):  # two half batches are one step
        images, labels = batch(part)
        nn.functional.cross_entropy(model(images), labels).backward()
    weight, before = model.get_parameter("1.weight"), sparsifier.masks["1.weight"].clone()
    assert weight.grad is not None
    gradient = weight.grad.clone().abs()
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)
    sparsifier.start_epoch(5)
    removed, kept = before & ~sparsifier.masks["1.weight"], before & sparsifier.masks["1.weight"]
    assert bool(removed.any())
    assert gradient[removed].max() <= gradient[kept].min()


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_the_scaler_skips_leaves_no_gradient(fused: bool) -> None:
    """Mixed precision: an overflow neither steps nor changes what the score remembers; gradients are unscaled.

    A fused optimizer gets the scaled gradients and skips by itself, which its hooks must see through.
    """
    model = small_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, fused=fused)
    sparsifier = sparsify(model, optimizer, scheme="block", sparsity=0.5, epochs=20, gradient_weight=1.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    sparsifier.start_epoch(0)

    def step(factor: float) -> torch.Tensor:
        images, labels = batch(0)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        scaler.scale(loss * factor).backward()
        scaler.step(optimizer)
        scaler.update()
        return sparsifier.state_dict()["gradients"].get("1.weight", torch.zeros(1)).clone()

    plain = copy.deepcopy(model)
    images, labels = batch(0)
    nn.functional.cross_entropy(plain(images), labels).backward()
    expected = plain.get_parameter("1.weight").grad
    assert expected is not None
    remembered = step(1.0)
    assert torch.allclose(remembered, expected * sparsifier.masks["1.weight"], rtol=1e-4, atol=1e-7)
    assert torch.equal(step(float("inf")), remembered)
    assert sparsifier.zeros_kept
    assert all(bool(weight.isfinite().all()) for weight in model.parameters())


def test_rigl_grows_where_the_dense_gradient_is_largest() -> None:
    """And holds a dense gradient in the epoch before a mutation only."""
    model = small_model()
    optimizer = sgd(model)
    sparsifier = sparsify(model, optimizer, scheme="irregular", sparsity=0.8, method="rigl", epochs=20)
    assert sparsifier.start_epoch(0) is None
    train_step(model, optimizer, 0)
    assert not sparsifier.state_dict()["gradients"]
    sparsifier.start_epoch(4)
    before = sparsifier.masks["1.weight"].clone()
    train_step(model, optimizer, 1)
    gradient = sparsifier.state_dict()["gradients"]["1.weight"].abs()
    assert bool(gradient[~before].any())
    sparsifier.start_epoch(5)
    grown, dead = sparsifier.masks["1.weight"] & ~before, ~(sparsifier.masks["1.weight"] | before)
    assert gradient[grown].min() >= gradient[dead].max()
    assert not sparsifier.state_dict()["gradients"]


def test_few_channels_still_mutate() -> None:
    """Eight input channels at 0.7 keep two whatever the bounds: each mutation swaps one. At 0.9 the only one stays."""
    for sparsity, kept, stay in ((0.7, 2, 1), (0.9, 1, 1)):
        model = small_model()
        optimizer = sgd(model)
        sparsifier = sparsify(model, optimizer, scheme="channel", sparsity=sparsity, method="em", epochs=EPOCHS)
        train_step(model, optimizer, 0)
        before = sparsifier.masks["1.weight"].clone()
        sparsifier.start_epoch(0)
        both = (before & sparsifier.masks["1.weight"]).any(dim=(0, 2, 3))
        assert int(both.sum()) == stay
        assert sparsifier.layers()[0].kept_units == kept


def test_dense_and_static_need_nothing_special() -> None:
    """Dense holds no masks; static never mutates."""
    model = small_model()
    dense = sparsify(model, sgd(model), scheme="block", sparsity=0.9, method="dense", epochs=4)
    assert dense.masks == {}
    assert (dense.sparsity, dense.at_target, dense.zeros_kept) == (0.0, True, True)
    assert dense.start_epoch(0) is None
    static = sparsify(model, sgd(model), scheme="block", sparsity=0.9, method="static", epochs=4)
    assert [static.start_epoch(epoch) for epoch in range(4)] == [None] * 4


def test_several_optimizers_share_the_layers() -> None:
    """Each upholds its own; a sparse layer that none trains is an error before the first epoch."""
    model = small_model()
    first = torch.optim.SGD(model[1].parameters(), lr=0.1, momentum=0.9)
    second = torch.optim.Adam(model[4].parameters(), lr=0.01)
    sparsifier = sparsify(model, first, scheme="block", sparsity=0.8, method="em", epochs=8)
    with pytest.raises(InputError, match=r"4\.weight: sparse, but trained by no attached optimizer"):
        sparsifier.start_epoch(0)
    sparsifier.attach(second).start_epoch(0)
    images, labels = batch(0)
    nn.functional.cross_entropy(model(images), labels).backward()
    first.step()
    second.step()
    for optimizer, name in ((first, "1.weight"), (second, "4.weight")):
        weight, removed = model.get_parameter(name), ~sparsifier.masks[name]
        state = [value for value in optimizer.state[weight].values() if value.shape == weight.shape]
        assert state
        assert not any(bool(value[removed].any()) for value in state)
    assert sparsifier.zeros_kept


def test_what_does_not_fit_together_is_refused() -> None:
    """A foreign optimizer, unequal targets under explicit bounds, pattern below its floor, epochs that go back."""
    model = small_model()
    with pytest.raises(InputError, match="holds none of the sparse layers"):
        sparsify(model, sgd(small_model()), sparsity=0.9)
    targets = {
        "1.weight": Target("1.weight", 0.9, Irregular()),
        "4.weight": Target("4.weight", 0.8, Irregular()),
        "9.weight": Target("9.weight", 0.8, Irregular()),
    }
    with pytest.raises(InputError) as caught:
        Sparsifier(model, targets, ems(upper_bound="0.88-0.89-0.9"))
    assert "9.weight: the model has no" in str(caught.value)
    assert "the targets reach from 0.8 to 0.9" in str(caught.value)
    with pytest.raises(InputError, match="cannot be below 5/9"):
        sparsify(model, sgd(model), scheme="pattern", sparsity=0.6, method="ems", upper_bound="0.5-0.55-0.6")
    with pytest.raises(InputError, match=r"sparsity 0\.8 and bounds that end at 0\.9"):
        sparsify(model, sgd(model), sparsity=0.8, method="em", lower_bound="0.92-0.91-0.9")
    sparsifier = sparsify(model, sgd(model), scheme="block", sparsity=0.9)
    sparsifier.start_epoch(3)
    with pytest.raises(InputError, match="epoch 2 after epoch 3"):
        sparsifier.start_epoch(2)
    assert sparsifier.start_epoch(3) is None


def test_a_foreign_state_is_refused() -> None:
    """Another schedule, no state at all, or weights loaded before the sparsifier was made."""
    model = small_model()
    optimizer = sgd(model)
    sparsifier = sparsify(model, optimizer, scheme="block", sparsity=0.9, method="ems", epochs=20)
    sparsifier.start_epoch(0)
    train_step(model, optimizer, 0)
    state, weights = sparsifier.state_dict(), copy.deepcopy(model.state_dict())
    fresh = small_model(1)
    with pytest.raises(InputError, match="of another run: schedule was"):
        sparsify(fresh, sgd(fresh), scheme="block", sparsity=0.9, method="ems", epochs=21).load_state_dict(state)
    with pytest.raises(DamagedError, match="not the state of a sparsifier"):
        sparsifier.load_state_dict({"masks": {}})
    fresh.load_state_dict(weights)
    late = sparsify(fresh, sgd(fresh), scheme="block", sparsity=0.9, method="ems", epochs=20)
    late.load_state_dict(state)
    with pytest.raises(InputError, match="make the sparsifier first"):
        late.start_epoch(1)


class Plain(Score):
    """A score of one's own that is no dataclass."""

    name = "plain"

    def __call__(self, weight: torch.Tensor, gradient: torch.Tensor | None) -> torch.Tensor:
        return weight.square()


def test_rules_of_ones_own_resume() -> None:
    """What tells two rules apart is their name and their values, not where they lie in memory."""
    model = small_model()
    states = [sparsify(model, sgd(model), sparsity=0.9, epochs=20, score=Plain()) for _ in range(2)]
    states[1].load_state_dict(states[0].state_dict())
    with pytest.raises(InputError, match="score was plain"):
        sparsify(model, sgd(model), sparsity=0.9, epochs=20).load_state_dict(states[0].state_dict())


def test_a_state_that_lacks_a_part_is_damaged() -> None:
    """And says which."""
    model = small_model()
    sparsifier = sparsify(model, sgd(model), sparsity=0.9, epochs=20)
    state = sparsifier.state_dict()
    del state["masks"]
    with pytest.raises(DamagedError, match="lacks masks"):
        sparsifier.load_state_dict(state)


def test_a_diverged_model_is_not_ranked() -> None:
    """NaN has no place in an order."""
    model = small_model()
    sparsifier = sparsify(model, sgd(model), scheme="block", sparsity=0.9, epochs=20)
    with torch.no_grad():
        model.get_parameter("1.weight").fill_(float("nan"))
    with pytest.raises(InputError, match=r"1\.weight: weights or gradients are not finite"):
        sparsifier.start_epoch(0)


def test_half_precision_weights_are_held() -> None:
    """bfloat16 parameters prune, mutate and keep their zeros."""
    model = small_model().to(torch.bfloat16)
    optimizer = sgd(model)
    sparsifier = sparsify(model, optimizer, scheme="irregular", sparsity=0.8, method="em", epochs=20)
    for epoch in range(6):
        sparsifier.start_epoch(epoch)
        images, labels = batch(epoch)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images.bfloat16()).float(), labels).backward()
        optimizer.step()
    check_zeros(sparsifier, optimizer)


def test_channels_last_weights_are_held() -> None:
    """Another memory layout changes nothing in the masks."""
    masks = []
    for layout in (torch.contiguous_format, torch.channels_last):
        model = small_model().to(memory_format=layout)  # type: ignore[call-overload]
        optimizer = sgd(model)
        sparsifier = sparsify(model, optimizer, scheme="pattern", sparsity=0.8, method="ems", epochs=20)
        sparsifier.start_epoch(0)
        train_step(model, optimizer, 0)
        check_zeros(sparsifier, optimizer)
        masks.append(sparsifier.masks["4.weight"])
    assert torch.equal(*masks)


def test_a_schedule_of_ones_own_is_a_list_of_phases() -> None:
    """Nothing asks which method built it."""
    model = small_model()
    schedule: Schedule = make_schedule("em", 6, update_every_epochs=2, lower_bound="0.9-0.8", decay_epochs="3")
    targets = select_targets(model, "irregular", sparsity=0.8)
    sparsifier = Sparsifier(model, targets, schedule, score=Magnitude(), growth="random").attach(sgd(model))
    churn = [sparsifier.start_epoch(epoch) for epoch in range(6)]
    assert [mutation is not None for mutation in churn] == [True, False, True, False, False, False]
