"""The four schemes: masks by hand, spellings, and the layers they refuse."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
import torch

from mest.errors import InputError
from mest.sparse import Block, Channel, Irregular, Pattern, parse_scheme
from mest.sparse.mutation import first_mask
from mest.sparse.schemes.pattern import KEPT_CELLS, best_pattern

REMOVED = ("00 01 02 10 20", "00 01 02 12 22", "00 10 20 21 22", "02 12 20 21 22")
REMOVED += ("00 01 02 10 11", "00 01 02 20 22", "00 02 10 20 22", "00 02 12 20 22")


def rows(mask: torch.Tensor) -> list[list[int]]:
    return mask.flatten(1).int().tolist()


def test_irregular_by_eye() -> None:
    """The three largest magnitudes of eight."""
    weight = torch.tensor([[3.0, -1, 4, -1], [5, -9, 2, 6]])
    assert rows(first_mask(Irregular(), weight.abs(), 3)) == [[0, 0, 0, 0], [1, 1, 0, 1]]


def test_block_by_eye() -> None:
    """Columns of two rows by their norm: 5, 3, 4 and 1; the two best stay, whole."""
    score = torch.tensor([[3.0, 3, 0, 1], [4, 0, 4, 0]])
    assert rows(first_mask(Block(2), score, 2)) == [[1, 0, 1, 0], [1, 0, 1, 0]]


def test_channel_by_eye() -> None:
    """Input channels by the norm over all filters."""
    score = torch.tensor([[[1.0, 1], [3, 0]], [[1, 1], [0, 0]]])
    assert rows(first_mask(Channel(), score, 1)) == [[0, 0, 1, 1], [0, 0, 1, 1]]


def test_channel_of_a_linear_layer_is_a_feature() -> None:
    """A column of the matrix."""
    assert rows(first_mask(Channel(), torch.tensor([[1.0, 5, 2], [1, 0, 2]]), 2)) == [[0, 1, 1], [0, 1, 1]]


def test_pattern_cells_are_what_the_removed_ones_leave() -> None:
    """The table of kept cells is the complement of the published table of removed ones."""
    for kept, removed in zip(KEPT_CELLS, REMOVED, strict=True):
        cells = {3 * int(cell[0]) + int(cell[1]) for cell in removed.split()}
        assert set(kept) == set(range(9)) - cells


def test_pattern_by_eye() -> None:
    """Each kernel keeps the pattern with the largest norm; of two kernels per filter the stronger stays."""
    score = torch.zeros(2, 2, 9)
    score[0, 0, [4, 5, 7, 8]] = 2  # pattern 0
    score[0, 1, [1, 3, 4, 7]] = 1  # pattern 7, weaker
    score[1, 0, [5, 6, 7, 8]] = 1  # pattern 4, weaker
    score[1, 1, [0, 1, 3, 4]] = 3  # pattern 3
    score = score.view(2, 2, 3, 3)
    assert best_pattern(score).tolist() == [[0, 7], [4, 3]]
    mask = first_mask(Pattern(), score, 2).view(2, 2, 9)
    kept = [[mask[out, channel].nonzero().flatten().tolist() for channel in range(2)] for out in range(2)]
    assert kept == [[[4, 5, 7, 8], []], [[], [0, 1, 3, 4]]]


@pytest.mark.parametrize("scheme", [Irregular(), Block(), Block(3), Pattern(), Channel()], ids=str)
@pytest.mark.parametrize("shape", [(12, 5, 3, 3), (24, 16, 3, 3)])
def test_masks_consist_of_whole_units(scheme: Irregular, shape: tuple[int, ...]) -> None:
    """Every count gives exactly so many units, each with all of its weights, and `alive` finds them."""
    score = torch.rand(shape, generator=torch.Generator().manual_seed(3))
    for count in (1, 2, scheme.units(shape) // 2, scheme.units(shape)):
        mask = first_mask(scheme, score, count)
        assert int(scheme.alive(mask).sum()) == count
        assert int(mask.sum()) == count * scheme.unit_weights(shape)
        inside = mask & scheme.expand(scheme.alive(mask), shape)
        assert torch.equal(inside, mask)


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ("irregular", Irregular()),
        ("block", Block(4)),
        ("block:8", Block(8)),
        ("free_block_prune_column_4", Block(4)),
        ("free_block_prune_column_16", Block(16)),
        ("pattern", Pattern()),
        ("pattern+filter_balance", Pattern()),
        ("channel", Channel()),
        ("mest.sparse.schemes.channel:Channel", Channel()),
    ],
)
def test_spellings(text: str, scheme: Irregular) -> None:
    """Our names, the published ones, and a class by its import path; what is printed reads back."""
    assert parse_scheme(text) == scheme
    assert parse_scheme(str(scheme)) == scheme


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("blocks", "did you mean 'block'"),
        ("block:0", "height must be a whole number from 1"),
        ("block:x", "height must be a whole number from 1"),
        ("channel:3", "takes no argument"),
        ("no.such:Thing", "no module no.such, neither in"),
        ("torch.nn:ReLU", "not a mest.sparse.Scheme"),
    ],
)
def test_unknown_spellings_say_what_is_known(text: str, message: str) -> None:
    """One line with what would have worked."""
    with pytest.raises(InputError, match=message):
        parse_scheme(text)


@pytest.mark.parametrize(
    ("scheme", "shape", "groups", "message"),
    [
        (Block(), (10, 4, 3, 3), 1, "10 output channels do not divide into blocks of 4; use scheme irregular"),
        (Block(), (12, 4, 3, 3), 2, "6 output channels of each of 2 groups do not divide"),
        (Block(), (32, 1, 3, 3), 32, "depthwise"),
        (Pattern(), (8, 8, 1, 1), 1, "3×3 kernels and it has 1×1"),
        (Pattern(), (8, 8), 1, "no kernels"),
        (Pattern(), (8, 1, 3, 3), 8, "depthwise"),
        (Channel(), (8, 4, 3, 3), 2, "2 groups read different channels"),
    ],
)
def test_layers_a_scheme_cannot_take(scheme: Irregular, shape: tuple[int, ...], groups: int, message: str) -> None:
    """The reason and what to use instead."""
    assert message in str(scheme.problem(shape, groups))


def test_layers_that_schemes_take() -> None:
    """Irregular takes anything; blocks of one row any channel count."""
    assert Irregular().problem((7, 1, 5, 5), 7) is None
    assert Block(1).problem((7, 3)) is None
    assert Block().problem((8, 4, 3, 3), 2) is None


def test_index_bytes_follow_the_formats() -> None:
    """As docs/network-format.md defines CSR, blocks, patterns and channels."""
    shape = (32, 64, 3, 3)
    assert Irregular().index_bytes(shape, 100) == 33 * 4 + 100 * 2
    assert Irregular().index_bytes((8, 256), 10) == 9 * 4 + 10
    assert Block().index_bytes(shape, 100) == 9 * 4 + 100 * 2
    assert Pattern().index_bytes(shape, 100) == 33 * 4 + 100 * 2
    assert Channel().index_bytes(shape, 6) == 12


def test_schemes_are_values() -> None:
    """Equal by content, hashable, frozen."""
    assert Block(4) == Block()
    assert len({Block(4), Block(), Block(8)}) == 2
    with pytest.raises(FrozenInstanceError):
        Block().height = 2  # type: ignore[misc]
