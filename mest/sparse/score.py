"""Which weights go: the importance of each weight, from itself and its gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mest.errors import InputError
from mest.sparse.decimals import exact
from mest.sparse.registry import Registry

#: λ of |w| + λ·|gradient| where none is given; chosen by bench/gradient_weight.py
DEFAULT_GRADIENT_WEIGHT = 0.01


class Score(ABC):
    """Importance of every weight of a layer; what scores lowest is removed first."""

    name: ClassVar[str]

    @property
    def needs_gradient(self) -> bool:
        """True if the gradient must be kept for the next mutation."""
        return False

    @abstractmethod
    def __call__(self, weight: Tensor, gradient: Tensor | None) -> Tensor:
        """Non-negative scores in the weight's shape.

        `gradient` is that of the last whole optimizer step, zero where weights were removed; None before the first.
        """


def _construct(score: type[Score], argument: str | None) -> Score:
    return score() if argument is None else score(argument)  # type: ignore[call-arg]


SCORES: Registry[Score] = Registry("score", Score, _construct)  # type: ignore[type-abstract]


@dataclass(frozen=True)
class Magnitude(Score):
    """|w|."""

    name: ClassVar[str] = "magnitude"

    def __call__(self, weight: Tensor, gradient: Tensor | None) -> Tensor:
        """The weights without their signs."""
        return weight.abs()


@dataclass(frozen=True)
class MagnitudeGradient(Score):
    """|w| + λ·|gradient| (paper, equation 1), λ being `gradient_weight`; 0 is magnitude alone."""

    name: ClassVar[str] = "magnitude+gradient"
    gradient_weight: float = DEFAULT_GRADIENT_WEIGHT

    def __post_init__(self) -> None:
        if not 0 <= self.gradient_weight < float("inf"):
            raise InputError(f"gradient weight {self.gradient_weight}: give 0 or more, such as 0.01")

    @property
    def needs_gradient(self) -> bool:
        """Not for λ = 0."""
        return self.gradient_weight > 0

    def __call__(self, weight: Tensor, gradient: Tensor | None) -> Tensor:
        """The paper's importance; the magnitude while there is no gradient."""
        if gradient is None or not self.gradient_weight:
            return weight.abs()
        return weight.abs().add_(gradient.abs(), alpha=self.gradient_weight)


def _magnitude(argument: str | None) -> Score:
    if argument is not None:
        raise InputError(f"score 'magnitude' takes no argument, got {argument!r}")
    return Magnitude()


def _magnitude_gradient(argument: str | None) -> Score:
    return MagnitudeGradient() if argument is None else MagnitudeGradient(float(exact(argument)))


SCORES.register("magnitude", _magnitude)
SCORES.register("magnitude+gradient", _magnitude_gradient)


def register_score(score: type[Score]) -> type[Score]:
    """The class itself, now known to `parse_score` by its name: usable as a decorator."""
    return SCORES.register_class(score)


def parse_score(text: str | Score) -> Score:
    """The score that `text` spells: `magnitude`, `magnitude+gradient:0.01`, a registered one. Raises InputError."""
    return text if isinstance(text, Score) else SCORES.make(text)
