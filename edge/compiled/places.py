"""Where the memory of an engine lies once it is compiled: addresses of this process become offsets in two blocks."""

from __future__ import annotations

import ctypes
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edge.libmest.program import Operand
from edge.libmest.vocabulary import HERE, LISTS, TENSORS

ALIGNMENT = 64


@dataclass(frozen=True)
class _Region:
    address: int
    nbytes: int
    segment: int

    def content(self) -> bytes:
        return ctypes.string_at(self.address, self.nbytes)


class Places:
    """The memory that programs name by its address, in two blocks: what steps write, and the lists that they only read.

    Nothing here knows what the memory is for. `tensors` and `lists` are what the blocks hold now; the first without
    what is zero at its end, of `tensors_bytes` in all. The engine must live as long as this is made.
    """

    def __init__(self, operands: Iterable[Operand], mutated: Sequence[np.ndarray] = ()) -> None:
        """`operands` are those of all programs of an engine, `mutated` the lists that change between steps.

        These lie in front of the other lists, in their order, and take `mutated_bytes`.
        """
        first = {array.ctypes.data: place for place, array in enumerate(mutated) if array.size}
        spans = {
            (one.offset, one.nbytes, TENSORS if one.writable else LISTS) for one in operands if one.segment == HERE
        }
        spans |= {(array.ctypes.data, array.nbytes, LISTS) for array in mutated if array.size}
        regions = _united(sorted(spans))
        # What begins as zeros needs no room in a file, so it lies behind the rest.
        last = len(first)
        ordered = sorted(regions, key=lambda one: (first.get(one.address, last), one.content() == bytes(one.nbytes)))
        self._offsets: dict[int, int] = {}
        self.mutated_bytes = 0
        blocks = {TENSORS: bytearray(), LISTS: bytearray()}
        for region in ordered:
            block = blocks[region.segment]
            self._offsets[region.address] = len(block)
            block += region.content().ljust(region.nbytes + -region.nbytes % ALIGNMENT, b"\0")
            if region.address in first:
                self.mutated_bytes = len(block)
        self._regions = sorted(regions, key=lambda one: one.address)
        self._addresses = [one.address for one in self._regions]
        self.tensors_bytes = len(blocks[TENSORS])
        self.tensors, self.lists = bytes(blocks[TENSORS].rstrip(b"\0")), bytes(blocks[LISTS])

    def find(self, address: int, nbytes: int) -> tuple[int, int] | None:
        """Segment and offset of some memory; None where no program names it."""
        number = bisect_right(self._addresses, address) - 1
        if number < 0:
            return None
        region = self._regions[number]
        within = address - region.address
        if within + nbytes > region.nbytes:
            return None
        return region.segment, self._offsets[region.address] + within

    def moved(self, operand: Operand) -> Operand:
        """The same piece of memory by its place in a block."""
        if operand.segment != HERE:
            return operand
        found = self.find(operand.offset, operand.nbytes)
        assert found is not None
        segment, offset = found
        return Operand(offset, operand.nbytes, segment, operand.writable)


def _united(spans: Iterable[tuple[int, int, int]]) -> list[_Region]:
    """Regions without overlap, of spans `(address, bytes, segment)` that ascend."""
    found: list[_Region] = []
    for address, nbytes, segment in spans:
        last = found[-1] if found else None
        if last is None or address >= last.address + last.nbytes:
            found.append(_Region(address, nbytes, segment))
            continue
        if segment != last.segment:
            raise ValueError("memory is both written and read as a list")  # an error of ours: no network asks for it
        end = max(address + nbytes, last.address + last.nbytes)
        found[-1] = _Region(last.address, end - last.address, segment)
    return found
