"""Where the numbers of an ONNX value lie in a value of the native network, (channels, rows, columns).

Transposes, reshapes and slices between layers seldom compute anything: (n, c, h, w) → (n, h, w, c) or (n, h · w, c)
and back, features cut into heads, one of three parts picked. A `Layout` follows them. Each axis of the ONNX value is a
row of atoms, as NumPy's strides are: of the images, of the channels ("features") or of the positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

IMAGES, FEATURES, POSITIONS = "images", "features", "positions"
QUERIES, KEYS = "queries", "keys"  # positions of a window, where scores are between them
Size = int | None  # None: as many as there are images


@dataclass(frozen=True)
class Atom:
    """A stretch of one axis: `size` numbers, each `stride` channels or positions of the source from the next."""

    kind: str
    size: Size
    stride: int = 1


Axis = tuple[Atom, ...]
BATCH: Axis = (Atom(IMAGES, None),)


class LayoutError(ValueError):
    """Numbers are arranged in a way that is no value of the native network."""


@dataclass(frozen=True)
class Layout:
    """An ONNX value as a part of a native one, `source`, times `factor`.

    `first` says from which channel and which position on its numbers lie. With `order` its positions are counted in
    that list of the source's, as behind a cyclic shift.
    """

    source: str
    axes: tuple[Axis, ...]
    first: tuple[int, int] = (0, 0)
    factor: float = 1.0
    order: tuple[int, ...] | None = None

    def atoms(self, kind: str) -> list[Atom]:
        """All of a kind, in the order of the axes."""
        return [atom for axis in self.axes for atom in axis if atom.kind == kind]

    def count(self, kind: str) -> int:
        """How many channels or positions it has."""
        return prod(atom.size or 1 for atom in self.atoms(kind))

    def places(self, kind: str) -> np.ndarray:
        """Which channels or positions of the source, in the order of the axes."""
        found = np.array([self.first[kind == POSITIONS]])
        for atom in self.atoms(kind):
            found = (found[:, None] + np.arange(atom.size or 1) * atom.stride).reshape(-1)
        return np.array(self.order)[found] if kind == POSITIONS and self.order is not None else found

    def axes_of(self, kind: str) -> list[int]:
        """The axes that have atoms of a kind."""
        return [number for number, axis in enumerate(self.axes) if any(atom.kind == kind for atom in axis)]

    def all_of(self, number: int, kind: str) -> bool:
        """True if an axis is all that the value has of a kind, and nothing else."""
        axis = self.axes[number]
        return all(atom.kind == kind for atom in axis) and self.axes_of(kind) in ([number], [])

    @property
    def batch_first(self) -> bool:
        """True if the first axis is the images, as everywhere in a native network."""
        return bool(self.axes) and self.axes[0] == BATCH

    def over(self, source: str) -> Layout:
        """The same axes over a source that has these numbers alone, in their order."""
        axes = [list(axis) for axis in self.axes]
        for kind in (FEATURES, POSITIONS):
            stride = 1
            for axis in reversed(axes):
                for place, atom in reversed(list(enumerate(axis))):
                    if atom.kind == kind:
                        axis[place] = replace(atom, stride=stride)
                        stride *= atom.size or 1
        return Layout(source, tuple(merged(axis) for axis in axes))

    def positions(self) -> np.ndarray:
        """Which positions of the source, with a dimension for each axis."""
        return self.places(POSITIONS).reshape(
            [prod(atom.size or 1 for atom in axis if atom.kind == POSITIONS) for axis in self.axes]
        )

    def reordered(self, positions: np.ndarray) -> Layout:
        """The same features of the listed positions, an array with a dimension for each axis; raises LayoutError."""
        axes = list(self.axes)
        for number, count in enumerate(positions.shape):
            kinds = {atom.kind for atom in axes[number]} | ({POSITIONS} if count > 1 else set())
            if kinds == {POSITIONS}:
                axes[number] = merged([Atom(POSITIONS, count, prod(positions.shape[number + 1 :]))])
            elif POSITIONS in kinds:
                raise LayoutError("positions share an axis with something else")
        order = tuple(int(place) for place in positions.reshape(-1))
        return replace(self, axes=tuple(axes), first=(self.first[0], 0), order=order)

    def transposed(self, order: Sequence[int]) -> Layout:
        """The axes in another order."""
        return replace(self, axes=tuple(self.axes[number] for number in order))

    def regrouped(self, sizes: Sequence[Size]) -> Layout:
        """The same numbers with axes of other sizes, of which one may be unknown; raises LayoutError."""
        atoms = [atom for axis in self.axes for atom in axis]
        unknown = [number for number, size in enumerate(sizes) if size is None]
        if len(unknown) > 1:
            raise LayoutError("two of its dimensions are not fixed")
        middle = unknown[0] if unknown else len(sizes)
        left = [_from_left(atoms, size or 1) for size in sizes[:middle]]
        right = [_from_right(atoms, size or 1) for size in reversed(sizes[middle + 1 :])]
        rest = [merged(atoms)] if unknown else []
        if atoms and not unknown:
            raise LayoutError("its shape does not fit")
        return replace(self, axes=(*left, *rest, *reversed(right)))

    def taken(self, number: int, start: int, count: int, step: int = 1) -> Layout:
        """`count` of an axis from `start` on; raises LayoutError."""
        axis = self.axes[number]
        if len(axis) > 1 and all(atom.kind == POSITIONS for atom in axis):
            return self.reordered(self.positions().take(range(start, start + count * step, step), number))
        if len(axis) != 1 or axis[0].kind == IMAGES:
            raise LayoutError("a part of an axis that is made of several")
        (atom,) = axis
        first = list(self.first)
        first[atom.kind == POSITIONS] += start * atom.stride
        left = merged([replace(atom, size=count, stride=atom.stride * step)])
        return replace(self, axes=(*self.axes[:number], left, *self.axes[number + 1 :]), first=(first[0], first[1]))

    def without(self, number: int) -> Layout:
        """An axis of one left out."""
        return replace(self, axes=(*self.axes[:number], *self.axes[number + 1 :]))

    def with_one(self, number: int) -> Layout:
        """An axis of one more."""
        return replace(self, axes=(*self.axes[:number], (), *self.axes[number:]))


def merged(atoms: Sequence[Atom]) -> Axis:
    """Atoms without those of one, and with those joined that lie one behind the other."""
    found: list[Atom] = []
    for atom in atoms:
        if atom.size == 1:
            continue
        last = found[-1] if found else None
        if last and atom.size and last.size and last.kind == atom.kind and last.stride == atom.stride * atom.size:
            found[-1] = Atom(atom.kind, last.size * atom.size, atom.stride)
        else:
            found.append(atom)
    return tuple(found)


def plain(source: str, shape: Sequence[int]) -> Layout:
    """The layout of (n, c) or (n, c, h, w) over a native value of that shape."""
    channels, *positions = shape
    axes: list[Axis] = [BATCH, merged([Atom(FEATURES, channels)])]
    for number, size in enumerate(positions):
        axes.append(merged([Atom(POSITIONS, size, prod(positions[number + 1 :]))]))
    return Layout(source, tuple(axes))


def _from_left(atoms: list[Atom], size: int) -> Axis:
    """Take `size` numbers from the front; cut an atom where it must be."""
    found: list[Atom] = []
    while size > 1:
        if not atoms or atoms[0].size is None:
            raise LayoutError("it joins or cuts the dimension of the images")
        atom = atoms.pop(0)
        have = atom.size or 1
        if size % have == 0:
            found.append(atom)
            size //= have
        elif have % size == 0:
            found.append(Atom(atom.kind, size, atom.stride * (have // size)))
            atoms.insert(0, replace(atom, size=have // size))
            size = 1
        else:
            raise LayoutError("it cuts a dimension where another begins")
    return merged(found)


def _from_right(atoms: list[Atom], size: int) -> Axis:
    """As `_from_left`, from the end."""
    found: list[Atom] = []
    while size > 1:
        if not atoms or atoms[-1].size is None:
            raise LayoutError("it joins or cuts the dimension of the images")
        atom = atoms.pop()
        have = atom.size or 1
        if size % have == 0:
            found.insert(0, atom)
            size //= have
        elif have % size == 0:
            found.insert(0, replace(atom, size=size))
            atoms.append(Atom(atom.kind, have // size, atom.stride * size))
            size = 1
        else:
            raise LayoutError("it cuts a dimension where another begins")
    return merged(found)
