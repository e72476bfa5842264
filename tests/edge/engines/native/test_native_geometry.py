"""How a batch is grouped and a convolution cut."""

from __future__ import annotations

import pytest

from edge.engines.native.geometry import Window, cut_work, sample_groups
from edge.libmest.vocabulary import CHUNK_FLOATS, CSR, DENSE, SLACK_FLOATS


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


@pytest.mark.parametrize("samples", [1, 8, 16])
@pytest.mark.parametrize("image", [(65, 1), (7, 7), (16, 16), (4, 12)])
def test_positions_of_a_pointwise_layer_lie_in_rows_of_many_vectors(image: tuple[int, int], samples: int) -> None:
    """Whatever the image's own width, as a token's is 1; as many positions as there are, and no row is left out."""
    window = Window(input=(32, *image), output=(48, *image))
    cut = cut_work(window, 32, CSR, 1, 300, 1, samples, 2, True)
    height, width = cut.window.output[1:]
    assert cut.window.input[1:] == (height, width)
    assert height * width == image[0] * image[1]
    assert width * samples >= min(64, height * width * samples)
    assert cut.tiles == -(-height // cut.tile_rows)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (1, 2, 0), (1, 1, 1)])
def test_other_layers_keep_their_rows(kernel: int, stride: int, padding: int) -> None:
    """A window that reaches further, steps or is padded reads rows as the image has them."""
    side = (9 + 2 * padding - kernel) // stride + 1
    window = Window((kernel,) * 2, (stride,) * 2, padding=(padding,) * 2, input=(4, 9, 9), output=(4, side, side))
    assert cut_work(window, 4, DENSE, 1, 0, 1, 4, 1, True).window == window
