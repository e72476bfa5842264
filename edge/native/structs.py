"""The C structs of src/mest.h, field by field; `edge.native.library` checks their sizes against the library's."""

from __future__ import annotations

from ctypes import POINTER, Structure, c_double, c_float, c_int32, c_int64, c_void_p


def _fields(**kinds: str) -> list[tuple[str, type]]:
    """Fields from `type="name name ..."` groups in order; a trailing number in the type keeps keywords apart."""
    types = {"p": c_void_p, "i": c_int32, "q": c_int64, "f": c_float, "d": c_double}
    return [(name, types[kind[0]]) for kind, names in kinds.items() for name in names.split()]


class View(Structure):
    """How a stored tensor is read."""

    _fields_ = _fields(p="data mean scale shift", i="act channels height width")


class Grad(Structure):
    """A value's gradient, read as its stored tensor's."""

    _fields_ = _fields(p="data stored mean scale shift slope offset", i="act channels height width")


class Norm(Structure):
    """A batch norm."""

    _fields_ = _fields(
        p="gamma beta running_mean running_var mean rstd scale slope offset gamma_grad beta_grad partials",
        f="epsilon momentum",
        i="channels frozen",
    )


class Conv(Structure):
    """A convolution or linear layer, and how its work is cut."""

    _fields_ = _fields(
        p="values grads starts columns t_starts t_columns t_places channel_list bias bias_grad",
        q="entries",
        i="format block_height index_bytes rows in_channels groups kernel_h kernel_w stride_h stride_w dilation_h "
        "dilation_w pad_top pad_left in_h in_w out_h out_w tile_rows tiles parts plane_w x_rows d_rows",
    )


class Pool(Structure):
    """A pooling window."""

    _fields_ = _fields(
        i="kernel_h kernel_w stride_h stride_w dilation_h dilation_w pad_top pad_left pad_bottom pad_right "
        "out_h out_w count_include_pad unused"
    )


class Param(Structure):
    """A trained tensor."""

    _fields_ = _fields(p="values grads first second", q="count")


class Update(Structure):
    """The optimizer over all trained tensors."""

    _fields_ = _fields(i1="kind nesterov", d="beta1 beta2", f="momentum weight_decay epsilon", i2="count", p="params")


class Step(Structure):
    """One step of the planned list."""

    _fields_ = [
        *_fields(i1="op act accumulate input_grad weight_grad classes", f="smoothing", i2="unused"),
        ("a", View),
        ("b", View),
        ("g", Grad),
        ("sums", Grad),
        ("out", c_void_p),
        ("out_count", c_int64),
        ("conv", POINTER(Conv)),
        ("norm", POINTER(Norm)),
        ("sums_norm", POINTER(Norm)),
        ("pool", POINTER(Pool)),
        ("channel_list", c_void_p),
        ("update", POINTER(Update)),
        ("scratch", c_void_p),
        ("scratch_floats", c_int64),
        ("partial_grads", c_void_p),
    ]


class Program(Structure):
    """The planned list for one size of micro-batch."""

    _fields_ = [("steps", POINTER(Step)), *_fields(i="count groups samples in_channels in_h in_w")]


class Call(Structure):
    """One run of a program, and what comes back."""

    _fields_ = _fields(
        p1="images labels logits",
        q1="batch",
        i1="micro_batches begin start body end",
        f="learning_rate",
        i2="update_count",
        d="loss",
        q2="correct",
        p2="seconds",
    )


# In the order of mest_struct_bytes.
STRUCTS = (View, Grad, Norm, Conv, Pool, Param, Update, Step, Program, Call)

OPS = (
    "input",
    "conv",
    "conv_grad",
    "norm_sums",
    "norm_finish",
    "norm_grad_sums",
    "norm_grad_finish",
    "add",
    "copy",
    "push_grad",
    "max_pool",
    "max_pool_grad",
    "avg_pool",
    "avg_pool_grad",
    "select",
    "select_grad",
    "loss",
    "zero",
    "update",
    "output",
)
NO_ACT, RELU, RELU6 = 0, 1, 2
DENSE, CSR, BLOCK = 0, 1, 2
