"""What the engine will hold for given choices, byte by byte, without allocating any of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edge.native.layout import padded, state_items
from edge.native.mutation import passing_bytes
from edge.native.program import Listing, Model, prediction_listing, training_listing
from edge.plan.arena import check_arena, plan_arena
from edge.plan.footprint import ArenaPlan, Footprint, Item

ALIGNMENT = 64
STRUCT_BYTES_PER_STEP = 1500  # the C structs of a step


@dataclass(frozen=True)
class Planned:
    """A listing with the offsets of its buffers."""

    listing: Listing
    arena: ArenaPlan


def plan_listing(listing: Listing) -> Planned:
    """Offsets that the independent checker has accepted."""
    arena = plan_arena(listing.buffers, alignment=ALIGNMENT)
    check_arena(listing.buffers, arena)
    return Planned(listing, arena)


def footprint_of(model: Model, train: Planned, predict: Planned) -> Footprint:
    """All memory of the engine; evaluation runs in the arena of training."""
    arena = train.arena
    nbytes = max(arena.nbytes, predict.arena.nbytes)
    items = _parameter_items(model)
    steps = len(train.listing.specs) + len(predict.listing.specs)
    items.append(Item("runtime", "step list", steps * STRUCT_BYTES_PER_STEP))
    mutating = [layout for name, layout in model.layouts.items() if name in model.choices.densest_sparsity]
    if mutating:
        items.append(Item("mutation", "scores and lists", max(passing_bytes(layout) for layout in mutating)))
    return Footprint(
        tuple(items),
        train.listing.buffers,
        replace(arena, nbytes=nbytes),
        tuple(spec.name for spec in train.listing.specs),
    )


def estimate(model: Model) -> tuple[Planned, Planned, Footprint]:
    """Training plan, prediction plan, and all bytes."""
    train = plan_listing(training_listing(model, model.choices.micro_batch))
    predict = plan_listing(prediction_listing(model, model.choices.micro_batch))
    return train, predict, footprint_of(model, train, predict)


def _parameter_items(model: Model) -> list[Item]:
    items: list[Item] = []
    for name, parameter in model.network.parameters.items():
        layout = model.layouts.get(name)
        values = layout.capacity if layout else parameter.nonzeros
        items += state_items(name, values, name in model.trained, model.choices)
        if layout:
            nbytes = sum(padded(size) for size in layout.index_items().values())
            if nbytes:
                items.append(Item("indices", name, nbytes))
    return items
