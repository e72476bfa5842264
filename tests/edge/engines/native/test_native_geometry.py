"""How a batch is grouped and a convolution cut."""

from __future__ import annotations

import pytest

from edge.engines.native.geometry import Window, cut_work, sample_groups
from edge.libmest.vocabulary import CHUNK_FLOATS, DENSE, SLACK_FLOATS


@pytest.mark.parametrize(
    ("batch", "cut"),
    [(1, (1, 1)), (4, (1, 4)), (16, (1, 16)), (17, (1, 17)), (32, (2, 16)), (48, (3, 16))],
)
def test_a_batch_is_cut_into_the_fewest_groups_of_at_most_sixteen(batch: int, cut: tuple[int, int]) -> None:
    """Or left whole where it has no divisor between four and sixteen."""
    assert sample_groups(batch) == cut


def test_the_scratch_of_a_single_cell_by_hand() -> None:
    """A linear layer of 3 inputs and 2 rows for 4 samples: panel, slack, a chunk a row, a table; whole cache lines."""
    window = Window(input=(3, 1, 1), output=(2, 1, 1))
    cut = cut_work(window, 3, DENSE, 1, 0, 1, 4, 1, False)
    assert (cut.tile_rows, cut.tiles, cut.parts, cut.plane_w, cut.x_rows) == (1, 1, 1, 1, 1)
    floats = 3 * 4 + SLACK_FLOATS + 2 * CHUNK_FLOATS + 3
    assert cut.scratch_floats == floats + -floats % 16


def test_rows_share_the_padding_between_them() -> None:
    """3x3 with padding 1 over 8 columns: a panel's row is 9 columns, not 10."""
    window = Window(kernel=(3, 3), padding=(1, 1), input=(4, 8, 8), output=(4, 8, 8))
    cut = cut_work(window, 4, DENSE, 1, 0, 1, 4, 1, True)
    assert cut.plane_w == 9
    assert cut.tiles == -(-8 // cut.tile_rows)
    assert cut.x_rows == cut.tile_rows + 2
