"""Which layers a model answers with: they stay dense unless a profile says otherwise."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Protocol

from mest.errors import InputError

_WORDS = frozenset({"head", "heads", "classifier", "classifiers"})


class Named(Protocol):
    """What is looked at of a layer."""

    @property
    def name(self) -> str:
        """That of its weight."""

    @property
    def frozen(self) -> bool:
        """True for a weight that is not trained."""

    @property
    def is_convolution(self) -> bool:
        """True for a convolution, False for a linear layer."""


def classifiers(layers: Sequence[Named]) -> dict[str, str]:
    """The layers that are taken for the classifier, by the names of their weights, each with the reason.

    Where one of the first two parts of a name says head or classifier, the last linear layer of each such module,
    or its last convolution; else the last linear layer of the model, or its last convolution. Frozen layers, such as a
    teacher's, are left out while there are others.
    """
    trained = [layer for layer in layers if not layer.frozen] or list(layers)
    groups: dict[str, list[Named]] = {}
    for layer in trained:
        if head := _head(layer.name):
            groups.setdefault(head, []).append(layer)
    if groups:
        return {_last(group).name: "the classifier" for group in groups.values()}
    return {_last(trained).name: "the classifier"} if trained else {}


def within(layers: Iterable[Named], asked: str | Sequence[str], reason: str) -> dict[str, str]:
    """The layers that `asked` names, by weight or by a module that they lie in, each with `reason`.

    Raises InputError for a name that is of no layer.
    """
    names = [layer.name for layer in layers]
    found: dict[str, str] = {}
    for one in [asked] if isinstance(asked, str) else asked:
        prefix = one.removeprefix("module.")
        inside = [name for name in names if name == prefix or name.startswith(f"{prefix}.")]
        if not inside:
            close = difflib.get_close_matches(prefix, [*names, *(name.rpartition(".")[0] for name in names)], n=1)
            hint = f", nearest: {close[0]}" if close else ""
            raise InputError(f"{one}: the model has no convolution or linear layer of this name{hint}")
        found |= dict.fromkeys(inside, reason)
    return found


def _head(name: str) -> str:
    """The module that a layer's name calls a head or classifier, in the first two parts; empty if none."""
    parts = name.split(".")[:-1]
    for end in (2, 1):
        if len(parts) >= end and _WORDS & set(re.split(r"[^a-z]+", parts[end - 1].lower())):
            return ".".join(parts[:end])
    return ""


def _last(layers: Sequence[Named]) -> Named:
    linears = [layer for layer in layers if not layer.is_convolution]
    return (linears or list(layers))[-1]
