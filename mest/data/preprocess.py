"""From an image, or from an array of numbers, to the network's input: the same steps in training and on the board."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from mest.data.photo import header_of, reduce_jpeg, upright
from mest.errors import DamagedError, InputError

# Pillow's numbers for them: its enumeration came with 9.1.
ARRAY = "array"  # the mode of inputs that are no images: windows of samples, vectors, spectrograms
MODES = ("RGB", "L", ARRAY)
RESAMPLING = {"nearest": 0, "bilinear": 2, "bicubic": 3}


@dataclass(frozen=True)
class Preprocess:
    """Mode, size and normalisation of the network's input.

    `resize`: the short side in pixels, an exact (height, width), or None; then `crop`: the centre (height, width).
    `mean` and `std` hold one number per channel, on the scale 0 to 1. In mode "array" they are all there is, and those
    of the numbers as they are.
    """

    mode: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int | tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    interpolation: str = "bilinear"

    def as_dict(self) -> dict[str, Any]:
        """The form that run.json and a manifest hold."""
        return {
            "mode": self.mode,
            "resize": list(self.resize) if isinstance(self.resize, tuple) else self.resize,
            "crop": list(self.crop) if self.crop else None,
            "interpolation": self.interpolation if self.takes_images else None,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @staticmethod
    def from_dict(given: Mapping[str, Any]) -> Preprocess:
        """Return the preprocessing that `as_dict` wrote; raises DamagedError if it cannot be one."""
        try:
            resize, crop = given["resize"], given["crop"]
            return Preprocess(
                mode={name: name for name in MODES}[given["mode"]],
                mean=tuple(float(x) for x in given["mean"]),
                std=tuple(float(x) for x in given["std"]),
                resize=(int(resize[0]), int(resize[1])) if isinstance(resize, list) else resize,
                crop=(int(crop[0]), int(crop[1])) if crop else None,
                interpolation={name: name for name in RESAMPLING}[given["interpolation"] or "bilinear"],
            )
        except (KeyError, TypeError, ValueError, IndexError) as wrong:
            raise DamagedError(f"preprocess: not a description of one ({wrong!r})") from wrong

    @property
    def takes_images(self) -> bool:
        """False for arrays of numbers."""
        return self.mode != ARRAY

    def leading_to(self, *sides: int) -> Preprocess:
        """The same, with a resize to the network's input where none is said: short side and centre crop of a square.

        `sides` are height and width; arrays of numbers stay as they are.
        """
        if self.resize is not None or self.crop is not None or not self.takes_images:
            return self
        height, width = sides
        if height == width:
            return replace(self, resize=height, crop=(height, width))
        return replace(self, resize=(height, width))

    def pixels(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        """Return the image upright, in our mode and size, uint8 `(h, w, c)`.

        A JPEG file that is resized to less than half is decoded at 1/2, 1/4 or 1/8 of its size, the smallest that is
        still twice as large as wanted. Raises InputError if the crop is larger than the image, ValueError for pixels
        that have no 8-bit form.
        """
        whole = header_of(image).upright
        target = self.target((whole[1], whole[0]))
        reduced = target is not None and reduce_jpeg(image, target)
        image = upright(image, self.mode)
        if not reduced:
            target = self.target(image.size)  # some formats say how they are turned only once they are decoded
        if target is not None and target != image.size:
            image = image.resize(target, RESAMPLING[self.interpolation])
        if self.crop is not None:
            height, width = self.crop
            if height > image.height or width > image.width:
                raise InputError(f"an image of {image.height}x{image.width} is smaller than the crop {height}x{width}")
            left, top = (image.width - width) // 2, (image.height - height) // 2
            image = image.crop((left, top, left + width, top + height))
        array = np.asarray(image, dtype=np.uint8)
        return array[:, :, None] if array.ndim == 2 else array

    def mask(self, mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return the mask `(h, w)` of an image as `pixels` returns that image: resized to the nearest, and cut out."""
        image = Image.fromarray(mask)
        target = self.target(image.size)
        if target is not None and target != image.size:
            image = image.resize(target, RESAMPLING["nearest"])
        if self.crop is not None:
            height, width = self.crop
            left, top = (image.width - width) // 2, (image.height - height) // 2
            image = image.crop((left, top, left + width, top + height))
        return np.asarray(image, dtype=np.uint8)

    def target(self, size: tuple[int, int]) -> tuple[int, int] | None:
        """The (width, height) that an image of (width, height) is resized to, None where it stays as it is.

        A short side keeps the aspect, the long side rounded down.
        """
        if self.resize is None:
            return None
        if isinstance(self.resize, tuple):
            return self.resize[1], self.resize[0]
        side, (width, height) = self.resize, size
        if width <= height:
            return side, max(side, side * height // width)
        return max(side, side * width // height), side

    def normalise(self, pixels: Tensor) -> Tensor:
        """Return float32 `(n, c, ...)` of uint8 pixels `(n, c, h, w)`, or of numbers, on the same device."""
        x = pixels.to(torch.float32, copy=True)
        if self.takes_images:
            x *= torch.tensor(1 / 255, dtype=torch.float32)
        shape = (1, len(self.mean), *[1] * (pixels.ndim - 2))
        x -= torch.tensor(self.mean, dtype=torch.float32, device=x.device).view(shape)
        x /= torch.tensor(self.std, dtype=torch.float32, device=x.device).view(shape)
        return x


def size_of(preprocess: Preprocess) -> tuple[int, int]:
    """Return the (height, width) that images of any size get; to be asked where there is a crop or an exact resize."""
    if preprocess.crop is not None:
        return preprocess.crop
    assert isinstance(preprocess.resize, tuple)
    return preprocess.resize


def measured(samples: npt.NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel of uint8 images `(n, h, w, c)`, to four decimals."""
    scaled = samples.reshape(-1, samples.shape[-1]).astype(np.float64) / 255
    std = np.where(scaled.std(0) > 1e-3, scaled.std(0), 1.0)
    return tuple(round(float(x), 4) for x in scaled.mean(0)), tuple(round(float(x), 4) for x in std)


def measured_numbers(samples: npt.NDArray[Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel of numbers `(n, c, ...)`, to six significant digits.

    A channel that does not vary has a deviation of 1.
    """
    others = (0, *range(2, samples.ndim))
    mean, std = samples.mean(others, dtype=np.float64), samples.std(others, dtype=np.float64)
    std = np.where(std > 1e-6 * np.abs(mean) + 1e-12, std, 1.0)
    return tuple(float(f"{x:.6g}") for x in mean), tuple(float(f"{x:.6g}") for x in std)
