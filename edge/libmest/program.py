"""What the library and this package both know of a program: `python -m edge.libmest.header` writes src/program.h.

A stored tensor is float32 in the layout [group][channel][row][column][sample]: the micro-batch is cut into `groups`
groups of `samples` samples; one that is kept from forward to backward may lie there in fewer bits (`SAVED` of
`vocabulary.py`). Memory is named by the number of an operand, which says where it lies and how many bytes it has; the
library looks at both before a program runs. Numbers count from 1: 0 is none.
"""

from __future__ import annotations

from ctypes import Structure

from edge.libmest import declared
from edge.libmest.declared import Field, Struct
from edge.libmest.vocabulary import CONSTANTS, ENUMS, READS_SAVED

_classes: dict[str, type[Structure]] = {}


def _made(struct: Struct) -> list[tuple[str, type]]:
    """The ctypes fields of a struct whose parts were declared before it."""
    return [pair for field in struct.fields for pair in field.ctypes(_classes)]


def _known(made: type[Structure]) -> type[Structure]:
    _classes[made.__name__] = made
    return made


_VIEW = Struct(
    "View",
    "How a stored tensor is read: act((stored - mean) * scale + shift), or act(stored) where mean is NULL.",
    (
        Field("*const float", "data mean scale shift"),
        Field("int32_t", "act channels height width"),
        Field("float", "alpha beta", "what the activation is made with"),
        Field("int32_t", "storage", "of data: MEST_SAVED_..."),
        Field("*const float", "origin", "what was taken off each channel before it was narrowed, or NULL"),
    ),
)
_GRAD = Struct(
    "Grad",
    "The gradient of a value, read as the gradient of the stored tensor behind it: scale * (g * mask) + slope * "
    "(stored - mean) + offset. Without `stored` it is read as it is.",
    (
        Field("*const float", "data stored mean scale shift slope offset"),
        Field("int32_t", "act channels height width"),
        Field("float", "alpha beta"),
        Field("int32_t", "storage", "of stored"),
        Field("*const float", "origin"),
    ),
)
_NORM = Struct(
    "Norm",
    "Batch norm of one layer: parameters, statistics, and what the backward pass reads.",
    (
        Field("*const float", "gamma beta"),
        Field("*float", "running_mean running_var"),
        Field("*float", "mean rstd scale", "of this pass, per channel"),
        Field("*float", "slope offset", "of the backward pass"),
        Field("*float", "gamma_grad beta_grad"),
        Field("*double", "partials", "[threads][channels][MEST_SUMS]"),
        Field("float", "epsilon momentum"),
        Field("int32_t", "channels"),
        Field("int32_t", "frozen", "1: statistics are the running ones"),
    ),
)
_CONV = Struct(
    "Conv",
    "A convolution (linear: 1x1) and how its work is cut. See operators/conv_geometry.h for the panel's layout. A "
    "transposed convolution is stated as the one that it mirrors: that reads what the layer writes.",
    (
        Field("*const float", "values"),
        Field("*float", "grads"),
        Field("*const uint32_t", "starts", "csr: rows + 1, block: block rows + 1"),
        Field("*const void", "columns", "uint16 or uint32"),
        Field("*const uint32_t", "t_starts", "stride parities x input channels + 1"),
        Field("*const void", "t_columns"),
        Field("*const uint32_t", "t_places", "index of an entry's first value"),
        Field("*const int32_t", "channel_list", "the input channels that the layer reads, or NULL for all"),
        Field("*const float", "bias"),
        Field("*float", "bias_grad"),
        Field("int64_t", "entries", "non-zeros, or blocks"),
        Field("int32_t", "format block_height index_bytes"),
        Field("int32_t", "rows in_channels groups"),
        Field("int32_t", "kernel_h kernel_w stride_h stride_w dilation_h dilation_w pad_top pad_left"),
        Field("int32_t", "in_h in_w out_h out_w"),
        Field("int32_t", "tile_rows tiles parts"),
        Field("int32_t", "plane_w x_rows d_rows"),
    ),
)
_POOL = Struct(
    "Pool",
    "A pooling window.",
    (
        Field("int32_t", "kernel_h kernel_w stride_h stride_w dilation_h dilation_w"),
        Field("int32_t", "pad_top pad_left pad_bottom pad_right"),
        Field("int32_t", "out_h out_w count_include_pad unused"),
    ),
)
_ARITHMETIC = Struct(
    "Arithmetic",
    "What is done with two operands, each broadcast to the result: the values `a` and `b` of the step, left and right, "
    "or a stored tensor in the place of one.",
    (
        Field("*const float", "stored", "[channel][row][column], or [row][column][channel] with features_last"),
        Field("*float", "stored_grad"),
        Field("int32_t", "kind"),
        Field("int32_t", "stored_side", "MEST_LEFT, MEST_RIGHT or MEST_NEITHER"),
        Field("int32_t", "features_last"),
        Field("int32_t", "side", "ARITHMETIC_GRAD: whose gradient is wanted"),
        Field("int32_t", "channels height width", "of the result"),
        Field("int32_t", "left_channels left_height left_width"),
        Field("int32_t", "right_channels right_height right_width"),
    ),
)
_SAMPLE_NORM = Struct(
    "SampleNorm",
    "Normalisation within each sample: over groups of channels, or over all channels at each position.",
    (
        Field("*const float", "gamma beta", "or NULL"),
        Field("*float", "gamma_grad beta_grad"),
        Field("*float", "mean rstd", "of this pass: [group of samples][set][sample]"),
        Field("float", "epsilon"),
        Field("int32_t", "groups", "of channels; 0: a set for each position"),
        Field("int32_t", "per_cell", "1: gamma and beta have a number for each cell, not for each channel"),
    ),
)
_ATTENTION = Struct(
    "Attention",
    "Attention: the channels of `a` are the queries of all heads, as many of the keys, and the values. Its "
    "positions are windows of L that follow one another.",
    (
        Field("*const float", "bias", "added to the scores, or NULL"),
        Field("*float", "bias_grad"),
        Field("*const int32_t", "places", "[head][L][L]: which number of the bias"),
        Field("*const float", "mask", "[mask_windows][L][L], or NULL"),
        Field("int32_t", "heads"),
        Field("int32_t", "features", "of the values of all heads"),
        Field("float", "scale"),
        Field("int32_t", "windows"),
        Field("int32_t", "mask_windows", "1 or as many as windows"),
        Field("int32_t", "bias_count"),
    ),
)
_TOKENS = Struct(
    "Tokens",
    "Stored tokens in front of all positions, or a stretch of positions.",
    (
        Field("*const float", "stored", "PREPEND: [token][channel]"),
        Field("*float", "stored_grad"),
        Field("int32_t", "first", "POSITIONS: from which on"),
        Field("int32_t", "count", "of stored tokens, or of positions"),
    ),
)
_RESAMPLE = Struct(
    "Resample",
    "How each row, and each column, of what is written is made: entries from its start on, one source and weight each.",
    (
        Field("*const int32_t", "row_starts row_sources column_starts column_sources"),
        Field("*const float", "row_weights column_weights"),
        Field("int32_t", "row_entries column_entries"),
        Field("int32_t", "height width", "of what is written"),
    ),
)
_PRODUCT = Struct(
    "Product",
    "Products of matrices, one a channel: rows x inner times inner x columns.",
    (
        Field("int32_t", "matrices rows inner columns"),
        Field("int32_t", "first_turned second_turned", "stored as its transpose"),
        Field("int32_t", "gradient_first", "MATMUL_GRAD: the gradient is the first matrix, not the second"),
        Field("int32_t", "unused"),
    ),
)
_EXCHANGE = Struct(
    "Exchange",
    "Numbers [outer][first][second][inner] that are written as [outer][second][first][inner].",
    (Field("int32_t", "outer first second inner"),),
)
_PARAM = Struct(
    "Param",
    "One trained tensor for the update.",
    (
        Field("*float", "values"),
        Field("*const float", "grads"),
        Field("*float", "first second", "momentum, or Adam's two moments"),
        Field("int64_t", "count"),
    ),
)
_UPDATE = Struct(
    "Update",
    "The optimizer of all params of the program.",
    (
        Field("int32_t", "kind", "0 SGD, 1 AdamW"),
        Field("int32_t", "nesterov"),
        Field("double", "beta1 beta2"),
        Field("float", "momentum weight_decay epsilon"),
        Field("int32_t", "unused"),
    ),
)
_STEP = Struct(
    "Step",
    "One step of the planned list. Fields an operator does not use are zero.",
    (
        Field("int32_t", "op"),
        Field("int32_t", "act", "applied to what is stored; one of the fused ones"),
        Field("int32_t", "accumulate", "add to `out` instead of writing it"),
        Field("int32_t", "input_grad", "CONV*_GRAD: `out` is wanted"),
        Field("int32_t", "weight_grad", "CONV*_GRAD: the weight's gradient is wanted"),
        Field("int32_t", "classes"),
        Field("int32_t", "ignored", "LOSS_PIXELS: what a pixel without a class is marked by"),
        Field("float", "smoothing"),
        Field("int32_t", "first_channel part_channels", "CONCAT, CONCAT_GRAD: where a part lies in the whole"),
        Field("View", "a b", "NARROW: b is `out` as it will be read"),
        Field("Grad", "g"),
        Field("Grad", "sums", "CONV*_GRAD, PUSH_GRAD, ARITHMETIC_GRAD: `out` as a gradient; add its norm's sums"),
        Field("*float", "out"),
        Field("@Conv", "conv"),
        Field("@Norm", "norm", "CONV*, ADD, ARITHMETIC: add statistics of the output; NORM_*: the layer"),
        Field("@Norm", "sums_norm"),
        Field("@Pool", "pool"),
        Field("@Arithmetic", "arithmetic"),
        Field("@Update", "update"),
        Field("@SampleNorm", "samplenorm"),
        Field("@Attention", "attention"),
        Field("@Tokens", "tokens"),
        Field("@Resample", "resample"),
        Field("@Product", "product"),
        Field("@Exchange", "exchange"),
        Field("*const int32_t", "channel_list", "SELECT: channels; SELECT_POSITIONS: positions"),
        Field("*float", "scratch", "threads x scratch_floats"),
        Field("*float", "partial_grads", "threads x conv values (+ rows for the bias)"),
        Field("int64_t", "scratch_floats"),
        Field("int64_t", "out_count", "ZERO: floats"),
    ),
)
_OPERAND = Struct(
    "Operand",
    "A piece of memory.",
    (
        Field("int64_t", "offset", "from where the segment begins, or an address"),
        Field("int64_t", "nbytes"),
        Field("int32_t", "segment"),
        Field("int32_t", "writable", "0: lists that steps only read"),
        Field("int32_t", "storage", "of a tensor kept for the backward pass; 0 for all else"),
        Field("int32_t", "unused"),
    ),
)
_WEIGHT = Struct(
    "Weight",
    "A weight in compressed form with room for its densest phase: what a mutation changes in place. Parts that it "
    "lacks are NULL; what the kernels' lists say stands in Conv.",
    (
        Field("&float", "values gradient first second"),
        Field("&uint32_t", "starts"),
        Field("&void", "columns"),
        Field("&uint32_t", "t_starts"),
        Field("&void", "t_columns"),
        Field("&uint32_t", "t_places"),
        Field("&void", "kernels", "of a pattern: its input channels, row by row"),
        Field("&uint8_t", "patterns"),
        Field("&int32_t", "channels"),
        Field("int64_t", "count capacity", "of values: in use, and room for"),
        Field("int32_t", "form index_bytes"),
        Field("int32_t", "block_height", "1 where there are no blocks"),
        Field("int32_t", "rows in_channels groups kernel_h kernel_w stride_h stride_w dilation_h dilation_w"),
    ),
)
_MUTATION = Struct(
    "Mutation",
    "One mutation of a weight, and what came of it.",
    (
        Field("int64_t", "left grown", "units after pruning, and after growing"),
        Field("int64_t", "seed"),
        Field("&void", "scratch"),
        Field("int64_t", "scratch_bytes"),
        Field("int64_t", "removed added", "out: weights"),
        Field("float", "gradient_weight", "of the gradient in a score"),
        Field("int32_t", "unused"),
    ),
)
_PROGRAM = Struct(
    "Program",
    "The planned list for one size of micro-batch, with its tables.",
    (
        Field("&void", "arena"),
        Field("int64_t", "arena_bytes"),
        Field("&void", "tensors", "of a compiled plan, else NULL"),
        Field("int64_t", "tensors_bytes"),
        Field("&void", "lists", "of a compiled plan, else NULL"),
        Field("int64_t", "lists_bytes"),
        Field("&const Step", "steps"),
        Field("&const Operand", "operands"),
        Field("&const Conv", "convs"),
        Field("&const Norm", "norms"),
        Field("&const Pool", "pools"),
        Field("&const Arithmetic", "arithmetics"),
        Field("&const Update", "updates"),
        Field("&const SampleNorm", "samplenorms"),
        Field("&const Attention", "attentions"),
        Field("&const Tokens", "tokenss"),
        Field("&const Resample", "resamples"),
        Field("&const Product", "products"),
        Field("&const Exchange", "exchanges"),
        Field("&const Param", "params"),
        Field("int32_t", "count", "of steps"),
        Field(
            "int32_t",
            "operand_count conv_count norm_count pool_count arithmetic_count update_count samplenorm_count param_count",
        ),
        Field("int32_t", "attention_count tokens_count resample_count product_count exchange_count"),
        Field("int32_t", "groups samples", "of the micro-batch"),
        Field("int32_t", "in_channels in_h in_w"),
    ),
)
_CALL = Struct(
    "Call",
    "One call: steps [begin, start) once, [start, body) for every micro-batch, [body, end) once.",
    (
        Field("&const float", "images", "(n, channels, height, width)"),
        Field("&const int64_t", "labels", "(n,) or NULL"),
        Field("&const uint8_t", "marks", "(n, ...) or NULL: 0 or 1 for each answer, or a class for each pixel"),
        Field("&const float", "values", "(n, ...) or NULL: what each answer should be"),
        Field("&float", "logits", "(n, classes) or NULL"),
        Field("int64_t", "targets", "numbers of `marks` or `values` for each sample"),
        Field("int64_t", "batch", "terms that the mean loss is taken over: samples, answers or pixels"),
        Field("int32_t", "micro_batches"),
        Field("int32_t", "begin start body end"),
        Field("float", "learning_rate"),
        Field("int32_t", "update_count", "updates before this one, for Adam's bias correction"),
        Field("double", "loss", "out: summed over those terms, added to"),
        Field("int64_t", "correct", "out: added to"),
        Field("&double", "seconds", "out: per step, added to, or NULL"),
    ),
)
STRUCTS = (
    _OPERAND, _VIEW, _GRAD, _NORM, _CONV, _POOL, _ARITHMETIC, _SAMPLE_NORM, _ATTENTION, _TOKENS, _RESAMPLE, _PRODUCT,
    _EXCHANGE, _PARAM, _UPDATE, _STEP, _PROGRAM, _CALL, _WEIGHT, _MUTATION,
)  # fmt: skip


@_known
class View(Structure):
    """How a stored tensor is read."""

    _fields_ = _made(_VIEW)


@_known
class Grad(Structure):
    """A value's gradient, read as its stored tensor's."""

    _fields_ = _made(_GRAD)


@_known
class Norm(Structure):
    """A batch norm."""

    _fields_ = _made(_NORM)


@_known
class Conv(Structure):
    """A convolution or linear layer, and how its work is cut."""

    _fields_ = _made(_CONV)


@_known
class Pool(Structure):
    """A pooling window."""

    _fields_ = _made(_POOL)


@_known
class Arithmetic(Structure):
    """An operation of two operands."""

    _fields_ = _made(_ARITHMETIC)


@_known
class SampleNorm(Structure):
    """A normalisation within each sample."""

    _fields_ = _made(_SAMPLE_NORM)


@_known
class Attention(Structure):
    """Attention between positions."""

    _fields_ = _made(_ATTENTION)


@_known
class Tokens(Structure):
    """Stored tokens, or positions picked."""

    _fields_ = _made(_TOKENS)


@_known
class Resample(Structure):
    """How rows and columns are made of others."""

    _fields_ = _made(_RESAMPLE)


@_known
class Product(Structure):
    """Products of matrices."""

    _fields_ = _made(_PRODUCT)


@_known
class Exchange(Structure):
    """Numbers put into another order."""

    _fields_ = _made(_EXCHANGE)


@_known
class Param(Structure):
    """A trained tensor."""

    _fields_ = _made(_PARAM)


@_known
class Update(Structure):
    """The optimizer over all trained tensors."""

    _fields_ = _made(_UPDATE)


@_known
class Step(Structure):
    """One step of the planned list."""

    _fields_ = _made(_STEP)


@_known
class Operand(Structure):
    """A piece of memory."""

    _fields_ = _made(_OPERAND)


@_known
class Program(Structure):
    """The planned list for one size of micro-batch, with its tables."""

    _fields_ = _made(_PROGRAM)


@_known
class Call(Structure):
    """One run of a program, and what comes back."""

    _fields_ = _made(_CALL)


@_known
class Weight(Structure):
    """A weight in compressed form with room for its densest phase."""

    _fields_ = _made(_WEIGHT)


@_known
class Mutation(Structure):
    """One mutation of a weight, and what came of it."""

    _fields_ = _made(_MUTATION)


# The tables whose rows a step names, by the field of the program that holds their number without `_count`.
TABLES = {field.kind[1:].lower(): _classes[field.kind[1:]] for field in _STEP.fields if field.kind[0] == "@"}


def table_of(row: Structure) -> str:
    """The table that a row belongs to."""
    return type(row).__name__.lower()


def digest() -> str:
    """What the library must answer to be the one that this package was written for."""
    return declared.digest(ENUMS, CONSTANTS, STRUCTS, READS_SAVED)
