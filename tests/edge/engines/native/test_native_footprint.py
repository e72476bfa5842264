"""What the native engine says it will hold, item by item, on a network small enough to count by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from native_networks import Builder, resnet

from edge.engines.native.blueprint import draw
from edge.engines.native.footprint import plan_listing
from edge.errors import InputError
from edge.libmest.vocabulary import UNIT_BYTES
from edge.network import Network
from edge.plan.arena import live_bound
from edge.plan.choices import Choices, OptimizerChoice

SGD = OptimizerChoice(momentum=0.9)


def linear(fmt: str = "dense") -> Network:
    """64 numbers to 4 classes: 256 weights and 4 biases."""
    b = Builder((64, 1, 1), 4)
    b.linear(b.flatten("input"), 4, fmt, 0.5)
    return b.network()


def sizes(network: Network, **choices) -> dict[tuple[str, str], int]:
    """Bytes by kind and name."""
    found = draw(network, Choices(**{"batch_size": 4, "micro_batch": 4, "optimizer": SGD, **choices}))
    return {(item.kind, item.name): item.nbytes for item in found.footprint.items}


def test_a_trained_parameter_is_held_with_its_gradient_and_state() -> None:
    """1024 bytes of weights and 16 of biases, each rounded to 64."""
    found, (weight, bias) = sizes(linear()), linear().parameters
    assert {kind: found[kind, weight] for kind in ("weights", "gradients", "optimizer")} == dict.fromkeys(
        ("weights", "gradients", "optimizer"), 1024
    )
    assert found["weights", bias] == 64
    assert ("indices", weight) not in found


@pytest.mark.parametrize(("optimizer", "copies"), [(OptimizerChoice(momentum=0.0), 0), (OptimizerChoice("adamw"), 2)])
def test_state_follows_the_optimizer(optimizer: OptimizerChoice, copies: int) -> None:
    """Nothing without momentum, two moments for AdamW."""
    weight = next(iter(linear().parameters))
    assert sizes(linear(), optimizer=optimizer).get(("optimizer", weight), 0) == copies * 1024


def test_a_sparse_weight_holds_its_non_zeros_and_their_lists() -> None:
    """Half of the 256 values; starts of 4 bytes and columns of 2."""
    network = linear("csr")
    weight = next(name for name, parameter in network.parameters.items() if parameter.sparse)
    found, kept = sizes(network), network.parameters[weight].nonzeros
    assert found["weights", weight] == 4 * kept
    assert found["indices", weight] >= 4 * 5 + 2 * kept


def test_mutation_has_room_for_its_densest_phase() -> None:
    """More values, and an arena that holds what the library notes while it mutates, if more than steps do."""
    b = Builder((1024, 1, 1), 1024)
    b.linear(b.flatten("input"), 1024, "csr", 0.5)
    network = b.network()
    weight = next(name for name, parameter in network.parameters.items() if parameter.sparse)
    choices = Choices(batch_size=1, micro_batch=1, optimizer=SGD)
    mutating, still = (draw(network, replace(choices, densest_sparsity=found)) for found in ({weight: 0.25}, {}))
    assert sizes(network, densest_sparsity={weight: 0.25})["weights", weight] == 4 * 786_432
    assert mutating.footprint.arena.nbytes == UNIT_BYTES * 786_432 > still.footprint.arena.nbytes


def test_the_arena_is_that_of_the_largest_list_of_steps() -> None:
    """Pieces of every size and predictions share it; each list lies within what it needs at least and that size."""
    found = draw(resnet("block", 0.9, width=4, size=8), Choices(batch_size=8, micro_batch=3, last_batch=4))
    assert sorted(found.training) == [1, 2, 3]
    plans = [*found.training.values(), found.predict]
    assert found.footprint.arena.nbytes == max(planned.arena.nbytes for planned in plans)
    for planned in plans:
        assert plan_listing(planned.listing).arena == planned.arena
        assert live_bound(planned.listing.buffers) <= planned.arena.nbytes


def test_impossible_choices_are_refused() -> None:
    """Before anything is listed."""
    for choices in (Choices(batch_size=2, micro_batch=3), Choices(micro_batch=0), Choices(threads=0)):
        with pytest.raises(InputError, match="1 <= micro-batch <= batch"):
            draw(linear(), choices)
