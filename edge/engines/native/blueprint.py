"""All that the native engine is built from: the prepared network, its lists of steps with every offset, its memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge.engines.native.footprint import Planned, footprint_of, plan_listing
from edge.engines.native.listing import prediction_listing, training_listing
from edge.engines.native.model import Model
from edge.engines.native.prepared import build_model
from edge.errors import InputError
from edge.network import Network
from edge.plan.choices import Choices
from edge.plan.footprint import Footprint


@dataclass(frozen=True)
class Blueprint:
    """`training` has the steps by the size of a piece, `predict` those of a prediction."""

    model: Model
    training: Mapping[int, Planned]
    predict: Planned
    footprint: Footprint


def draw(network: Network, choices: Choices) -> Blueprint:
    """The blueprint of an engine; allocates nothing and needs no library. Raises InputError for impossible choices."""
    if not 1 <= choices.micro_batch <= choices.batch_size or choices.threads < 1:
        raise InputError(
            f"micro-batch {choices.micro_batch}, batch {choices.batch_size}, threads {choices.threads}: allowed are "
            "1 <= micro-batch <= batch and at least one thread"
        )
    model = build_model(network, choices)
    training = {size: plan_listing(training_listing(model, size)) for size in choices.pieces}
    predict = plan_listing(prediction_listing(model, choices.micro_batch))
    return Blueprint(model, training, predict, footprint_of(model, training, predict))
