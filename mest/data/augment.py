"""Random crops and mirror images, decided for each sample by seed, epoch and index alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mest.errors import InputError


@dataclass(frozen=True)
class Augment:
    """A shift of up to `padding` pixels (the border is black) and, if `flip`, a mirror image every other time."""

    padding: int = 0
    flip: bool = False

    @staticmethod
    def parse(text: str, shape: tuple[int, ...], flip: bool) -> Augment:
        """Return what `auto`, `none`, `crop`, `flip` or `crop-flip` means for images of shape (c, h, w).

        The padding is an eighth of the shorter side, 4 for 32 pixels as published; `flip` says what `auto` does.
        """
        padding = min(shape[1:]) // 8
        choices = {
            "auto": Augment(padding, flip),
            "none": Augment(),
            "crop": Augment(padding),
            "flip": Augment(0, True),
            "crop-flip": Augment(padding, True),
        }
        if text not in choices:
            raise InputError(f"--augment {text}: allowed are {', '.join(choices)}")
        return choices[text]

    def draws(self, count: int, seed: int, epoch: int) -> npt.NDArray[np.int16]:
        """Return `(count, 3)`: for each sample of the epoch its shift down, shift right and whether it is mirrored."""
        generator = np.random.default_rng([seed, epoch, 0xA06])
        high = [2 * self.padding + 1, 2 * self.padding + 1, 2 if self.flip else 1]
        return generator.integers(0, high, (count, 3), dtype=np.int16)

    def apply(
        self, pixels: npt.NDArray[np.uint8], draws: npt.NDArray[np.int16], border: int = 0
    ) -> npt.NDArray[np.uint8]:
        """Return the shifted and mirrored images of `(k, h, w, c)`, one row of `draws` each; `border` enters."""
        _, height, width, _ = pixels.shape
        pad = self.padding
        sides = ((0, 0), (pad, pad), (pad, pad), (0, 0))
        padded = np.pad(pixels, sides, constant_values=border) if pad else pixels
        out = np.empty_like(pixels)
        for row, (down, right, mirrored) in enumerate(draws):
            crop = padded[row, down : down + height, right : right + width]
            out[row] = crop[:, ::-1] if mirrored else crop
        return out
