"""Which weights come back: the order in which dead units grow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mest.errors import InputError
from mest.sparse.registry import Registry
from mest.sparse.schemes.scheme import Scheme


class Growth(ABC):
    """A growth rule: priorities for the units of a layer. Grown weights start at zero, whatever the rule."""

    name: ClassVar[str]
    #: True if the rule reads the gradient of removed weights too, which costs a dense gradient before each mutation
    needs_dense_gradient: ClassVar[bool] = False

    @abstractmethod
    def priority(self, scheme: Scheme, weight: Tensor, gradient: Tensor | None, generator: torch.Generator) -> Tensor:
        """Finite priorities in the shape of `scheme.grid(weight.shape)`, on the weight's device; the highest grow.

        `generator` lives on the CPU and is the run's own, so that a seed gives the same masks on every device.
        """


def _construct(growth: type[Growth], argument: str | None) -> Growth:
    return growth() if argument is None else growth(argument)  # type: ignore[call-arg]


GROWTHS: Registry[Growth] = Registry("growth rule", Growth, _construct)  # type: ignore[type-abstract]


def register_growth(growth: type[Growth]) -> type[Growth]:
    """The class itself, now known to `parse_growth` by its name: usable as a decorator."""
    return GROWTHS.register_class(growth)


def parse_growth(text: str | Growth) -> Growth:
    """The growth rule that `text` spells: `random`, `gradient`, a registered one. Raises InputError."""
    return text if isinstance(text, Growth) else GROWTHS.make(text)


@register_growth
@dataclass(frozen=True)
class RandomGrowth(Growth):
    """Any dead unit, all alike (paper, section 3.1): no gradient of removed weights is ever needed."""

    name: ClassVar[str] = "random"

    def priority(self, scheme: Scheme, weight: Tensor, gradient: Tensor | None, generator: torch.Generator) -> Tensor:
        """Random numbers."""
        return torch.rand(scheme.grid(tuple(weight.shape)), generator=generator).to(weight.device)


@register_growth
@dataclass(frozen=True)
class GradientGrowth(Growth):
    """The units with the largest dense gradient, as RigL does."""

    name: ClassVar[str] = "gradient"
    needs_dense_gradient: ClassVar[bool] = True

    def priority(self, scheme: Scheme, weight: Tensor, gradient: Tensor | None, generator: torch.Generator) -> Tensor:
        """The norm of each unit's gradient."""
        if gradient is None:
            raise InputError("growth by gradient has no gradient yet; it cannot run before the first optimizer step")
        return scheme.unit_scores(gradient.abs())
