"""The preprocessing that an artifact fixes: one input becomes one normalised array, bit for bit as in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.data.photo import header_of, reduce_jpeg, upright
from edge.errors import DamagedError, InputError

if TYPE_CHECKING:
    from PIL.Image import Image

_INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
_BANDS = {"RGB": 3, "L": 1}
ARRAY = "array"  # the mode of inputs that are no images: windows of samples, vectors, spectrograms


@dataclass(frozen=True)
class Preprocess:
    """Colour mode, resize, centre crop and normalisation, in this order.

    `resize` is (height, width), the length of the short side, or None. In mode "array" there is normalisation alone,
    by mean and deviation of the numbers as they are; those of images are of pixels on the scale 0 to 1.
    """

    mode: str
    resize: tuple[int, int] | int | None
    crop: tuple[int, int] | None
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Preprocess:
        """The preprocessing of a manifest; raises DamagedError naming what is wrong."""
        try:
            mode, resize, crop = str(document["mode"]), document["resize"], document["crop"]
            found = cls(
                mode=mode,
                resize=resize if resize is None or isinstance(resize, int) else (int(resize[0]), int(resize[1])),
                crop=None if crop is None else (int(crop[0]), int(crop[1])),
                interpolation="" if mode == ARRAY else str(document["interpolation"]),
                mean=tuple(float(value) for value in document["mean"]),
                std=tuple(float(value) for value in document["std"]),
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise DamagedError(f"manifest: preprocess is incomplete or of another form ({error!r})") from None
        if mode == ARRAY:
            return found._checked_array()
        bands = _BANDS.get(mode)
        if bands is None or found.interpolation not in _INTERPOLATIONS:
            raise DamagedError(
                f"manifest: preprocess mode {found.mode!r}, interpolation {found.interpolation!r}; "
                f"allowed are RGB, L or {ARRAY}, and {', '.join(_INTERPOLATIONS)}"
            )
        if len(found.mean) != bands or len(found.std) != bands or not all(value > 0 for value in found.std):
            raise DamagedError(f"manifest: preprocess mean and std need {bands} values each, std above 0")
        return found

    def _checked_array(self) -> Preprocess:
        if self.resize is not None or self.crop is not None:
            raise DamagedError("manifest: preprocess mode array has neither resize nor crop")
        if not self.mean or len(self.mean) != len(self.std) or not all(value > 0 for value in self.std):
            raise DamagedError("manifest: preprocess mean and std need as many values, one or more, std above 0")
        return self

    @property
    def takes_images(self) -> bool:
        """False for arrays of numbers."""
        return self.mode != ARRAY

    @property
    def bands(self) -> int:
        """Number of channels."""
        return len(self.mean)

    @property
    def leads_anywhere(self) -> bool:
        """False where images of another size than the network's would stay as they are."""
        return self.resize is not None or self.crop is not None or not self.takes_images

    def leading_to(self, height: int, width: int) -> Preprocess:
        """The same, with a resize to the network's input where none is said: short side and centre crop of a square."""
        if self.leads_anywhere:
            return self
        if height == width:
            return replace(self, resize=height, crop=(height, width))
        return replace(self, resize=(height, width))

    def takes_pixels(self, pixels: np.ndarray) -> bool:
        """True if uint8 pixels `(h, w, c)` need neither conversion, resize nor crop, so that no Pillow is needed."""
        height, width = pixels.shape[:2]
        unsized = self.target((width, height)) in (None, (width, height)) and self.crop in (None, (height, width))
        return pixels.shape[2] == self.bands and unsized

    def pixels(self, image: Image) -> np.ndarray:
        """The uint8 pixels `(h, w, c)` of a Pillow image: upright, in our mode, resized, its centre cut out.

        A JPEG file that is resized to less than half is decoded at 1/2, 1/4 or 1/8 of its size, the smallest that is
        still twice as large as wanted. Raises ValueError for pixels that have no 8-bit form.
        """
        whole = header_of(image).upright
        target = self.target((whole[1], whole[0]))
        reduced = target is not None and reduce_jpeg(image, target)
        image = upright(image, self.mode)
        if not reduced:
            target = self.target(image.size)  # some formats say how they are turned only once they are decoded
        if target is not None and target != image.size:
            image = image.resize(target, resample=_INTERPOLATIONS_PILLOW[self.interpolation])
        if self.crop is not None:
            height, width = self.crop
            if height > image.size[1] or width > image.size[0]:
                raise InputError(
                    f"an image of {image.size[1]}x{image.size[0]} is smaller than the artifact's crop {height}x{width}"
                )
            left, top = (image.size[0] - width) // 2, (image.size[1] - height) // 2
            image = image.crop((left, top, left + width, top + height))
        array = np.asarray(image)
        return array[:, :, None] if array.ndim == 2 else array

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """The mask uint8 `(h, w)` of an image, prepared as `pixels` prepares that image, by the nearest pixel."""
        if self.target(mask.shape[::-1]) in (None, mask.shape[::-1]) and self.crop in (None, mask.shape):
            return mask
        from PIL import Image

        image = Image.fromarray(mask)
        target = self.target(image.size)
        if target is not None and target != image.size:
            image = image.resize(target, resample=_INTERPOLATIONS_PILLOW["nearest"])
        if self.crop is not None:
            height, width = self.crop
            left, top = (image.size[0] - width) // 2, (image.size[1] - height) // 2
            image = image.crop((left, top, left + width, top + height))
        return np.asarray(image)

    def target(self, size: tuple[int, int]) -> tuple[int, int] | None:
        """The (width, height) that an image of (width, height) is resized to, None where it stays as it is."""
        if self.resize is None:
            return None
        if isinstance(self.resize, tuple):
            return self.resize[1], self.resize[0]
        width, height = size
        if width <= height:
            return self.resize, max(self.resize, self.resize * height // width)
        return max(self.resize, self.resize * width // height), self.resize

    def normalise(self, pixels: np.ndarray, out: np.ndarray) -> None:
        """Write uint8 pixels, or numbers of an array, `(h, w, c)` as normalised float32 `(c, h, w)` into `out`."""
        out[...] = pixels.transpose(2, 0, 1)
        if self.takes_images:
            out *= np.float32(1 / 255)
        out -= np.asarray(self.mean, np.float32)[:, None, None]
        out /= np.asarray(self.std, np.float32)[:, None, None]


_INTERPOLATIONS_PILLOW = {"nearest": 0, "bilinear": 2, "bicubic": 3}  # the values of PIL.Image.Resampling
