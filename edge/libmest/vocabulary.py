"""The names and numbers that the library and this package both know; `program.py` has the structs that hold them."""

from __future__ import annotations

from edge.libmest.declared import Enum

OPS = (
    "input", "conv", "conv_grad", "norm_sums", "norm_finish", "norm_grad_sums", "norm_grad_finish", "sample_norm",
    "sample_norm_grad", "add", "copy", "push_grad", "arithmetic", "arithmetic_grad", "stored_grad", "max_pool",
    "max_pool_grad", "avg_pool", "avg_pool_grad", "select", "select_grad", "concat", "concat_grad", "loss",
    "loss_marks", "loss_values", "loss_pixels", "zero", "update", "output", "attention", "attention_grad", "prepend",
    "prepend_grad", "positions", "positions_grad", "select_positions", "select_positions_grad", "narrow", "widen",
    "resample", "resample_grad", "conv_transpose", "conv_transpose_grad", "matmul", "matmul_grad", "softmax",
    "softmax_grad", "transpose", "transpose_grad",
)  # fmt: skip
# Steps that read stored tensors in any of SAVED; all others find float32.
READS_SAVED = (
    "conv", "conv_grad", "norm_grad_sums", "sample_norm", "sample_norm_grad", "add", "copy", "push_grad", "arithmetic",
    "arithmetic_grad", "stored_grad", "max_pool", "max_pool_grad", "avg_pool", "avg_pool_grad", "select", "select_grad",
    "concat", "concat_grad", "prepend", "positions", "narrow", "widen",
)  # fmt: skip
# What is kept from forward to backward: floats, their upper halves, or a scale before every SAVED_GROUP bytes.
SAVED = ("float32", "bfloat16", "int8")
FLOAT32, BFLOAT16, INT8 = range(3)
SAVED_GROUP = 64
# Activations that have loops of their own wherever tensors are read or written; the others take a pass of their own.
FUSED_ACTS = ("none", "relu", "relu6", "hard_swish")
FUNCTIONS = (
    "sigmoid", "hard_sigmoid", "silu", "tanh", "gelu", "gelu_tanh", "leaky_relu", "elu", "softplus", "clip", "mish",
    "celu", "exp", "sqrt",
)  # fmt: skip
ACTS = (*FUSED_ACTS, *FUNCTIONS)
KINDS = ("add", "sub", "mul", "div", "prelu")  # of arithmetic between two operands
LEFT, RIGHT, NEITHER = range(3)
NO_ACT = ACTS.index("none")
DENSE, CSR, BLOCK = range(3)
FORMS = ("csr", "block", "pattern", "channel")  # of a weight whose units come and go
# How a mutation ended: numbers that are not finite, more units than there is room for, lists that are none.
ENDS = ("done", "not_finite", "no_room", "damaged")
DONE, NOT_FINITE, NO_ROOM, DAMAGED = range(4)
# Segments: an offset counts from the arena, is an address in this process, or counts from one of the two blocks of a
# compiled plan: all that steps write beside the arena, and the lists that they only read.
ARENA, HERE, TENSORS, LISTS = range(4)
ENUMS = (
    Enum("SEGMENT_", ("arena", "here", "tensors", "lists"), count="SEGMENTS"),
    Enum("ACT_", ACTS, count="ACTS"),
    Enum("", ("dense", "csr", "block")),
    Enum("FORM_", FORMS, count="FORMS"),
    Enum("MUTATION_", ENDS),
    Enum("KIND_", KINDS, count="KINDS"),
    Enum("", ("left", "right", "neither")),
    Enum("SAVED_", SAVED, count="SAVED_TYPES"),
    Enum("OP_", OPS, count="OP_COUNT"),
)

# Of a batch norm and a channel: floats of a pass, floats of the backward pass, doubles that each thread adds up.
STATISTICS, SLOPES, SUMS = 3, 2, 4
# Of a convolution's panels, in floats: a chunk of a line, what kernels may read past a panel, and the padding that two
# rows may share (what that slack leaves beside a vector).
CHUNK_FLOATS, SLACK_FLOATS = 128, 64
BANDS = 8  # of channels, at most, that a chunk's sums go through one after the other
SHARED_FLOATS = SLACK_FLOATS - 16
# Of a mutation: scratch for each unit that there is room for (its number, its score, whether it stays), and for each
# row of kernels with patterns; the arrays of a weight by number, of which the first hold floats.
UNIT_BYTES, ROW_BYTES = 9, 16
WEIGHT_PARTS = (
    "values", "gradient", "first", "second", "starts", "columns", "t_starts", "t_columns", "t_places", "kernels",
    "patterns", "channels",
)  # fmt: skip
WEIGHT_ARRAYS = 4
PATTERN_CELLS = 4
QUERIES = 8  # rows of weights that attention computes at a time
CONSTANTS = {
    "STATISTICS": STATISTICS,
    "SLOPES": SLOPES,
    "SUMS": SUMS,
    "CHUNK_FLOATS": CHUNK_FLOATS,
    "BANDS": BANDS,
    "SLACK_FLOATS": SLACK_FLOATS,
    "SHARED_FLOATS": SHARED_FLOATS,
    "FUSED_ACTS": len(FUSED_ACTS),
    "QUERIES": QUERIES,
    "SAVED_GROUP": SAVED_GROUP,
    "MUTATION_UNIT_BYTES": UNIT_BYTES,
    "MUTATION_ROW_BYTES": ROW_BYTES,
    "WEIGHT_PARTS": len(WEIGHT_PARTS),
    "WEIGHT_ARRAYS": WEIGHT_ARRAYS,
    "PATTERNS": 8,
    "PATTERN_CELLS": PATTERN_CELLS,
}


def saved_bytes(storage: int, floats: int) -> int:
    """Bytes of so many numbers in one of SAVED."""
    if storage == INT8:
        return -(-floats // SAVED_GROUP) * (4 + SAVED_GROUP)
    return floats * (2 if storage == BFLOAT16 else 4)
