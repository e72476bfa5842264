"""What a mask consists of, scheme by scheme: which bits say it whole, and which units pruning chooses from."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from edge.weight.formats import PATTERNS
from edge.weight.parameter import Parameter
from edge.weight.units import best, best_by_row, unit_grid


class Units:
    """Irregular: every weight is a unit and a bit. Masks are flat bool in the dense order, True is kept."""

    def bits(self, parameter: Parameter) -> int:
        """Number of bits that say the mask."""
        return parameter.size

    def to_bits(self, parameter: Parameter, mask: np.ndarray) -> np.ndarray:
        """The bits, bool, of a mask `(size,)`."""
        return mask

    def to_mask(self, parameter: Parameter, bits: np.ndarray) -> np.ndarray:
        """The mask `(size,)` of bits."""
        return bits

    def fits(self, parameter: Parameter, mask: np.ndarray) -> bool:
        """True if the mask consists of whole units."""
        return bool((self.to_mask(parameter, self.to_bits(parameter, mask)) == mask).all())

    def strongest(self, parameter: Parameter, values: np.ndarray, held: np.ndarray, count: int) -> np.ndarray:
        """The mask of the `count` units with the largest L2 norm, of those that `held` has weights of.

        `values` `(size,)` are zero where `held` `(size,)`, which may be larger than a mask, is False. Ties go to the
        lower index; all units stay where there are fewer.
        """
        bits = self.to_bits(parameter, held)
        place = np.flatnonzero(bits)
        chosen = np.zeros(bits.size, bool)
        chosen[place[best(self._squares(parameter, values)[place], count)]] = True
        return self.to_mask(parameter, chosen)

    def _squares(self, parameter: Parameter, values: np.ndarray) -> np.ndarray:
        """The sum of squares of every unit, kept or not."""
        return values.astype(np.float64) ** 2


class Blocks(Units):
    """`height` rows × 1 column: a bit each."""

    def bits(self, parameter: Parameter) -> int:
        """As many as blocks."""
        return parameter.size // (parameter.height or 1)

    def to_bits(self, parameter: Parameter, mask: np.ndarray) -> np.ndarray:
        """True for every block with a weight that is kept."""
        return self._blocks(parameter, mask).any(axis=1).reshape(-1)

    def to_mask(self, parameter: Parameter, bits: np.ndarray) -> np.ndarray:
        """All weights of the blocks."""
        rows = bits.reshape(-1, 1, parameter.columns)
        return np.repeat(rows, parameter.height or 1, axis=1).reshape(-1)

    def _squares(self, parameter: Parameter, values: np.ndarray) -> np.ndarray:
        return (self._blocks(parameter, values).astype(np.float64) ** 2).sum(axis=1).reshape(-1)

    def _blocks(self, parameter: Parameter, array: np.ndarray) -> np.ndarray:
        return array.reshape(-1, parameter.height or 1, parameter.columns)


class Channels(Units):
    """All weights that read an input channel: a bit each."""

    def bits(self, parameter: Parameter) -> int:
        """As many as input channels."""
        return parameter.shape[1]

    def to_bits(self, parameter: Parameter, mask: np.ndarray) -> np.ndarray:
        """True for every channel that a weight reads."""
        return np.asarray(self._channels(parameter, mask).any(axis=(0, 2)))

    def to_mask(self, parameter: Parameter, bits: np.ndarray) -> np.ndarray:
        """All weights of the channels."""
        taps = parameter.columns // parameter.shape[1]
        return np.tile(np.repeat(bits, taps), parameter.rows)

    def _squares(self, parameter: Parameter, values: np.ndarray) -> np.ndarray:
        return (self._channels(parameter, values).astype(np.float64) ** 2).sum(axis=(0, 2))

    def _channels(self, parameter: Parameter, array: np.ndarray) -> np.ndarray:
        return array.reshape(parameter.rows, parameter.shape[1], -1)


class Kernels(Units):
    """3×3 kernels with four cells in one of eight patterns: a bit for each cell, a unit is a kernel.

    Where clients keep a kernel with different patterns, the one with the largest L2 norm of the joined weights stays.
    """

    def fits(self, parameter: Parameter, mask: np.ndarray) -> bool:
        """True if every kernel is empty or one of the patterns."""
        kernels = mask.reshape(-1, 1, 9)
        known = (kernels == self._patterns()).all(axis=2).any(axis=1)
        return bool((known | ~kernels.any(axis=(1, 2))).all())

    def strongest(self, parameter: Parameter, values: np.ndarray, held: np.ndarray, count: int) -> np.ndarray:
        """The same of kernels, each with its strongest pattern, as even over the rows as `held` allows."""
        kernels = held.reshape(-1, 9)
        place = np.flatnonzero(kernels.any(axis=1))
        cells = self._patterns().astype(np.float64).T
        squares = (values.reshape(-1, 9)[place].astype(np.float64) ** 2) @ cells
        covered = kernels[place] @ cells
        among = np.where(squares == squares.max(axis=1, keepdims=True), covered, -1.0)  # equal norms: what is held
        pattern = among.argmax(axis=1)
        scores = np.take_along_axis(squares, pattern[:, None], axis=1)[:, 0]
        rows, columns = unit_grid(parameter)
        starts = np.searchsorted(place, np.arange(rows + 1) * columns)
        stays = best_by_row(scores, starts, min(count, place.size))
        mask = np.zeros(kernels.shape, bool)
        mask[place[stays]] = self._patterns()[pattern[stays]]
        return mask.reshape(-1)

    @staticmethod
    def _patterns() -> np.ndarray:
        """The masks of the eight patterns, bool `(8, 9)`."""
        masks = np.zeros((len(PATTERNS), 9), bool)
        np.put_along_axis(masks, PATTERNS.astype(np.intp), True, axis=1)
        return masks


UNITS: Mapping[str, Units] = MappingProxyType(
    {"irregular": Units(), "block": Blocks(), "channel": Channels(), "pattern": Kernels()}
)


def units_of(parameter: Parameter) -> Units:
    """The units of a sparse parameter's scheme."""
    return UNITS[parameter.scheme or ""]


def unit_scores(parameter: Parameter, magnitudes: np.ndarray) -> np.ndarray:
    """Importance of each kept unit, float32, in the order in which its format stores them.

    `magnitudes` are |w| + λ·|gradient| laid out like the stored values; units of several weights count the sum of
    their squares (MEST, section 3.2).
    """
    if parameter.format in ("csr", "masked"):
        return magnitudes.reshape(-1).astype(np.float32)
    if parameter.format == "channel":
        of_channels = magnitudes.reshape(parameter.rows, len(parameter.tensors["channels"]), -1)
        return (of_channels**2).sum(axis=(0, 2), dtype=np.float32)
    return (magnitudes.reshape(len(parameter.values), -1) ** 2).sum(axis=1, dtype=np.float32)
