"""From an image to the network's input, in training and on the board."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="one of the twins is training, which needs PyTorch")
Image = pytest.importorskip("PIL.Image", reason="images are Pillow's, which is not installed")

from edge.data.preprocess import Preprocess as OnBoard  # noqa: E402
from edge.errors import InputError as BoardError  # noqa: E402
from mest.data import Preprocess  # noqa: E402
from mest.errors import InputError  # noqa: E402

SIZES = st.integers(1, 40)
SHARES = st.floats(0.001, 1.0)


@st.composite
def preprocesses(draw: st.DrawFn) -> Preprocess:
    """Anything that training may fix."""
    mode = draw(st.sampled_from(["RGB", "L"]))
    bands = 3 if mode == "RGB" else 1
    vector = st.lists(SHARES, min_size=bands, max_size=bands).map(tuple)
    return Preprocess(
        mode,
        draw(vector),
        draw(vector),
        draw(st.none() | SIZES | st.tuples(SIZES, SIZES)),
        draw(st.none() | st.tuples(SIZES, SIZES)),
        draw(st.sampled_from(["nearest", "bilinear", "bicubic"])),
    )


def outcome(preprocess: Any, image: Any) -> np.ndarray | None:
    """The pixels, or None where the crop is larger than the image."""
    try:
        return preprocess.pixels(image)
    except (InputError, BoardError):
        return None


@given(
    chosen=preprocesses(),
    size=st.tuples(SIZES, SIZES),
    mode=st.sampled_from(["RGB", "L", "RGBA", "P"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_both_make_the_same_input_of_an_image_random(
    chosen: Preprocess, size: tuple[int, int], mode: str, seed: int
) -> None:
    """Bit for bit: target, pixels, numbers; or both refuse."""
    board = OnBoard.from_json(json.loads(json.dumps(chosen.as_dict())))
    assert board.target(size) == chosen.target(size)
    assert board.leading_to(*size).target((9, 7)) == chosen.leading_to(*size).target((9, 7))
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    ours, theirs = outcome(board, image.copy()), outcome(chosen, image.copy())
    assert (ours is None) == (theirs is None)
    if ours is None or theirs is None:
        return
    np.testing.assert_array_equal(ours, theirs)
    found = np.zeros((ours.shape[2], *ours.shape[:2]), np.float32)
    board.normalise(ours, found)
    wanted = chosen.normalise(torch.from_numpy(theirs.transpose(2, 0, 1).copy())[None])[0]
    np.testing.assert_array_equal(found, wanted.numpy())
