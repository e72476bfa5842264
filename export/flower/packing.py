"""Masks and values as bytes, and back: everything that a stranger sent is looked at before it is used."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge.errors import InputError
from edge.files.digest import sha256
from export.flower.layout import Layout, Weights
from export.flower.units import units_of

FLOAT = np.dtype("<f4")


def pack_masks(layout: Layout, masks: Mapping[str, np.ndarray]) -> bytes:
    """The masks of all sparse parameters, one after the other: a bit a unit, each parameter from a byte of its own."""
    return b"".join(
        np.packbits(units_of(parameter).to_bits(parameter, masks[name]), bitorder="little").tobytes()
        for name, parameter in layout.sparse.items()
    )


def unpack_masks(layout: Layout, packed: bytes) -> dict[str, np.ndarray]:
    """The masks; raises InputError for bytes that are none of this network."""
    sparse = layout.sparse
    counts = {name: units_of(parameter).bits(parameter) for name, parameter in sparse.items()}
    wanted = sum(-(-count // 8) for count in counts.values())
    if len(packed) != wanted:
        raise InputError(f"masks of {len(packed)} bytes; those of this artifact take {wanted}")
    masks, start = {}, 0
    for name, parameter in sparse.items():
        stop = start + -(-counts[name] // 8)
        bits = np.unpackbits(np.frombuffer(packed[start:stop], np.uint8), bitorder="little").astype(bool)
        mask = units_of(parameter).to_mask(parameter, bits[: counts[name]])
        if bits[counts[name] :].any() or not mask.any() or not units_of(parameter).fits(parameter, mask):
            raise InputError(f"{name}: its mask has no unit, or none of scheme {parameter.scheme}")
        masks[name], start = mask, stop
    return masks


def digest_of(packed: bytes) -> str:
    """The SHA-256 by which masks are known."""
    found = sha256()
    found.update(packed)
    return str(found.hexdigest())


def pack_values(values: Mapping[str, np.ndarray], known: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    """The values of each parameter, float32 little-endian, but for those that the other side knows bit for bit."""
    return {
        name: array.astype(FLOAT, copy=False).tobytes()
        for name, array in values.items()
        if name not in known or not _same(array, known[name])
    }


def unpack_values(
    layout: Layout, packed: Mapping[str, bytes], masks: Mapping[str, np.ndarray], known: Mapping[str, np.ndarray]
) -> Weights:
    """The weights that came, with what was left out as it is known.

    Raises InputError for a parameter of another name or length, for numbers that are not finite and for a negative
    variance.
    """
    strange = sorted(packed.keys() - layout.parameters.keys())
    if strange:
        raise InputError(f"{strange[0]!r:.80}: is no parameter of this artifact")
    values = {}
    for name, parameter in layout.parameters.items():
        count = int(np.count_nonzero(masks[name])) if name in masks else parameter.size
        if name in packed:
            if len(packed[name]) != FLOAT.itemsize * count:
                raise InputError(f"{name}: {len(packed[name])} bytes of values; its mask keeps {count} of 4 bytes each")
            values[name] = np.frombuffer(packed[name], FLOAT).astype(np.float32)
            if not np.isfinite(values[name]).all():
                raise InputError(f"{name}: holds values that are not finite")
            if name in layout.variances and values[name].min(initial=0.0) < 0:
                raise InputError(f"{name}: holds a variance below 0")
        elif len(known[name]) != count:
            raise InputError(f"{name}: no values came for the mask that did, which keeps {count}")
        else:
            values[name] = known[name]
    return Weights(values, dict(masks))


def unpack_scores(layout: Layout, packed: Mapping[str, bytes], counts: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Scores of kept units, float32 `(units,)`, of every parameter in `counts`; raises InputError for any others."""
    found = {}
    for name, count in counts.items():
        if len(packed.get(name, b"")) != FLOAT.itemsize * count:
            raise InputError(f"{name}: {len(packed.get(name, b''))} bytes of scores; {count} units have 4 bytes each")
        found[name] = np.frombuffer(packed[name], FLOAT).astype(np.float32)
        if not np.isfinite(found[name]).all() or found[name].min(initial=0.0) < 0:
            raise InputError(f"{name}: holds scores that are negative or not finite")
    return found


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and one.tobytes() == other.tobytes()
