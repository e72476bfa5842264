"""A gateway's update beside those of its boards: what a server makes of it, on weights of eight to read by eye."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from flower_example import bits, layout_of_eight, update

from edge.errors import InputError
from export.flower.averaging import averaged
from export.flower.gateway import as_one
from export.flower.merging import Course, SharedMask, together
from export.flower.rounds import Trained

LAYOUT = layout_of_eight()
BOARDS = [update("a", 1, "11110000", [8, 0, 4, 1], 0, 1), update("b", 3, "11110000", [0, 4, 8, 1], 4, 5)]
OTHER = update("c", 4, "11110000", [2, 1, 9, 5], 1, 2)


def test_two_boards_weigh_as_their_samples() -> None:
    """One sample of 8 and three of 0 are four of 2; of 0 and three 4s the mean is 3, 3 around it beside 4 within."""
    one = together(LAYOUT, "gate", BOARDS)
    assert (one.client, one.samples) == ("gate", 4)
    assert bits(one.weights.masks["w"]) == "11110000"
    assert one.weights.values["w"].tolist() == [2, 3, 7, 1]
    assert one.weights.values["mean"].tolist() == [3]
    assert one.weights.values["variance"].tolist() == [(1 + 3 * 5) / 4 + (9 + 3 * 1) / 4]


def test_the_servers_mean_is_as_if_each_board_were_a_client() -> None:
    """The same numbers to the last bit where they are round: values, running means and pooled variances."""
    apart = averaged(LAYOUT, [*BOARDS, OTHER])
    through = averaged(LAYOUT, [together(LAYOUT, "gate", BOARDS), OTHER])
    assert apart.values["w"].tolist() == [2, 2, 8, 3]
    for name in apart.values:
        assert apart.values[name].tobytes() == through.values[name].tobytes()


@pytest.mark.parametrize("seed", range(3))
def test_the_mean_is_the_same_of_any_numbers(seed: int) -> None:
    """Five boards behind two gateways and a client of its own, up to rounding."""
    random = np.random.default_rng(seed)
    boards = [
        update(str(each), int(random.integers(1, 900)), "01101001", list(random.normal(size=4)), *random.random(2))
        for each in range(6)
    ]
    gates = [together(LAYOUT, "x", boards[:3]), together(LAYOUT, "y", boards[3:5]), boards[5]]
    apart, through = averaged(LAYOUT, boards), averaged(LAYOUT, gates)
    for name in apart.values:
        np.testing.assert_allclose(through.values[name], apart.values[name], rtol=1e-5, atol=1e-6)


def test_the_mask_moves_as_if_each_board_were_a_client() -> None:
    """By the mean of the scores: position 1 has least over all samples, at board a it is position 0."""
    scores = {"a": [0, 8, 8, 8], "b": [8, 4, 8, 8], "c": [8, 0, 8, 8]}
    boards = [replace(each, scores={"w": np.array(scores[each.client], np.float32)}) for each in (*BOARDS, OTHER)]
    gate = together(LAYOUT, "gate", boards[:2])
    assert gate.scores["w"].tolist() == [6, 5, 8, 8]
    course = Course(1, 10, seed=5)
    apart = SharedMask(1).merge(LAYOUT, boards, course)
    through = SharedMask(1).merge(LAYOUT, [gate, boards[2]], course)
    assert bits(through.masks["w"][:4]) == "1011"
    assert bits(through.masks["w"]) == bits(apart.masks["w"])
    assert through.values["w"].tobytes() == apart.values["w"].tobytes()


def test_masks_that_differ_are_joined_and_pruned() -> None:
    """Position 0 by both, 4 by b alone; four stay."""
    boards = [update("a", 1, "11110000", [2, 9, 1, 5]), update("b", 1, "11011000", [4, 9, 5, -8])]
    one = together(LAYOUT, "gate", boards)
    assert bits(one.weights.masks["w"]) == "11011000"
    assert one.weights.values["w"].tolist() == [3, 9, 5, -8]
    assert one.samples == 2


def test_figures_stay_those_of_each_board() -> None:
    """Under its name, with its plan; the lines of those that were left out go along."""
    done = {
        each.client: Trained(each.weights, each.samples, {"measured-peak-bytes": 7 * each.samples}, '{"batch": 2}')
        for each in BOARDS
    }
    one = as_one(LAYOUT, "gate", done, ["attic: no connection"])
    assert one.samples == 4
    assert one.facts == {
        "boards": 2,
        "boards-left-out": 1,
        "a/num-examples": 1,
        "a/measured-peak-bytes": 7,
        "b/num-examples": 3,
        "b/measured-peak-bytes": 21,
    }
    assert json.loads(one.plan) == {"a": {"batch": 2}, "b": {"batch": 2}}
    assert one.left_out == ("attic: no connection",)


def test_boards_without_samples_are_no_client() -> None:
    """Refused, not divided by zero."""
    with pytest.raises(InputError, match="no client trained on a sample"):
        together(LAYOUT, "gate", [update("a", 0, "11110000", [1, 1, 1, 1])])
