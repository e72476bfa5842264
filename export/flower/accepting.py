"""A client's reply as an update, once all of it was looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flwr.app import Message

from edge.errors import InputError
from export.flower import records
from export.flower.averaging import Update
from export.flower.layout import Layout, Weights
from export.flower.merging import mutable, stored_units
from export.flower.packing import digest_of, unpack_masks, unpack_scores, unpack_values

_NAME_LENGTH, _LINE_LENGTH, _LINES = 40, 300, 1000


@dataclass(frozen=True, eq=False)
class Accepted:
    """An update with what is told of the round: figures by name, the client's plan as JSON, bytes that came.

    `left_out` has a line for each board that a client which speaks for several went without.
    """

    update: Update
    digest: str
    facts: Mapping[str, int | float] = field(repr=False)
    plan: str
    payload_bytes: int
    left_out: tuple[str, ...] = ()


def accept(reply: Message, layout: Layout, sent: Weights, digest: str, mutates: bool, wants_scores: bool) -> Accepted:
    """The update in a reply to these weights, whose masks have this digest.

    Raises InputError with one line that names the client for an error, for values that are not finite or not as many
    as the mask keeps, for masks that moved though the server moves them, and for anything else that does not fit.
    """
    client = f"client {reply.metadata.src_node_id}"
    if reply.has_error():
        raise InputError(f"{client}: {reply.error.reason or f'error {reply.error.code}'}")
    try:
        content = reply.content
        said = records.to_plain(content, records.CLIENT)
        client = f"{client}{_called(records.field(said, 'name', str))}"
        facts = _numbers(records.to_plain(content, records.FACTS))
        samples = facts.pop("num-examples", None)
        if type(samples) is not int or samples < 1:
            raise InputError(f"num-examples {samples!r:.40}: must be 1 or more")
        masks, found = _masks(layout, sent, digest, said, mutates)
        weights = unpack_values(layout, records.to_packed(content, records.WEIGHTS), masks, sent.values)
        scores = {}
        if wants_scores:
            encoded = layout.encoded(weights)
            counts = {name: stored_units(encoded[name]) for name in mutable(layout)}
            scores = unpack_scores(layout, records.to_packed(content, records.SCORES), counts)
        plan = records.field(said, "plan", str)
        update = Update(client, samples, weights, scores)
        left_out = tuple(f"{client}: {line}" for line in _lines(said.get(records.LEFT_OUT)))
        return Accepted(update, found, facts, plan, records.payload_bytes(content), left_out)
    except InputError as refused:
        raise InputError(f"{client}: {refused}; its update is left out") from None


def _masks(
    layout: Layout, sent: Weights, digest: str, said: Mapping[str, Any], mutates: bool
) -> tuple[Mapping[str, Any], str]:
    """The masks that the values are of, and their digest."""
    packed, found = records.masks_in(said), records.field(said, records.DIGEST, str)
    if packed is None:
        if found != digest:
            raise InputError(f"trained under masks {found:.12}, {digest:.12} were sent")
        return sent.masks, digest
    if not mutates:
        raise InputError("moved its masks, and the server moves them in this run")
    if digest_of(packed) != found:
        raise InputError(f"masks {found:.12}: what came has another SHA-256")
    return unpack_masks(layout, packed), found


def _numbers(given: Mapping[str, Any]) -> dict[str, int | float]:
    """The figures that are finite numbers."""
    return {str(name): value for name, value in given.items() if type(value) in (int, float) and math.isfinite(value)}


def _lines(given: object) -> list[str]:
    """The lines that a client sent, as a message shows them."""
    lines = [line for line in given if isinstance(line, str)] if isinstance(given, list) else []
    return [
        "".join(letter if letter.isprintable() else "_" for letter in line[:_LINE_LENGTH]) for line in lines[:_LINES]
    ]


def _called(name: str) -> str:
    """A name that a client gave itself, as a message shows it."""
    plain = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name[:_NAME_LENGTH])
    return f" ({plain})" if plain else ""
