"""From an image to the network's input: the same few steps in training, on the board and in every file between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from mest.errors import DamagedError, InputError

# Pillow's numbers for them: its enumeration came with 9.1.
RESAMPLING = {"nearest": 0, "bilinear": 2, "bicubic": 3}


@dataclass(frozen=True)
class Preprocess:
    """Mode, size and normalisation of the network's input.

    `resize`: the short side in pixels, an exact (height, width), or None; then `crop`: the centre (height, width).
    `mean` and `std` hold one number per channel, on the scale 0 to 1.
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
            "interpolation": self.interpolation,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @staticmethod
    def from_dict(given: Mapping[str, Any]) -> Preprocess:
        """Return the preprocessing that `as_dict` wrote; raises DamagedError if it cannot be one."""
        try:
            resize, crop = given["resize"], given["crop"]
            return Preprocess(
                mode={"RGB": "RGB", "L": "L"}[given["mode"]],
                mean=tuple(float(x) for x in given["mean"]),
                std=tuple(float(x) for x in given["std"]),
                resize=(int(resize[0]), int(resize[1])) if isinstance(resize, list) else resize,
                crop=(int(crop[0]), int(crop[1])) if crop else None,
                interpolation={name: name for name in RESAMPLING}[given["interpolation"]],
            )
        except (KeyError, TypeError, ValueError, IndexError) as wrong:
            raise DamagedError(f"preprocess: not a description of one ({wrong!r})") from wrong

    def pixels(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        """Return the image in our mode and size, uint8 `(h, w, c)`; raises InputError if the crop is larger than it."""
        image = image.convert(self.mode)
        if self.resize is not None:
            image = image.resize(self._resized(image.width, image.height), RESAMPLING[self.interpolation])
        if self.crop is not None:
            height, width = self.crop
            if height > image.height or width > image.width:
                raise InputError(f"an image of {image.height}x{image.width} is smaller than the crop {height}x{width}")
            left, top = (image.width - width) // 2, (image.height - height) // 2
            image = image.crop((left, top, left + width, top + height))
        array = np.asarray(image, dtype=np.uint8)
        return array[:, :, None] if array.ndim == 2 else array

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        """The (width, height) to resize to; a short side keeps the aspect, the long side rounded down."""
        if isinstance(self.resize, tuple):
            return self.resize[1], self.resize[0]
        side = int(self.resize or 0)
        if width <= height:
            return side, max(side, side * height // width)
        return max(side, side * width // height), side

    def normalise(self, pixels: Tensor) -> Tensor:
        """Return float32 `(n, c, h, w)` of uint8 `(n, c, h, w)`, on the same device."""
        x = pixels.to(torch.float32)
        x *= torch.tensor(1 / 255, dtype=torch.float32)
        shape = (1, len(self.mean), 1, 1)
        x -= torch.tensor(self.mean, dtype=torch.float32, device=x.device).view(shape)
        x /= torch.tensor(self.std, dtype=torch.float32, device=x.device).view(shape)
        return x


def measured(samples: npt.NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel of uint8 images `(n, h, w, c)`, to four decimals."""
    scaled = samples.reshape(-1, samples.shape[-1]).astype(np.float64) / 255
    std = np.where(scaled.std(0) > 1e-3, scaled.std(0), 1.0)
    return tuple(round(float(x), 4) for x in scaled.mean(0)), tuple(round(float(x), 4) for x in std)
