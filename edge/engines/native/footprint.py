"""What the engine will hold for given choices, byte by byte, without allocating any of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from edge.engines.native.layout import padded, state_items
from edge.engines.native.listing import Listing
from edge.engines.native.model import Model
from edge.plan.arena import check_arena, plan_arena
from edge.plan.footprint import ArenaPlan, Footprint, Item

ALIGNMENT = 64
STEP_BYTES = 1900  # of a step: its C structs and its names
PARAMETER_BYTES = 1400  # of a parameter: the objects around its arrays
SAVED_TENSOR_BYTES = 1300  # of an array while a state is written: its view, its entry and its line


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


def footprint_of(model: Model, training: Mapping[int, Planned], predict: Planned) -> Footprint:
    """All memory of the engine: one arena for pieces of every size, for evaluation and for what a mutation notes."""
    train = training[model.choices.micro_batch]
    programs = (*training.values(), predict)
    mutating = [model.layouts[name].mutation_bytes for name in model.choices.densest_sparsity if name in model.layouts]
    nbytes = max(*(planned.arena.nbytes for planned in programs), *mutating)
    items = _parameter_items(model)
    steps = sum(len(planned.listing.specs) for planned in programs)
    items.append(Item("runtime", "step list", steps * STEP_BYTES + _table_bytes(programs)))
    items.append(Item("runtime", "parameters", len(model.network.parameters) * PARAMETER_BYTES))
    items.append(Item("saving", "description", _saved_tensors(model) * SAVED_TENSOR_BYTES))
    return Footprint(
        tuple(items),
        train.listing.buffers,
        replace(train.arena, nbytes=nbytes),
        tuple(spec.name for spec in train.listing.specs),
    )


def _table_bytes(programs: Iterable[Planned]) -> int:
    """Bytes of what rows of all programs hold themselves."""
    return sum(row.table_bytes for planned in programs for spec in planned.listing.specs for _, row in spec.entries())


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


def _saved_tensors(model: Model) -> int:
    """At least the number of arrays in a snapshot: values, gradient and state of each parameter, its index lists."""
    states = model.choices.optimizer.state_per_weight
    trained = sum(2 + states if name in model.trained else 1 for name in model.network.parameters)
    return trained + 3 * len(model.layouts)
