"""The search for a plan, with an engine whose memory is known by heart."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from edge.errors import BudgetError, InputError
from edge.plan.choices import Choices
from edge.plan.footprint import ArenaPlan, Footprint, Item
from edge.plan.process import PYTHON, DataNeeds, make_plan, phase_peaks
from edge.plan.search import Request, search

MIB = 1 << 20
NO_DATA = DataNeeds()


@dataclass(frozen=True)
class Drawn:
    """What the engine would be opened with."""

    choices: Choices
    footprint: Footprint


class Known:
    """10 MiB baseline, 4 MiB of weights per half of the layers, 1 MiB per sample, less with recomputation."""

    name = "known"
    baseline_bytes = 10 * MIB
    surroundings = PYTHON
    held_bytes = 0
    weight_layers = 8
    has_batch_norm = True
    freezes_norms = True
    saves_narrow = False

    def __init__(self, refused=()):
        self.refused = refused
        self.asked = 0

    def lone_norms(self, choices):
        return ()

    def trained(self, trainable):
        first = 0 if trainable == "all" else 8 - int(trainable.removeprefix("last:"))
        return {f"w{number}" for number in range(first, 8)}

    def refuses(self, choices):
        return "no recomputation here" if choices.recompute in self.refused else None

    def prepare(self, choices):
        self.asked += 1
        per_sample = {"none": 1.0, "activations": 0.75, "blocks": 0.5}[choices.recompute]
        per_sample *= 0.9 if choices.batch_norm == "frozen" else 1
        layers = 1.0 if choices.trainable == "all" else int(choices.trainable.removeprefix("last:")) / 8
        arena = int(choices.micro_batch * per_sample * layers * MIB)
        items = (Item("weights", "w", int(4 * MIB * layers)), Item("mutation", "m", MIB), Item("saving", "s", 2 * MIB))
        return Drawn(choices, Footprint(items, (), ArenaPlan(arena, 2 * arena, 0, {}), ()))

    def evaluation_bytes(self, choices):
        return 0

    def time_cost(self, choices):
        return {"none": 1.0, "activations": 1.1, "blocks": 1.3}[choices.recompute] + 0.5 / choices.micro_batch


def peak(**choices):
    known = Known()
    chosen = Choices(**{"batch_size": 32, "micro_batch": 32, **choices})
    return make_plan("known", chosen, known.prepare(chosen).footprint, known.baseline_bytes, NO_DATA).peak_bytes


def test_without_a_budget_the_fastest_exact_plan_is_taken():
    """Nothing recomputed, the whole batch at once."""
    plan = search(Known(), Request(), NO_DATA, None).plan
    assert (plan.choices.micro_batch, plan.choices.recompute, plan.exact) == (32, "none", True)
    assert plan.notes == ()


def test_the_peak_is_the_sum_of_its_parts():
    """Baseline, items, arena, and only the largest of what passes."""
    plan = search(Known(), Request(), DataNeeds(image_bytes=1000), None).plan
    parts = dict(plan.contributors())
    assert parts["runtime baseline"] == 10 * MIB
    assert parts["arena of a step"] == 32 * MIB
    assert parts["weights"] == 4 * MIB
    assert parts["data"] == 32 * 1008
    assert parts["saving"] == 2 * MIB
    assert "mutation" not in parts
    assert sum(parts.values()) == plan.peak_bytes


def test_phases_add_what_they_alone_hold():
    """Mutation and saving never at the same time."""
    peaks = phase_peaks(search(Known(), Request(), NO_DATA, None).plan)
    assert peaks["save"] - peaks["train"] == 2 * MIB
    assert peaks["mutate"] - peaks["train"] == MIB


@pytest.mark.parametrize(
    ("choices", "exact"),
    [
        ({}, True),
        ({"recompute": "activations"}, True),
        ({"recompute": "blocks"}, True),
        ({"micro_batch": 16, "recompute": "activations"}, False),
        ({"micro_batch": 8, "recompute": "blocks"}, False),
        ({"micro_batch": 1, "recompute": "blocks"}, False),
        ({"micro_batch": 1, "recompute": "blocks", "batch_norm": "frozen"}, False),
        ({"micro_batch": 1, "recompute": "blocks", "batch_norm": "frozen", "trainable": "last:1"}, False),
    ],
)
def test_exact_choices_come_first_and_larger_pieces_before_smaller(choices, exact):
    """With the budget that exactly suits a plan, that plan (or one that changes less) is found."""
    plan = search(Known(), Request(), NO_DATA, peak(**choices)).plan
    assert plan.peak_bytes <= peak(**choices)
    assert plan.exact is exact
    for name, value in choices.items():
        assert getattr(plan.choices, name) == value


def test_a_changed_result_is_said():
    """Every choice has its sentence, with what it costs in time."""
    plan = search(Known(), Request(), NO_DATA, peak(micro_batch=4, recompute="blocks")).plan
    assert "exact" in plan.notes[0]
    assert "changes the result" in plan.notes[1]
    assert "% time" in plan.notes[1]


def test_exact_forbids_what_changes_the_result():
    """Even where it would fit; the message says so."""
    budget = peak(micro_batch=4, recompute="blocks")
    with pytest.raises(BudgetError, match="exact forbids"):
        search(Known(), Request(exact=True), NO_DATA, budget)


class Narrow(Known):
    """Keeps half of a sample's bytes in bfloat16, a quarter in int8."""

    saves_narrow = True

    def prepare(self, choices):
        drawn = super().prepare(choices)
        share = {"float32": 1.0, "bfloat16": 0.5, "int8": 0.25}[choices.saved]
        arena = replace(drawn.footprint.arena, nbytes=int(drawn.footprint.arena.nbytes * share))
        return Drawn(choices, replace(drawn.footprint, arena=arena))


def narrow_peak(**choices):
    narrow = Narrow()
    chosen = Choices(**{"batch_size": 32, "micro_batch": 32, **choices})
    return make_plan("known", chosen, narrow.prepare(chosen).footprint, narrow.baseline_bytes, NO_DATA).peak_bytes


def test_fewer_bits_come_before_smaller_pieces():
    """The whole batch in half the bits, recomputed if need be; split only then, and as little as that allows."""
    for wanted in (
        {"recompute": "blocks"},
        {"saved": "bfloat16", "recompute": "activations"},
        {"saved": "bfloat16", "recompute": "blocks"},
        {"saved": "bfloat16", "recompute": "blocks", "micro_batch": 16},
    ):
        plan = search(Narrow(), Request(), NO_DATA, narrow_peak(**wanted)).plan
        found = {name: getattr(plan.choices, name) for name in wanted}
        assert found == wanted
        assert plan.exact is ("saved" not in wanted)
        assert plan.choices.micro_batch == wanted.get("micro_batch", 32)
        assert any("gradients are rounded" in note for note in plan.notes) is ("saved" in wanted)


def test_pieces_without_batch_norm_are_exact_and_come_before_fewer_bits():
    """Nothing sees their size."""
    narrow = Narrow()
    narrow.has_batch_norm = False
    plan = search(narrow, Request(), NO_DATA, narrow_peak(recompute="none", micro_batch=16)).plan
    assert (plan.choices.micro_batch, plan.choices.saved, plan.exact) == (16, "float32", True)


def test_fewer_bits_are_taken_as_asked():
    """int8 only then; float32 stays where it was asked for; exact forbids both."""
    plan = search(Narrow(), Request(saved="int8"), NO_DATA, None).plan
    assert (plan.choices.saved, plan.exact, plan.chosen()["saved"]) == ("int8", False, "int8")
    small = narrow_peak(recompute="blocks") - MIB
    assert search(Narrow(), Request(saved="float32"), NO_DATA, small).plan.choices.saved == "float32"
    with pytest.raises(BudgetError):
        search(Narrow(), Request(exact=True), NO_DATA, small)
    with pytest.raises(InputError, match="saved bfloat16: rounds the gradients, which exact forbids"):
        Request(saved="bfloat16", exact=True)


def test_frozen_batch_norm_makes_accumulation_exact():
    """Asked for by the user, it is no change of the result."""
    plan = search(Known(), Request(batch_norm="frozen", exact=True), NO_DATA, 20 * MIB).plan
    assert plan.exact
    assert plan.choices.micro_batch < 32
    assert plan.choices.batch_norm == "frozen"


def test_without_batch_norm_accumulation_is_exact():
    """There is nothing that sees the size of a piece."""
    known = Known()
    known.has_batch_norm = False
    plan = search(known, Request(exact=True), NO_DATA, 22 * MIB).plan
    assert plan.exact
    assert plan.choices.micro_batch < 32


def test_pins_are_respected():
    """What the user fixed stays, even where nothing fits then."""
    plan = search(Known(), Request(micro_batch=8, recompute="none", trainable="all"), NO_DATA, 40 * MIB).plan
    assert (plan.choices.micro_batch, plan.choices.recompute) == (8, "none")
    with pytest.raises(BudgetError):
        search(
            Known(), Request(micro_batch=32, recompute="none", batch_norm="train", trainable="all"), NO_DATA, 40 * MIB
        )


def test_mutation_that_was_asked_for_takes_place_in_every_plan():
    """A plan of fewer layers still trains a sparse one, has room for no other, and no pin gives what it would not."""
    room = {f"w{number}": 0.8 for number in (1, 2, 5)}
    small = peak(micro_batch=1, recompute="blocks", batch_norm="frozen", trainable="last:4")
    plan = search(Known(), Request(densest_sparsity=room), NO_DATA, small + MIB).plan
    assert plan.choices.trainable == "last:4"
    assert plan.choices.densest_sparsity == {"w5": 0.8}
    with pytest.raises(BudgetError):
        search(Known(), Request(densest_sparsity=room), NO_DATA, small - MIB)
    assert search(Known(), Request(), NO_DATA, small - MIB).plan.choices.trainable in ("last:2", "last:1")
    with pytest.raises(InputError, match="no sparse layer is among those that trainable last:2 trains"):
        search(Known(), Request(densest_sparsity=room, trainable="last:2"), NO_DATA, None)


def test_what_cannot_be_met_names_the_budget_that_would_do():
    """The largest contributors, and a budget that then works."""
    with pytest.raises(BudgetError, match=r"runtime baseline 10\.0 MiB") as refused:
        search(Known(), Request(), NO_DATA, 12 * MIB)
    smallest = str(refused.value).split("give memory_budget ")[1].split("MiB")[0]
    plan = search(Known(), Request(), NO_DATA, round(float(smallest) * MIB)).plan
    assert plan.choices.trainable == "last:1"
    with pytest.raises(BudgetError):
        search(Known(), Request(), NO_DATA, round((float(smallest) - 0.7) * MIB))


def test_choices_that_an_engine_lacks_are_passed_over():
    """And named where nothing else is left."""
    plan = search(Known(refused=("activations",)), Request(), NO_DATA, peak(recompute="activations")).plan
    assert plan.choices.recompute == "blocks"
    with pytest.raises(InputError, match="no recomputation here"):
        search(Known(refused=("blocks",)), Request(recompute="blocks"), NO_DATA, None)


def test_the_search_stops_at_the_first_fit():
    """Estimating costs time on a board."""
    known = Known()
    search(known, Request(), NO_DATA, None)
    assert known.asked == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"batch_size": 0}, "batch_size 0"), ({"micro_batch": 64}, "micro_batch 64"), ({"threads": 0}, "threads 0")],
)
def test_a_request_that_makes_no_sense_is_refused(wrong, message):
    """One line with the setting's name."""
    with pytest.raises(InputError, match=message):
        Request(**wrong)
