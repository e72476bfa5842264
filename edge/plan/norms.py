"""Batch norms that a piece of a batch leaves with one value a channel: which, and what a plan says of them.

One value has no variance, so such a norm is frozen for that piece, or the plan is refused. Which norms they are follows
from shapes alone: samples · height · width = 1.
"""

from __future__ import annotations

from edge.network import Network
from edge.plan.choices import Choices
from edge.spelling import named

_NAMED = 3  # names in a sentence before the rest is counted


def lone_norms(network: Network, choices: Choices) -> tuple[str, ...]:
    """Batch norms, by name, that are to train but see one value a channel in a piece of a run; () where none does."""
    return lone_in(network, choices, choices.pieces)


def lone_in_step(network: Network, choices: Choices, samples: int) -> tuple[str, ...]:
    """The same of a single step over so many samples."""
    whole, rest = divmod(samples, choices.micro_batch)
    return lone_in(network, choices, (*[choices.micro_batch] * bool(whole), *[rest] * bool(rest)))


def lone_in(network: Network, choices: Choices, pieces: tuple[int, ...]) -> tuple[str, ...]:
    """The same of pieces of given numbers of samples."""
    if choices.batch_norm == "frozen":
        return ()
    return tuple(
        operator.name
        for operator in network.operators
        if operator.uses_batch() and not all(operator.has_spread(samples) for samples in pieces)
    )


def said(names: tuple[str, ...]) -> str:
    """The names as a sentence has them, a few and the number of the others."""
    listed = ", ".join(names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"batch norm{'s' if len(names) > 1 else ''} {listed}{more}"


def frozen_note(names: tuple[str, ...], choices: Choices) -> str:
    """The sentence of a plan that freezes them."""
    where = "every micro-batch" if choices.micro_batch == 1 else "the last micro-batch"
    return (
        f"{said(names)} frozen where {where} is a single sample, which gives them one value a channel: changes the "
        "result, their statistics stay as they are then"
    )


def lone_refusal(names: tuple[str, ...], choices: Choices, why: str) -> str:
    """Why a plan with them is not taken, and what to do."""
    sizes = f"{named('batch_size')} {choices.batch_size}, {named('micro_batch')} {choices.micro_batch}"
    if choices.last_batch:
        sizes += f", a last batch of {choices.last_batch}"
    return (
        f"{said(names)} would see one value a channel in a micro-batch of a single sample ({sizes}), which has no "
        f"variance; {why}; give a {named('batch_size')} and {named('micro_batch')} above 1 that leave "
        "no single sample over"
    )
