"""The digits as a new sensor would see them: turned, paler, blurred and noisy, the same for every run of a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Sensor:
    """How a sensor differs from the one the network was trained with.

    `turn_degrees` is anticlockwise about the centre; `blur` is the share of light that falls on the four neighbours;
    brightness becomes `gain` · x + `offset` on the scale 0 to 255; `noise` is the standard deviation added to that.
    """

    turn_degrees: float = 20.0
    blur: float = 0.1
    gain: float = 0.85
    offset: float = 10.0
    noise: float = 10.0

    def see(self, images: Images, seed: int) -> Images:
        """Return images uint8 `(n, h, w)` as this sensor sees them."""
        light = blurred(turned(images.astype(np.float32), self.turn_degrees), self.blur)
        noise = np.random.default_rng([seed, 0x5E4]).normal(0.0, self.noise, light.shape)
        return np.clip(np.rint(self.gain * light + self.offset + noise), 0, 255).astype(np.uint8)

    def describe(self) -> str:
        """The differences in one clause."""
        return (
            f"turned by {self.turn_degrees:g}°, {100 * self.blur:.0f} % of the light blurred, "
            f"contrast cut to {100 * self.gain:.0f} %, brightness raised by {self.offset / 2.55:.0f} %, "
            f"noise of {self.noise / 2.55:.0f} %"
        )


def turned(images: npt.NDArray[np.float32], degrees: float) -> npt.NDArray[np.float32]:
    """Return `(n, h, w)` turned anticlockwise about the centre, read between pixels, dark outside the image."""
    height, width = images.shape[1:]
    angle = np.deg2rad(degrees)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    y, x = rows - (height - 1) / 2, columns - (width - 1) / 2
    source_y = np.cos(angle) * y + np.sin(angle) * x + (height - 1) / 2
    source_x = np.cos(angle) * x - np.sin(angle) * y + (width - 1) / 2
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    source_y, source_x = np.clip(source_y + 1, 0, height + 1), np.clip(source_x + 1, 0, width + 1)
    top, left = np.minimum(source_y.astype(int), height), np.minimum(source_x.astype(int), width)
    down, right = (source_y - top)[None], (source_x - left)[None]
    upper = padded[:, top, left] * (1 - right) + padded[:, top, left + 1] * right
    lower = padded[:, top + 1, left] * (1 - right) + padded[:, top + 1, left + 1] * right
    return (upper * (1 - down) + lower * down).astype(np.float32)


def blurred(images: npt.NDArray[np.float32], share: float) -> npt.NDArray[np.float32]:
    """Return `(n, h, w)` with `share` of every pixel's light spread evenly over its four neighbours."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), mode="edge")
    around = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
    return ((1 - share) * images + share * around / 4).astype(np.float32)
