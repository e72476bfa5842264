"""The memory that a program names: each piece has a number, a place and a size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.engines.native.slots import Slot
from edge.libmest import program as structs
from edge.libmest import vocabulary


class Operands:
    """Slots of the arena and arrays outside it as operands; the same piece has the same number. 0 is none."""

    def __init__(self, slots: Sequence[Slot], offsets: Sequence[int]) -> None:
        self._places = {
            slot: (vocabulary.ARENA, offset, slot.nbytes, slot.storage)
            for slot, offset in zip(slots, offsets, strict=True)
        }
        self._numbers: dict[tuple[int, int, int, int, bool], int] = {}  # by segment, offset, bytes, storage and use
        self.held: list[np.ndarray] = []  # the arrays that operands lie in

    def slot(self, slot: Slot | None) -> int:
        """The number of a slot of the arena."""
        return 0 if slot is None else self._number(self._places[slot])

    def parts(self, slot: Slot, count: int) -> tuple[int, ...]:
        """The numbers of the equal parts that a slot consists of."""
        segment, offset, nbytes, storage = self._places[slot]
        part = nbytes // count
        return tuple(self._number((segment, offset + part * place, part, storage)) for place in range(count))

    def array(self, array: np.ndarray, writable: bool = True) -> int:
        """The number of an array, which is held from now on; 0 for an empty one. Lists of indices are only read."""
        if not array.size:
            return 0
        known = len(self._numbers)
        number = self._number((vocabulary.HERE, int(array.ctypes.data), array.nbytes, vocabulary.FLOAT32), writable)
        if number > known:
            self.held.append(array)
        return number

    def made(self) -> list[structs.Operand]:
        """The table: operand n is row n - 1."""
        return [
            structs.Operand(offset, nbytes, segment, writable, storage)
            for (segment, offset, nbytes, storage, writable) in self._numbers
        ]

    def _number(self, place: tuple[int, int, int, int], writable: bool = True) -> int:
        return self._numbers.setdefault((*place, writable), len(self._numbers) + 1)
