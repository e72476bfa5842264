"""How a caller watches a run and stops it; the trainer itself neither prints nor listens to signals."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from mest.train.metrics import EpochRecord


def _never() -> bool:
    return False


def _nothing(_: Any) -> None:
    return None


def _unwatched(items: Iterable[Any], count: int, title: str) -> Iterable[Any]:
    return items


@dataclass(frozen=True)
class Observer:
    """Hooks into a run, each doing nothing by default.

    `stop` is polled between steps; `say` gets messages for a person; `watch` may wrap the batches of an epoch in a
    progress bar, given their number and a title; `epoch_done` gets every finished epoch.
    """

    stop: Callable[[], bool] = _never
    say: Callable[[str], None] = _nothing
    watch: Callable[[Iterable[Any], int, str], Iterable[Any]] = _unwatched
    epoch_done: Callable[[EpochRecord], None] = _nothing
