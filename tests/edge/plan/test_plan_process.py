"""The planned peak of a process, from footprints small enough to add up by hand."""

from __future__ import annotations

from edge.plan.choices import Choices
from edge.plan.footprint import ArenaPlan, Footprint, Item, by_kind
from edge.plan.process import (
    INTERPRETER_GROWTH_BYTES,
    MARGIN_BYTES,
    MUTATION_CODE_BYTES,
    RECORD_BYTES,
    STACK_BYTES,
    DataNeeds,
    MemoryPlan,
    make_plan,
    phase_peaks,
)

LABELS = 8 * 32  # of a batch
ALWAYS = INTERPRETER_GROWTH_BYTES + MARGIN_BYTES + LABELS
LARGE = 10 * RECORD_BYTES


def footprint(arena: int, *items: Item) -> Footprint:
    """One of an arena and items."""
    return Footprint(items, (), ArenaPlan(arena, arena, 0, ()), ())


def planned(found: Footprint, choices: Choices | None = None, data: DataNeeds | None = None, **given) -> MemoryPlan:
    """A plan over a baseline of 1000 bytes."""
    return make_plan("native", choices or Choices(), found, 1000, data or DataNeeds(), **given)


def test_the_peak_has_what_is_held_and_the_largest_of_what_passes() -> None:
    """Scores while mutating and names while saving are never there at the same time."""
    weights, scores, names = Item("weights", "w", 7), Item("mutation", "scores", 500), Item("saving", "names", 300)
    plan = planned(footprint(LARGE, weights, scores, names))
    assert plan.peak_bytes == 1000 + ALWAYS + LARGE + 7 + 500
    assert plan.growth_bytes == plan.peak_bytes - 1000
    peaks = phase_peaks(plan)
    assert peaks["mutate"] == plan.peak_bytes
    assert peaks["save"] == plan.peak_bytes - 200
    assert peaks["train"] == peaks["evaluate"] == plan.peak_bytes - 500
    assert peaks["load"] == peaks["train"] - LARGE


def test_every_thread_but_the_first_has_a_stack() -> None:
    """The first one's is the process's own."""
    one, four = (planned(footprint(LARGE), Choices(threads=threads)).peak_bytes for threads in (1, 4))
    assert four - one == 3 * STACK_BYTES


def test_data_takes_a_batch_the_decoder_and_the_order_of_the_samples() -> None:
    """A batch of images with their labels; 28 bytes for each sample of the set."""
    data = DataNeeds(samples=10, decoder_bytes=50, image_bytes=100)
    assert {item.name: item.nbytes for item in data.items(4)} == {
        "batch": 4 * 108,
        "decoder": 50,
        "labels and order": 280,
    }
    with_data, without = planned(footprint(LARGE), data=data), planned(footprint(LARGE))
    assert with_data.peak_bytes - without.peak_bytes == 32 * 100 + 50 + 280


def test_the_code_of_mutation_counts_only_where_something_mutates() -> None:
    """It is loaded with the first mutation and stays."""
    mutating = planned(footprint(LARGE), Choices(densest_sparsity={"w": 0.5}))
    assert mutating.peak_bytes - planned(footprint(LARGE)).peak_bytes == MUTATION_CODE_BYTES


def test_the_record_takes_the_place_of_an_engine_that_is_large_enough() -> None:
    """A small engine leaves less than the record needs, and the rest is planned for."""
    small = planned(footprint(100, Item("weights", "w", 20)))
    assert small.passing == {"record": RECORD_BYTES - 120}
    assert planned(footprint(LARGE)).passing == {}


def test_contributors_add_up_to_the_peak_the_largest_first() -> None:
    """With what passes named by its phase."""
    plan = planned(footprint(LARGE, Item("weights", "a", 5), Item("weights", "b", 6), Item("saving", "names", 9)))
    parts = plan.contributors()
    assert sum(nbytes for _, nbytes in parts) == plan.peak_bytes
    assert [nbytes for _, nbytes in parts] == sorted((nbytes for _, nbytes in parts), reverse=True)
    assert dict(parts)["weights"] == 11
    assert dict(parts)["saving"] == 9


def test_items_are_added_up_by_kind() -> None:
    """The largest kind first."""
    items = (Item("weights", "a", 1), Item("indices", "b", 5), Item("weights", "c", 2))
    assert list(by_kind(items).items()) == [("indices", 5), ("weights", 3)]
