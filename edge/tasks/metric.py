"""A number that judges answers: its name, whether more of it is better, and how a person reads it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """`key` is its name in JSON, `label` for a person, `meaning` a sentence about it.

    A share lies in 0 to 1 and is written as a percentage.
    """

    key: str
    label: str
    meaning: str
    higher_is_better: bool = True
    is_share: bool = True

    def better(self, value: float, than: float) -> bool:
        """True if a value is a gain over another one."""
        return value > than if self.higher_is_better else value < than

    @property
    def title(self) -> str:
        """The label at the beginning of a line."""
        return self.label[0].upper() + self.label[1:]

    def text(self, value: float) -> str:
        """The value for a person."""
        return f"{value:.1%}" if self.is_share else f"{value:.4g}"


ACCURACY = Metric("accuracy", "accuracy", "Share of samples classified correctly.")
