"""What a look at a model's passes finds: what is never read, what never moves, and where training departs."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional

from mest.errors import InputError
from mest.models import ModelSpec
from mest.models.build import look_at
from mest.models.chance import without_chance
from mest.models.notes import notes_of
from mest.models.probe import Probe, probe

IMAGE = (3, 6, 6)


class Plain(nn.Module):
    """A convolution, a batch norm, a second convolution and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3)
        self.fc = nn.Linear(4, 5)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.norm(self.conv(x)))

    def head(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(functional.relu(self.second(x)).mean((2, 3)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x))


class Skipping(Plain):
    """The second convolution is there and never used."""

    def head(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.mean((2, 3)))


class Twice(Plain):
    """The first convolution is registered under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(self.conv)


class FrozenNorm(Plain):
    """Batch norm stays in evaluation mode, as fine-tuning codes write it."""

    def train(self, mode: bool = True) -> FrozenNorm:
        super().train(mode)
        self.norm.eval()
        return self


class Untracked(Plain):
    """The features get no gradient."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            y = self.features(x)
        return self.head(y)


class HalfDetached(Plain):
    """The gradient goes one of two ways."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.features(x)
        return self.fc((functional.relu(self.second(y)) + y.detach()[:, :, 1:-1, 1:-1]).mean((2, 3)))


class Chance(Plain):
    """Dropout by a function, which is left out, and noise, which is not."""

    noise = 0.0

    def head(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.dropout(x, 0.5, training=self.training)
        if self.training and self.noise:
            x = x + self.noise * torch.randn_like(x)
        return super().head(x)


class Branching(Plain):
    """Something else while training."""

    def head(self, x: torch.Tensor) -> torch.Tensor:
        return super().head(2 * x if self.training else x)


class Doubling(nn.Module):
    """Something else while training, in a module without weights; with `chance`, for some samples alone."""

    def __init__(self, chance: bool) -> None:
        super().__init__()
        self.chance = chance

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        return x * (2 * x.new_empty(len(x), 1, 1, 1).bernoulli_(0.5) if self.chance else 2)


class WithDoubling(Plain):
    """The features, doubled by a module of their own."""

    def __init__(self, chance: bool) -> None:
        super().__init__()
        self.twice = Doubling(chance)

    def head(self, x: torch.Tensor) -> torch.Tensor:
        return super().head(self.twice(x))


def test_plain_model_has_nothing_to_say_and_stays_as_it_was() -> None:
    """Weights, statistics, gradients, flags, modes and the global generator are untouched."""
    model = Plain().train()
    model.conv.bias.requires_grad_(False)
    model.fc.weight.grad = torch.ones_like(model.fc.weight)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    generator = torch.get_rng_state()
    assert probe(model, IMAGE) == Probe(still=frozenset({"conv.bias"}))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(generator, torch.get_rng_state())
    assert all(module.training for module in model.modules())
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["conv.bias"]
    assert [name for name, p in model.named_parameters() if p.grad is not None] == ["fc.weight"]
    assert torch.equal(model.fc.weight.grad, torch.ones_like(model.fc.weight))


def test_layer_that_forward_never_uses_is_unread_by_all_its_names() -> None:
    """A layer used by another name is read; one that is not used is unread."""
    assert probe(Skipping(), IMAGE).unread == {"second.weight", "second.bias"}
    assert probe(Twice(), IMAGE).unread == set()


def test_weight_used_without_its_module_is_read() -> None:
    """It is gradients that tell, not which modules were called."""

    class ByHand(Plain):
        def head(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(functional.conv2d(x, self.second.weight, self.second.bias).mean((2, 3)))

    assert probe(ByHand(), IMAGE).unread == set()


def test_what_training_never_moves_is_still() -> None:
    """Features without a gradient, and a norm that is kept in evaluation mode; neither departs from evaluation."""
    features = {"conv.weight", "conv.bias", "norm.weight", "norm.bias"}
    assert probe(Untracked(), IMAGE) == Probe(still=frozenset(features))
    assert probe(FrozenNorm(), IMAGE) == Probe(still_norms=frozenset({"norm"}))


def noisy() -> nn.Module:
    """A model that draws noise while training."""
    model = Chance()
    model.noise = 0.1
    return model


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (HalfDetached, r"conv\.weight: its gradient is not that of the forward pass \(detach, .* in the model"),
        (Branching, "the model computes something else while training than in evaluation"),
        (lambda: WithDoubling(chance=False), "twice computes something else while training than in evaluation"),
        (noisy, r"the model draws random numbers while training \(randn_like\)"),
    ],
)
def test_departure_of_training_from_evaluation_is_named(make: Callable[[], nn.Module], words: str) -> None:
    """What a captured evaluation pass could not train is one sentence with its place and what to do."""
    torch.manual_seed(0)
    (departure,) = probe(make(), IMAGE).departures
    assert re.search(words + ".*; a board trains what the model computes in evaluation", departure)


def test_dropout_by_a_function_is_left_out_as_modules_are() -> None:
    """Twice the same logits while training, and the modes put back."""
    model = nn.Sequential(Chance(), nn.Dropout(0.5)).train()
    images = torch.randn(2, *IMAGE)
    with without_chance(model):
        first, second = model(images), model(images)
    assert torch.equal(first, second)
    assert not torch.equal(model(images), model(images))
    assert probe(Chance(), IMAGE) == Probe()
    assert probe(WithDoubling(chance=True), IMAGE) == Probe()


def test_batch_norm_that_no_board_knows_is_named_before_training() -> None:
    """Without running statistics, or with a cumulative average."""
    model = Plain()
    model.norm = nn.BatchNorm2d(4, momentum=None)
    assert "norm: batch norm without running statistics or with momentum=None" in probe(model, IMAGE).departures[0]
    notes = notes_of(probe(model, IMAGE))
    assert len(notes) == 1
    assert notes[0].startswith("mest export will refuse this model: norm: batch norm")


def test_training_pass_that_gives_no_logits_is_one_line() -> None:
    """A dictionary, and logits followed by something of another shape."""

    class Odd(Plain):
        def forward(self, x: torch.Tensor) -> object:
            logits = super().forward(x)
            return {"out": logits} if self.training else logits

    with pytest.raises(InputError, match=r"--model m:Odd: gives dict while training, expected \(n, 5\) logits, alone"):
        look_at(Odd(), ModelSpec("m:Odd", 5, IMAGE))


def test_notes_list_a_few_names_and_count_the_rest() -> None:
    """Each finding is one line."""
    found = Probe(frozenset({"a", "b"}), frozenset("abcdefgh"), frozenset({"norm"}))
    assert notes_of(found) == (
        "evaluation never uses a, b: never sparse, and not exported",
        "training never moves c, d, e, f and 2 more: frozen on the board, too",
        "batch norm norm keeps its statistics while training: on the board, too",
    )
