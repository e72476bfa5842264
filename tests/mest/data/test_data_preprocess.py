"""From an image to the network's input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from mest.data import Preprocess
from mest.data.preprocess import measured
from mest.errors import DamagedError, InputError

GREY = Preprocess("L", (0.5,), (0.25,))


def test_normalisation_is_float32_arithmetic_in_the_agreed_order() -> None:
    """x·(1/255), minus mean, over std, each rounded to float32: the same bits as numpy gives."""
    pixels = np.arange(48, dtype=np.uint8).reshape(1, 3, 4, 4) * 5
    plan = Preprocess("RGB", (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    expected = pixels.astype(np.float32)
    expected *= np.float32(1 / 255)
    expected -= np.array(plan.mean, np.float32)[None, :, None, None]
    expected /= np.array(plan.std, np.float32)[None, :, None, None]
    assert np.array_equal(plan.normalise(torch.from_numpy(pixels)).numpy(), expected)


@pytest.mark.parametrize(
    ("size", "resize", "crop", "result"),
    [((40, 20), 10, None, (10, 20)), ((20, 41), 10, (10, 10), (10, 10)), ((9, 9), (4, 6), None, (4, 6))],
)
def test_short_side_then_centre_crop(size, resize, crop, result) -> None:
    """A number is the short side, the long one rounds down; a pair is (height, width)."""
    plan = Preprocess("L", (0.0,), (1.0,), resize, crop)
    assert plan.pixels(Image.new("RGB", size)).shape == (*result, 1)


def test_centre_crop_by_eye() -> None:
    """Of five columns the middle three, of four rows the middle two."""
    image = Image.fromarray(np.arange(20, dtype=np.uint8).reshape(4, 5))
    plan = Preprocess("L", (0.0,), (1.0,), crop=(2, 3))
    assert plan.pixels(image)[:, :, 0].tolist() == [[6, 7, 8], [11, 12, 13]]
    with pytest.raises(InputError, match="4x5 is smaller than the crop 6x6"):
        Preprocess("L", (0.0,), (1.0,), crop=(6, 6)).pixels(image)


@pytest.mark.parametrize("plan", [GREY, Preprocess("RGB", (0.1,) * 3, (0.2,) * 3, (7, 8), (5, 5), "nearest")])
def test_dictionary_round_trip(plan: Preprocess) -> None:
    """What run.json holds gives the same preprocessing back."""
    assert Preprocess.from_dict(plan.as_dict()) == plan


def test_a_damaged_description_is_refused() -> None:
    """Missing keys and unknown modes are damage, not a crash."""
    for change in ({"mode": "CMYK"}, {"mean": None}, {"interpolation": "lanczos"}):
        with pytest.raises(DamagedError, match="preprocess"):
            Preprocess.from_dict({**GREY.as_dict(), **change})


def test_constant_channels_do_not_divide_by_zero() -> None:
    """A channel without spread is normalised by 1."""
    samples = np.zeros((2, 2, 2, 2), np.uint8)
    samples[..., 1] = [[0, 255], [255, 0]]
    assert measured(samples) == ((0.0, 0.5), (1.0, 0.5))


def test_board_and_workstation_preprocess_alike() -> None:
    """The board's own implementation gives the same bits, for odd sizes and both modes."""
    from edge.data.preprocess import Preprocess as BoardPreprocess

    generator = np.random.default_rng(0)
    for mode, bands in (("RGB", 3), ("L", 1)):
        for resize, crop in ((None, None), (11, (9, 10)), ((13, 8), (8, 8))):
            plan = Preprocess(mode, (0.4,) * bands, (0.3,) * bands, resize, crop)
            image = Image.fromarray(generator.integers(0, 256, (17, 23, 3), dtype=np.uint8))
            pixels = plan.pixels(image)
            board = BoardPreprocess.from_json(plan.as_dict())
            assert np.array_equal(pixels, board.pixels(image))
            out = np.empty((bands, *pixels.shape[:2]), np.float32)
            board.normalise(pixels, out)
            ours = plan.normalise(torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()))[0].numpy()
            assert np.array_equal(ours, out)
