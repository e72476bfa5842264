"""Formats: sizes from their definition, then bit-exact round trips on odd shapes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge.weight.formats import (
    FORMATS,
    PATTERNS,
    FormatError,
    check_parameter,
    choose_format,
    decode,
    encode_parameter,
    encoded_bytes,
    find_format,
    kept_mask,
    positions,
)

NATIVE = {"irregular": "csr", "block": "block", "pattern": "pattern", "channel": "channel"}
# Shapes with the groups of their convolution (1 for linear).
SHAPES = {
    "conv": ((8, 5, 3, 3), 1),
    "wide": ((4, 300, 1, 1), 1),
    "wider than 16 bits": ((4, 70_000), 1),
    "grouped": ((16, 3, 5, 3), 2),
    "depthwise": ((12, 1, 3, 3), 12),
    "linear": ((12, 7), 1),
    "one weight": ((1, 1), 1),
}
DENSITIES = {"tenth": 0.1, "full": 1.0, "almost empty": 0.0}


def make_mask(shape: tuple[int, ...], scheme: str, density: float, height: int = 4) -> np.ndarray:
    """A random mask of whole units, with at least one unit."""
    rng = np.random.default_rng(3)
    rows, inputs = shape[:2]
    if scheme == "irregular":
        mask = rng.random(shape) < density
        mask.flat[mask.size // 2] = True
    elif scheme == "block":
        blocks = rng.random((rows // height, 1, int(np.prod(shape[1:])))) < density
        blocks[-1, 0, -1] = True
        mask = np.repeat(blocks, height, axis=1).reshape(shape)
    elif scheme == "channel":
        kept = rng.random(inputs) < density
        kept[inputs // 2] = True
        mask = np.broadcast_to(kept.reshape(1, inputs, *[1] * (len(shape) - 2)), shape).copy()
    else:
        kernels = rng.random(rows * inputs) < density
        kernels[-1] = True
        flat = np.zeros((rows * inputs, 9), bool)
        for kernel in np.flatnonzero(kernels):
            flat[kernel, PATTERNS[rng.integers(8)]] = True
        mask = flat.reshape(shape)
    return mask


def cases() -> list[tuple[str, str, str, str]]:
    """Every scheme on every shape that it can take, in each format that can hold it."""
    found = []
    for shape_name, (shape, groups) in SHAPES.items():
        for scheme, native in NATIVE.items():
            fits = {
                "irregular": True,
                "block": shape[0] // groups % 4 == 0,
                "pattern": shape[2:] == (3, 3),
                "channel": groups == 1,
            }[scheme]
            if fits:
                found += [(shape_name, scheme, d, f) for d in DENSITIES for f in {native, "csr", "masked"}]
    return sorted(found)


@pytest.mark.parametrize(("shape_name", "scheme", "density", "form"), cases())
def test_round_trip_is_bit_exact_and_sizes_equal_the_definition(
    shape_name: str, scheme: str, density: str, form: str
) -> None:
    """What is decoded is what was encoded, bit for bit, and takes the bytes that were counted before."""
    shape, groups = SHAPES[shape_name]
    mask = make_mask(shape, scheme, DENSITIES[density])
    weight = np.random.default_rng(4).normal(size=shape).astype(np.float32)
    weight.flat[np.flatnonzero(mask)[0]] = 0.0  # a kept weight may be zero: it was just grown
    weight *= mask
    height = 4 if scheme == "block" else None
    parameter = encode_parameter(
        "w", weight, mask, scheme=scheme, height=height, target_sparsity=0.5, format=form, groups=groups
    )
    check_parameter(parameter)
    assert parameter.nbytes == encoded_bytes(mask, form, height) == defined_bytes(mask, form)
    assert np.array_equal(decode(parameter).view(np.uint32), np.where(mask, weight, np.float32(0.0)).view(np.uint32))
    assert np.array_equal(kept_mask(parameter), mask)
    assert parameter.nonzeros == mask.sum()
    where = positions(parameter)
    assert where.dtype == np.int32
    assert np.array_equal(np.sort(where), np.flatnonzero(mask))
    if form != "masked":
        assert np.array_equal(weight.ravel()[where], parameter.values.ravel())


def defined_bytes(mask: np.ndarray, form: str) -> int:
    """Bytes by the words of docs/network-format.md, counted row by row."""
    rows = mask.reshape(len(mask), -1)

    def width(largest: int) -> int:
        return 1 if largest < 256 else 2 if largest < 65536 else 4

    if form == "masked":
        return 4 * mask.size + -(-mask.size // 8)
    if form == "csr":
        absolute, delta = 0, 0
        for row in rows:
            before = -1
            for column in np.flatnonzero(row):
                absolute = max(absolute, int(column))
                delta = max(delta, int(column) - before - 1)
                before = int(column)
        return 4 * (len(rows) + 1) + int(mask.sum()) * (4 + min(width(absolute), width(delta)))
    if form == "block":
        blocks = [np.flatnonzero(row) for row in rows[::4]]
        count, largest = sum(map(len, blocks)), max(int(block.max()) for block in blocks if len(block))
        return 4 * (len(rows) // 4 + 1) + count * (16 + width(largest))
    if form == "pattern":
        count = int(mask.sum()) // 4
        return 4 * (len(rows) + 1) + count * (16 + 1 + width(mask.shape[1] - 1))
    kept = len({int(channel) for channel in np.nonzero(mask)[1]})
    return int(mask.sum()) * 4 + kept * (2 if mask.shape[1] <= 65536 else 4)


def by_eye(kept: list[int], shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Weights 1 to 8 of which the listed positions are kept."""
    mask = np.zeros(8, bool)
    mask[kept] = True
    weight = np.arange(1, 9, dtype=np.float32) * mask
    return weight.reshape(shape), mask.reshape(shape)


def test_csr_of_eight_weights() -> None:
    """Rows [0 2 0 4] and [5 0 0 8] by hand."""
    weight, mask = by_eye([1, 3, 4, 7], (2, 4))
    parameter = encode_parameter("w", weight, mask, scheme="irregular", format="csr")
    assert parameter.tensors["row_starts"].tolist() == [0, 2, 4]
    assert parameter.tensors["columns"].tolist() == [1, 3, 0, 3]
    assert parameter.tensors["columns"].dtype == np.uint8
    assert parameter.values.tolist() == [2, 4, 5, 8]
    assert parameter.coding == "absolute"
    assert positions(parameter).tolist() == [1, 3, 4, 7]


def test_csr_takes_delta_where_absolute_needs_16_bits() -> None:
    """Columns 0, 200, 299 need 16 bits, their differences minus 1 (0, 199, 98) need 8."""
    mask = np.zeros((2, 300), bool)
    mask[1, [0, 200, 299]] = True
    parameter = encode_parameter("w", mask.astype(np.float32), mask, scheme="irregular", format="csr")
    assert parameter.coding == "delta"
    assert parameter.tensors["columns"].dtype == np.uint8
    assert parameter.tensors["columns"].tolist() == [0, 199, 98]
    assert positions(parameter).tolist() == [300, 500, 599]


def test_block_of_eight_weights() -> None:
    """Two rows of four columns in blocks of two rows: columns 1 and 3 are kept."""
    weight, mask = by_eye([1, 3, 5, 7], (2, 4))
    parameter = encode_parameter("w", weight, mask, scheme="block", height=2)
    assert parameter.format == "block"
    assert parameter.tensors["row_starts"].tolist() == [0, 2]
    assert parameter.tensors["columns"].tolist() == [1, 3]
    assert parameter.values.tolist() == [[2, 6], [4, 8]]
    assert positions(parameter).tolist() == [1, 5, 3, 7]


def test_channel_of_eight_weights() -> None:
    """Two filters of four channels read channels 0 and 2 only."""
    weight, mask = by_eye([0, 2, 4, 6], (2, 4))
    parameter = encode_parameter("w", weight, mask, scheme="channel")
    assert parameter.format == "channel"
    assert parameter.tensors["channels"].tolist() == [0, 2]
    assert parameter.values.tolist() == [[1, 3], [5, 7]]


def test_masked_of_eight_weights() -> None:
    """Bit i of the little-endian mask is weight i."""
    weight, mask = by_eye([0, 1, 7], (2, 4))
    parameter = encode_parameter("w", weight, mask, scheme="irregular", format="masked")
    assert parameter.tensors["mask"].tolist() == [0b10000011]


def test_pattern_of_one_kernel() -> None:
    """The second kernel keeps the cells 0 1 3 4, which is pattern 3."""
    weight = np.zeros((1, 2, 3, 3), np.float32)
    weight[0, 1] = [[1, 2, 0], [3, 4, 0], [0, 0, 0]]
    parameter = encode_parameter("w", weight, weight != 0, scheme="pattern")
    assert parameter.format == "pattern"
    assert parameter.tensors["kernels"].tolist() == [1]
    assert parameter.tensors["patterns"].tolist() == [3]
    assert parameter.values.tolist() == [[1, 2, 3, 4]]
    assert positions(parameter).tolist() == [9, 10, 12, 13]


def test_patterns_keep_what_the_published_ones_do_not_remove() -> None:
    """The table agrees with the removed cells of the published patterns, row and column written out."""
    removed = [
        "00 01 02 10 20",
        "00 01 02 12 22",
        "00 10 20 21 22",
        "02 12 20 21 22",
        "00 01 02 10 11",
        "00 01 02 20 22",
        "00 02 10 20 22",
        "00 02 12 20 22",
    ]
    for kept, cells in zip(PATTERNS, removed, strict=True):
        gone = {int(cell[0]) * 3 + int(cell[1]) for cell in cells.split()}
        assert kept.tolist() == sorted(set(range(9)) - gone)


def test_auto_takes_the_fewest_bytes_within_the_scheme() -> None:
    """Sparse layers take their scheme's format, a nearly dense irregular one the mask, a full one nothing."""
    for scheme, native in NATIVE.items():
        mask = make_mask((8, 5, 3, 3), scheme, 0.1)
        assert choose_format(mask, scheme, 4 if scheme == "block" else None) == native
    nearly = np.ones((8, 5, 3, 3), bool)
    nearly[0, 0, 0, 0] = False
    assert choose_format(nearly, "irregular") == "masked"
    assert choose_format(np.ones((8, 5), bool), "irregular") == "dense"
    assert choose_format(np.ones((8, 5), bool), None) == "dense"


def test_an_unknown_format_lists_those_that_exist() -> None:
    """The message names every format."""
    with pytest.raises(FormatError, match=f"'cst'; known: {', '.join(FORMATS)}"):
        find_format("cst")


def test_what_cannot_be_held_is_refused_with_the_reason() -> None:
    """Parts of blocks, cells outside patterns, weights outside the mask."""
    weight, mask = by_eye([1, 3], (2, 4))
    with pytest.raises(FormatError, match="parts of blocks"):
        encode_parameter("w", weight, mask, scheme="block", height=2, format="block")
    with pytest.raises(FormatError, match="do not divide into blocks of 4"):
        encode_parameter("w", weight, mask, scheme="block", height=4, format="block")
    with pytest.raises(FormatError, match="outside the mask are not zero"):
        encode_parameter("w", weight, np.zeros_like(mask), scheme="irregular")
    with pytest.raises(FormatError, match="does not remember"):
        encode_parameter("w", weight, mask, scheme="irregular", format="dense")
    with pytest.raises(FormatError, match="float64; formats hold float32"):
        encode_parameter("w", weight.astype(np.float64), mask, scheme="irregular")
    with pytest.raises(FormatError, match="needs a scheme"):
        encode_parameter("w", weight, mask)


@pytest.mark.parametrize(("scheme", "form"), [*NATIVE.items(), ("irregular", "masked")])
def test_a_layer_without_any_weight_is_held(scheme: str, form: str) -> None:
    """No unit kept: indices are empty, and zeros come back."""
    shape = (8, 5, 3, 3)
    weight, mask = np.zeros(shape, np.float32), np.zeros(shape, bool)
    height = 4 if scheme == "block" else None
    parameter = encode_parameter("w", weight, mask, scheme=scheme, height=height, format=form)
    check_parameter(parameter)
    assert parameter.nbytes == encoded_bytes(mask, form, height)
    assert parameter.nonzeros == 0
    assert not decode(parameter).any()


DAMAGE = [
    ("csr", "columns", [1, 1, 0, 3], "do not ascend"),
    ("csr", "columns", [1, 4, 0, 3], "reach 4"),
    ("csr", "row_starts", [0, 3, 2], "row_starts"),
    ("csr", "row_starts", [1, 2, 4], "row_starts"),
    ("csr", "row_starts", [0, 2, 5], "row_starts"),
    ("csr", "row_starts", [0, 4], "shape"),
]


@pytest.mark.parametrize(("form", "tensor", "content", "message"), DAMAGE)
def test_contradicting_indices_are_refused(form: str, tensor: str, content: list[int], message: str) -> None:
    """Each index that an engine would trust is checked."""
    weight, mask = by_eye([1, 3, 4, 7], (2, 4))
    good = encode_parameter("w", weight, mask, scheme="irregular", format=form)
    broken = np.array(content, good.tensors[tensor].dtype)
    with pytest.raises(FormatError, match=message):
        check_parameter(replace(good, tensors={**good.tensors, tensor: broken}))
