"""Products of values, softmax and numbers in another order in the native engine against the numpy reference."""

from __future__ import annotations

import pytest
from native_check import assert_step
from native_networks import Builder

from edge.libmest.library import instruction_sets
from edge.network import Network
from edge.network.operators.activation_functions import Sigmoid, Silu, Sqrt
from edge.plan.choices import Choices


def mixed(b: Builder, turned: tuple[bool, bool]) -> Network:
    """Scores between channels, softened and multiplied with the values, which a shortcut reads too."""
    x = b.activation(Silu, b.norm(b.conv("input", 6)))  # read through something, so that it is stored once more
    _, height, width = b.shapes[x]
    flat = b.seen_as(x, 2, 3)  # two heads of three channels: (2, 3, positions)
    first = b.transpose(flat, (2, 3, height * width, 1), (2, height * width, 3)) if turned[0] else flat
    second = flat if turned[1] else b.transpose(flat, (2, 3, height * width, 1), (2, height * width, 3))
    weights = b.softmax(b.matmul(first, second, turned))
    y = b.seen_as(b.matmul(weights, flat), 6, height)
    # of numbers off zero: there the root is infinitely steep, and rounding would decide the gradient
    x = b.activation(Sqrt, b.activation(Sigmoid, b.norm(b.conv(b.add(x, y), 4))))
    return b.head(x)


@pytest.mark.parametrize("samples", [1, 7, 16, 70])
@pytest.mark.parametrize("turned", [(False, False), (False, True), (True, False), (True, True)])
def test_products_agree_with_the_reference(turned: tuple[bool, bool], samples: int) -> None:
    """Every instruction set, pieces of a batch too; either matrix as it is and turned."""
    for instruction_set in instruction_sets():
        network = mixed(Builder((3, 4, 5), 4, seed=samples), turned)
        choices = Choices(samples, -(-samples // 2), threads=2, batch_norm="frozen")
        assert_step(network, choices, instruction_set=instruction_set)


def test_numbers_change_places_within_and_between_channels() -> None:
    """Whatever the four axes are, and where a value is read twice."""
    b = Builder((4, 3, 4), 3, seed=2)
    x = b.relu(b.norm(b.conv("input", 4)))
    views = ((1, 4, 12, 1), (4, 3, 4, 1), (2, 2, 3, 4), (1, 2, 2, 12))
    for view in views:
        x = b.add(x, b.transpose(x, view, (4, 3, 4)))
    assert_step(b.head(x), Choices(6, 3, threads=2, batch_norm="frozen"), tolerance=2e-4)
