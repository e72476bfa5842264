"""Rows cut into spans: the same units in the same order, mutated alike, with a byte for each column."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge.engines.ort.spans import column_spans, in_spans, stored_spans
from edge.weight.formats import encode_parameter
from edge.weight.formats.csr import absolute_columns
from edge.weight.mutation import Slots, mutate
from edge.weight.parameter import Parameter


def make(format: str, shape: tuple[int, ...], sparsity: float = 0.9) -> Parameter:
    """A random weight in csr, or in blocks of four rows."""
    random = np.random.default_rng(2)
    rows, columns = shape[0], int(np.prod(shape[1:]))
    height = 4 if format == "block" else 1
    mask = np.repeat(random.random((rows // height, columns)) > sparsity, height, axis=0).reshape(shape)
    weight = (random.standard_normal(shape) * mask).astype(np.float32)
    scheme = "block" if format == "block" else "irregular"
    return encode_parameter(
        "w",
        weight,
        mask,
        scheme=scheme,
        height=4 if format == "block" else None,
        target_sparsity=sparsity,
        format=format,
    )


@pytest.mark.parametrize(
    ("columns", "spans"), [(64, 1), (256, 1), (257, 257), (288, 2), (576, 3), (1152, 6), (4608, 18), (510, 2)]
)
def test_spans_are_equal_and_fit_a_byte(columns, spans):
    """The fewest equal spans; a prime number of columns would need one each, which never pays."""
    weight = make("csr", (8, columns))
    found = column_spans(weight, 1 << 20)
    assert found == spans
    assert columns % found == 0
    assert columns // found <= 256
    if columns == 257:
        assert column_spans(weight, len(weight.values)) == 1


def test_spans_are_not_taken_where_their_starts_cost_more():
    """With few weights in a row the larger columns are fewer bytes; other formats have no such columns."""
    weight = make("csr", (8, 1152))
    assert column_spans(weight, 4 * 8 * 5) == 1
    assert column_spans(weight, 4 * 8 * 5 + 1) == 6
    assert column_spans(replace(weight, format="masked"), 1 << 20) == 1
    assert stored_spans(weight, 8 * 6 + 1) == 6
    with pytest.raises(ValueError, match="50 row starts do not fit 8 rows of 1152 columns"):
        stored_spans(weight, 50)


@pytest.mark.parametrize("format", ["csr", "block"])
def test_mutation_in_spans_is_mutation(format):
    """Values, optimizer state and places afterwards are those of the whole rows, bit for bit."""
    weight = make(format, (16, 64, 3, 3))
    spans = column_spans(weight, len(weight.values))
    assert spans == 3
    width = weight.columns // spans
    starts = weight.tensors["row_starts"].astype(np.int64)
    columns = (absolute_columns(weight) if format == "csr" else weight.tensors["columns"]).astype(np.int64)
    rows = np.repeat(np.arange(len(starts) - 1), np.diff(starts).astype(np.intp))
    cut_starts = np.searchsorted(rows * spans + columns // width, np.arange((len(starts) - 1) * spans + 1))
    random, state = np.random.default_rng(3), []
    momentum = random.standard_normal(weight.values.shape).astype(np.float32)
    arrays = {
        "whole": (weight, starts.astype(np.int32), columns.astype(np.uint16)),
        "spans": (in_spans(weight, spans), cut_starts.astype(np.uint16), (columns % width).astype(np.uint8)),
    }
    for described, row_starts, listed in arrays.values():
        slots = Slots(
            weight.values.copy(), {"row_starts": row_starts, "columns": listed}, len(weight.values), [momentum.copy()]
        )
        done = mutate(described, slots, 0.92, 0.9, seed=5)
        assert done.removed_weights > 0
        state.append((slots, done))
    (whole, one), (cut, other) = state
    assert one.units == other.units
    np.testing.assert_array_equal(whole.values, cut.values)
    np.testing.assert_array_equal(whole.state[0], cut.state[0])
    np.testing.assert_array_equal(whole.indices["row_starts"], cut.indices["row_starts"][::spans])
    span = np.repeat(np.arange(len(cut_starts) - 1) % spans, np.diff(cut.indices["row_starts"].astype(np.int64)))
    used = one.units
    np.testing.assert_array_equal(whole.indices["columns"][:used], cut.indices["columns"][:used] + span * width)
