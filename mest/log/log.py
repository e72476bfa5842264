"""What takes the numbers of a run while it goes on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping


class Log(ABC):
    """Numbers by name over the epochs. Names are of the form `part/what`; viewers group by the part."""

    @abstractmethod
    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Take the values of a step; they are with the viewer's files or server when this returns.

        Steps rise; a run that is continued takes the place of what an earlier one said of the steps from its first on.
        """

    @abstractmethod
    def close(self) -> None:
        """Say that nothing more comes."""


class Nowhere(Log):
    """The log of a run that asked for none."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Drop them."""

    def close(self) -> None:
        """Nothing is open."""
