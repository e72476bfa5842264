"""Column indices of 8 bits for wide layers: every row of a weight is seen as equal spans of at most 256 columns.

A weight of `rows` × K lies in memory like one of `rows · spans` × K / spans, so a list of its non-zeros (or blocks) is
the same list either way, in the same order. Only the index shrinks to a byte, and `row_starts` has an entry per span.
"""

from __future__ import annotations

from dataclasses import replace

from edge.weight.parameter import Parameter

WIDEST = 256  # columns that 8 bits tell apart
START_BYTES = 4  # of an entry of row_starts, at most


def column_spans(parameter: Parameter, slots: int) -> int:
    """Spans per row of a csr or block weight with room for `slots` non-zeros (or blocks); 1 where that takes less."""
    columns, rows = parameter.columns, block_rows(parameter)
    if parameter.format not in ("csr", "block") or columns <= WIDEST:
        return 1
    spans = next(spans for spans in range(-(-columns // WIDEST), columns + 1) if columns % spans == 0)
    return spans if START_BYTES * rows * (spans - 1) < slots else 1


def stored_spans(parameter: Parameter, row_starts: int) -> int:
    """Spans per row of a weight whose `row_starts` has so many entries; raises ValueError where they do not fit it."""
    rows = block_rows(parameter)
    if row_starts < 2 or (row_starts - 1) % rows or parameter.columns % ((row_starts - 1) // rows):
        raise ValueError(f"{row_starts} row starts do not fit {rows} rows of {parameter.columns} columns")
    return (row_starts - 1) // rows


def in_spans(parameter: Parameter, spans: int) -> Parameter:
    """The parameter with spans for rows; its tensors stay as they are."""
    if spans == 1:
        return parameter
    return replace(parameter, shape=(parameter.rows * spans, parameter.columns // spans))


def block_rows(parameter: Parameter) -> int:
    """Rows of which `row_starts` speaks: output channels, or blocks of them."""
    return parameter.rows // (parameter.height or 1 if parameter.format == "block" else 1)
