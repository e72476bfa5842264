"""What onnxruntime-training is planned to hold, on networks whose buffers can be counted by hand; it is not needed."""

from __future__ import annotations

from collections import Counter

from native_networks import Builder

from edge.engines.ort.footprint import ALLOCATOR_FACTOR, densest_units, estimate, evaluation_bytes
from edge.network import Network
from edge.plan.choices import Choices, OptimizerChoice
from edge.plan.footprint import Buffer, Footprint

BATCH = 2
CHOICES = Choices(batch_size=BATCH, micro_batch=BATCH, optimizer=OptimizerChoice(momentum=0.9))
VALUE = 4 * BATCH * 8 * 4 * 4  # bytes of eight channels of 4x4


def branches(readers: int) -> Network:
    """A value of eight channels that so many convolutions read, added up."""
    b = Builder((1, 4, 4), 2)
    wide = b.conv("input", 8)
    found = [b.conv(wide, 8, kernel=1, padding=0) for _ in range(readers)]
    total = found[0]
    for one in found[1:]:
        total = b.add(total, one)
    return b.head(total)


def gradients(found: Footprint, name: str) -> list[Buffer]:
    """The buffers of a value's gradient."""
    return [buffer for buffer in found.buffers if buffer.name.startswith(f"{name} gradient")]


def test_the_only_reader_makes_the_gradient_itself() -> None:
    """One buffer, from its step to that of the operator that wrote the value."""
    network = branches(1)
    wide = network.operators[0].name
    (only,) = gradients(estimate(network, CHOICES), wide)
    steps = estimate(network, CHOICES).steps
    assert (only.nbytes, steps[only.first], steps[only.last]) == (
        VALUE,
        f"{network.operators[1].name} backward",
        f"{wide} backward",
    )


def test_each_of_several_readers_makes_a_part_that_is_held_until_all_are_summed() -> None:
    """Three parts that end in the same step, where their sum begins."""
    network = branches(3)
    wide = network.operators[0].name
    *parts, total = gradients(estimate(network, CHOICES), wide)
    assert len(parts) == 3
    assert len({part.first for part in parts}) == 3
    assert {part.last for part in parts} == {total.first} == {max(part.first for part in parts)}
    assert Counter(buffer.nbytes for buffer in (*parts, total)) == {VALUE: 4}


def test_the_arena_is_the_most_that_is_alive_with_the_allocators_share() -> None:
    """Added up here for every step."""
    found = estimate(branches(3), CHOICES)
    live = [
        sum(buffer.nbytes for buffer in found.buffers if buffer.first <= step <= buffer.last)
        for step in range(len(found.steps))
    ]
    assert found.arena.nbytes == int(max(live) * ALLOCATOR_FACTOR)
    assert live[found.arena.peak_step] == max(live)


def test_what_was_measured_at_export_is_the_least_that_is_planned() -> None:
    """The measured line at this batch, where the parts add up to less."""
    counted = estimate(branches(1), CHOICES).nbytes
    facts = {"fixed_bytes": counted, "bytes_per_sample": 1000}
    assert estimate(branches(1), CHOICES, facts).nbytes == counted + BATCH * 1000
    assert estimate(branches(1), CHOICES, {"fixed_bytes": 0, "bytes_per_sample": 1}).nbytes == counted


def test_evaluation_holds_the_largest_operator_of_its_own_session() -> None:
    """It grows with the pieces."""
    small, large = (evaluation_bytes(branches(2), Choices(micro_batch=size)) for size in (1, 9))
    assert large - small == int(4 * 9 * 3 * 128 * ALLOCATOR_FACTOR) - int(4 * 3 * 128 * ALLOCATOR_FACTOR)


def test_units_of_a_denser_phase_and_never_fewer_than_now() -> None:
    """A weight at 80 % grows to half of its cells; asked for fewer, it keeps what it has."""
    b = Builder((64, 1, 1), 4)
    b.linear(b.flatten("input"), 4, "csr", 0.8)
    weight = next(parameter for parameter in b.network().parameters.values() if parameter.sparse)
    assert densest_units(weight, 0.5) == 128
    assert densest_units(weight, 0.99) == weight.nonzeros
