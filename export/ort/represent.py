"""Sparse weights inside an ONNX graph: values and indices are parameters, the dense weight is scattered from them.

    slot s belongs to row r(s), the number of rows that end at or before s            (row_starts, as in CSR)
    unit(s)  = r(s) · row_stride + column(s) · column_stride
    weight[unit(s) + offset] = value(s, offset)                                        into zeros

| format  | a row is         | a unit is                | offsets from the unit            |
|---------|------------------|--------------------------|----------------------------------|
| csr     | output channel   | one weight               | 0                                |
| block   | `height` of them | `height` × 1 column      | 0, K, 2K ...                     |
| pattern | output channel   | four cells of a kernel   | the kept cells of its pattern id |

A row of more than 256 columns is cut into equal spans (`edge.engines.ort.spans`), which take the place of rows, so that
a column is a byte. So zeros stay zero by construction with any optimizer, and the tensors are those of the native
network (absolute columns, or within spans): a board replaces them without onnx. Slots after the last row's end have row
number `rows`: they scatter past the weight's end into cells that are cut off, so growing past the target needs no new
graph. `masked` multiplies a dense weight by its mask instead; `channel` gathers the input channels that the layer
reads. The zeros start as an expanded scalar parameter, because ConstantOfShape would be folded into a stored dense
tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from edge.engines.ort.spans import column_spans
from edge.weight.formats import PATTERNS, kept_mask
from edge.weight.formats.csr import absolute_columns
from edge.weight.formats.format import index_dtype
from edge.weight.parameter import Parameter
from export.graph import set_tensor

ZERO = "mest.zero"


@dataclass(frozen=True)
class Represented:
    """The names that a layer has in the training graph: `values` is trained, `tensors` are its frozen index tensors."""

    format: str
    values: str
    tensors: dict[str, str]
    slots: int

    def as_json(self) -> dict[str, Any]:
        """As the manifest's `ort.parameters` has it; `indices` repeats the tensor that says where the values belong."""
        indices = next(role for role in ("columns", "kernels", "mask", "channels") if role in self.tensors)
        return {
            "format": self.format,
            "values": self.values,
            "indices": self.tensors[indices],
            "slots": self.slots,
            **self.tensors,
        }


@dataclass(frozen=True)
class OrtFiles:
    """Each sparse layer's names in the onnxruntime-training files, or None and the reason why there are no files.

    `blocks`: the values between which the blocks lie that the backward pass recomputes.
    """

    represented: dict[str, Represented] | None
    reason: str | None = None
    blocks: tuple[tuple[str, str], ...] = ()


def represent(
    model: onnx.ModelProto, parameters: Mapping[str, Parameter], slots: Mapping[str, int]
) -> dict[str, Represented]:
    """Rewrite each compressed weight in place; return the names of its parts by layer.

    `slots` are the entries that each layer has room for. Requires that a weight is one initializer under the layer's
    name. Ensures the same values, and that every float that training moves is a non-zero (or a free slot).
    """
    graph = model.graph
    written: dict[str, Represented] = {}
    prologue: list[onnx.NodeProto] = []
    for name, parameter in parameters.items():
        builder = _Builder(model, parameter)
        if parameter.format == "channel":
            written[name] = Represented("channel", name, {"channels": f"{name}.channels"}, len(parameter.values))
        elif parameter.format == "masked":
            written[name] = builder.masked()
        else:
            written[name] = builder.scattered(slots[name])
        prologue.extend(builder.nodes)
    if prologue:
        set_tensor(graph, ZERO, np.zeros(1, np.float32))
        kept = list(graph.node)
        del graph.node[:]
        graph.node.extend([*prologue, *kept])
    return written


class _Builder:
    """The nodes that make one weight from its parts."""

    def __init__(self, model: onnx.ModelProto, parameter: Parameter) -> None:
        self.graph = model.graph
        self.source = parameter
        self.name = parameter.name
        self.nodes: list[onnx.NodeProto] = []

    def node(self, kind: str, inputs: list[str], output: str, **attributes: int | str) -> str:
        """Append one node; return the name of its output."""
        output = self.name if output == self.name else f"{self.name}.{output}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, role: str, values: object) -> str:
        """Store a small integer tensor in the graph; return its name."""
        name = f"{self.name}.const.{role}"
        set_tensor(self.graph, name, np.asarray(values, np.int64))
        return name

    def parameter(self, role: str, values: np.ndarray) -> str:
        """Store a tensor that the checkpoint will hold; return its name."""
        name = f"{self.name}.{role}"
        set_tensor(self.graph, name, values)
        return name

    def masked(self) -> Represented:
        """weight = values × mask; the gradient of a removed weight is zero through the product."""
        values = self.parameter("values", self.source.values)
        mask = self.parameter("mask", kept_mask(self.source).astype(np.uint8))
        self._drop_dense()
        factor = self.node("Cast", [mask], "factor", to=TensorProto.FLOAT)
        self.node("Mul", [values, factor], self.name)
        return Represented("masked", values, {"mask": mask}, self.source.size)

    def scattered(self, slots: int) -> Represented:
        """weight = values scattered into zeros; see the table above."""
        source, tensors = self.source, self.source.tensors
        pattern = source.format == "pattern"
        height = int(source.height or 1) if source.format == "block" else 1
        used, rows = len(source.values), source.rows // height
        role = "kernels" if pattern else "columns"
        columns = absolute_columns(source) if source.format == "csr" else tensors[role]
        spans = column_spans(source, slots)
        width = (source.shape[1] if pattern else source.columns) // spans
        starts = tensors["row_starts"]
        if spans > 1:
            ends = starts.astype(np.intp)
            row = np.repeat(np.arange(rows), ends[1:] - ends[:-1])
            span = row * spans + columns // width
            starts, columns = np.searchsorted(span, np.arange(rows * spans + 1)), columns % width
        values = self.parameter("values", _pad(source.values, slots - used))
        parts = {
            "row_starts": self.parameter("row_starts", starts.astype(_starts_type(slots))),
            role: self.parameter(role, _pad(columns.astype(index_dtype(width - 1)), slots - used)),
        }
        row_stride = height * source.columns
        strides = (row_stride, width if spans > 1 else 0, 9 if pattern else 1)
        unit = self._unit(parts["row_starts"], parts[role], slots, rows, spans, strides)
        if pattern:
            parts["patterns"] = self.parameter("patterns", _pad(tensors["patterns"], slots - used))
            which = self.node("Cast", [parts["patterns"]], "which", to=TensorProto.INT64)
            offsets, reach = self.node("Gather", [self.constant("kept", PATTERNS), which], "offsets", axis=0), 9
        else:
            offsets, reach = self.constant("offsets", np.arange(height) * source.columns), row_stride
        index = self.node("Add", [unit, offsets], "cells")
        flat = self.constant("flat", [-1])
        self._drop_dense()
        # Cells past the end, where free slots land; there always, because a mutation on the board may leave some free.
        zeros = self.node("Expand", [ZERO, self.constant("room", [source.size + reach])], "zeros")
        index = self.node("Reshape", [index, flat], "cells.flat")
        updates = self.node("Reshape", [values, flat], "values.flat")
        dense = self.node("ScatterElements", [zeros, index, updates], "dense", axis=0)
        limits = [self.constant("first", [0]), self.constant("last", [source.size]), self.constant("axis", [0])]
        dense = self.node("Slice", [dense, *limits], "cut")
        self.node("Reshape", [dense, self.constant("shape", source.shape)], self.name)
        return Represented(source.format, values, parts, slots)

    def _unit(
        self, row_starts: str, columns: str, slots: int, rows: int, spans: int, strides: tuple[int, int, int]
    ) -> str:
        """The first cell of every slot, int64 (slots, 1); `strides` are those of rows, of spans, of columns."""
        row_stride, span_stride, column_stride = strides
        axis, first = self.constant("axis", [0]), self.constant("first", [0])
        row = self.node(
            "Slice", [self._rows(row_starts, slots, rows * spans), first, self.constant("slots", [slots]), axis], "row"
        )
        column = self.node("Cast", [columns], "column", to=TensorProto.INT64)
        if spans > 1 and row_stride == spans * span_stride:
            row_stride = span_stride  # spans lie one behind the other, whichever row they are of
        elif spans > 1:
            count = self.constant("spans", spans)
            whole = self.node("Div", [row, count], "row.whole")
            within = self.node("Sub", [row, self.node("Mul", [whole, count], "row.first")], "row.span")
            within = self.node("Mul", [within, self.constant("span_stride", span_stride)], "span.cell")
            column, row = self.node("Add", [column, within], "column.whole"), whole
        row = self.node("Mul", [row, self.constant("row_stride", row_stride)], "row.cell")
        if column_stride != 1:
            column = self.node("Mul", [column, self.constant("column_stride", column_stride)], "column.cell")
        unit = self.node("Add", [row, column], "unit.flat")
        return self.node("Reshape", [unit, self.constant("upright", [-1, 1])], "unit")

    def _rows(self, row_starts: str, slots: int, rows: int) -> str:
        """The row of every slot, int64 (slots or more,): a running count of the rows that have ended.

        The count runs over a square, first along lines, then over their ends: CumSum takes long steps one by one.
        """
        axis = self.constant("axis", [0])
        starts = self.node("Cast", [row_starts], "starts", to=TensorProto.INT64)
        ends = self.node("Slice", [starts, self.constant("one", [1]), self.constant("rows", [rows + 1]), axis], "ends")
        width = isqrt(slots) + 1
        lines = -(-(slots + 1) // width)
        zero = self.node("Cast", [ZERO], "nought", to=TensorProto.INT64)
        count = self.node("Expand", [zero, self.constant("count", [lines * width])], "count")
        one = self.node("Add", [zero, self.constant("once", [1])], "once")
        ones = self.node("Expand", [one, self.constant("ends", [rows])], "ones")
        ended = self.node("ScatterElements", [count, ends, ones], "ended", axis=0, reduction="add")
        square = self.node("Reshape", [ended, self.constant("square", [lines, width])], "ended.square")
        along = self.node("CumSum", [square, self.constant("second", 1)], "ended.along")
        limits = [self.constant("end", [width - 1]), self.constant("width", [width]), self.constant("across", [1])]
        totals = self.node("Slice", [along, *limits], "ended.totals")
        before = self.node("CumSum", [totals, self.constant("zeroth", 0)], "ended.before", exclusive=1)
        row = self.node("Add", [along, before], "row.square")
        return self.node("Reshape", [row, self.constant("flat", [-1])], "row.all")

    def _drop_dense(self) -> None:
        for tensor in self.graph.initializer:
            if tensor.name == self.name:
                self.graph.initializer.remove(tensor)
                return


def _starts_type(slots: int) -> type[np.generic]:
    """The smaller of the two types that a board knows and that counts so many slots."""
    return np.uint16 if slots < 1 << 16 else np.int32


def _pad(array: np.ndarray, free: int) -> np.ndarray:
    return np.concatenate([array, np.zeros((free, *array.shape[1:]), array.dtype)]) if free else array
