"""Each graph pass on a graph written by hand: what it changes, that values stay, and that it can do nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import parser
from onnx.reference import ReferenceEvaluator

from export.graph import remove_unused, set_tensor, shapes
from export.ort.average_pool import convolve_instead_of_pool
from export.ort.relu6 import split_relu6
from export.passes.cast_like import replace_cast_like
from export.passes.ceil_mode import pad_instead_of_ceil
from export.passes.constants import fold_constants
from export.passes.flatten import restore_flatten
from export.passes.global_pool import restore_global_pool
from export.passes.identity import remove_identity
from export.passes.layer_norm import name_layer_norm_outputs
from export.passes.linear import restore_linear
from export.passes.names import name_by_module
from export.passes.softmax_guard import drop_softmax_guard
from export.passes.split import slice_instead_of_split
from export.passes.unit_factor import drop_unit_factor
from export.passes.zero_bias import drop_zero_bias

Pass = Callable[[onnx.ModelProto], int]
IMAGE = "float[batch,2,5,7] x"
NOTHING = "agraph (float[batch,2,5,7] x) => (float[batch,2,5,7] y) { y = Relu(x) }"


def graph_of(text: str) -> onnx.ModelProto:
    """A model of opset 18 from ONNX's own text form."""
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["" : 18]> {text}')
    onnx.checker.check_model(model)
    return model


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def run(model: onnx.ModelProto, batch: int = 3) -> np.ndarray:
    inputs = {}
    for number, value in enumerate(model.graph.input):
        shape = [dim.dim_value or batch for dim in value.type.tensor_type.shape.dim]
        inputs[value.name] = np.random.default_rng(number).standard_normal(shape).astype(np.float32) * 4
    return ReferenceEvaluator(model).run(None, inputs)[0]


CASES: dict[str, tuple[Pass, str, list[str]]] = {
    "a chunk is a slice of what its number says": (
        slice_instead_of_split,
        f"agraph ({IMAGE}) => (float[batch,2,2,7] y) <int64 n = {{3}}, int64 last = {{-1}}> "
        "{ s = SplitToSequence <axis = 2> (x, n) y = SequenceAt(s, last) }",
        ["Slice"],
    ),
    "parts of given lengths are slices": (
        slice_instead_of_split,
        f"agraph ({IMAGE}) => (float[batch,2,4,7] y) <int64[3] n = {{1, 2, 2}}> "
        "{ a, b, c = Split <axis = -2> (x, n) y = Concat <axis = 2> (c, b) }",
        ["Slice", "Slice", "Slice", "Concat"],
    ),
    "CastLike becomes Cast": (
        replace_cast_like,
        f"agraph ({IMAGE}) => (float[batch,2,5,7] y) "
        f"{{ c = Constant <value_float = 2.0> () d = CastLike(c, x) y = Mul(x, d) }}",
        ["Constant", "Cast", "Mul"],
    ),
    "constants and static shapes are folded": (
        fold_constants,
        f"agraph ({IMAGE}) => (float[batch,2,5,7] y) "
        f"{{ s = Shape <start = 1, end = 2> (x) f = Cast <to = 1> (s) y = Mul(x, f) }}",
        ["Mul"],
    ),
    "the zero bias of the exporter goes": (
        drop_zero_bias,
        f"agraph ({IMAGE}) => (float[batch,1,4,6] y) <float[1,2,2,2] w = {{1,2,3,4,5,6,7,8}}, float[1] zero = {{0}}> "
        "{ y = Conv <kernel_shape = [2, 2]> (x, w, zero) }",
        ["Conv"],
    ),
    "a factor and a divisor of one go": (
        drop_unit_factor,
        f"agraph ({IMAGE}) => (float[batch,2,5,7] y) <float one = {{1}}, float[1] also = {{1}}, float two = {{2}}> "
        "{ a = Mul(one, x) b = Elu(a) c = Div(b, also) d = Div(one, c) e = Mul(d, two) y = Mul(e, one) }",
        ["Elu", "Div", "Mul"],
    ),
    "identity and dropout go": (
        remove_identity,
        f"agraph ({IMAGE}) => (float[batch,2,5,7] y) {{ a = Identity(x) b = Relu(a) c = Dropout(b) y = Identity(c) }}",
        ["Relu"],
    ),
    "transposed MatMul and Add become Gemm": (
        restore_linear,
        "agraph (float[batch,2] x) => (float[batch,3] y) <float[3,2] w = {1,2,3,4,5,6}, float[3] b = {1,2,3}> "
        "{ t = Transpose <perm = [1, 0]> (w) m = MatMul(x, t) y = Add(m, b) }",
        ["Transpose", "Gemm"],
    ),
    "a mean over the image becomes global pooling": (
        restore_global_pool,
        f"agraph ({IMAGE}) => (float[batch,2] y) <int64[2] axes = {{-1, -2}}> "
        f"{{ y = ReduceMean <keepdims = 0> (x, axes) }}",
        ["GlobalAveragePool", "Flatten"],
    ),
    "an average pool over the whole image becomes global": (
        restore_global_pool,
        f"agraph ({IMAGE}) => (float[batch,2,1,1] y) {{ y = AveragePool <kernel_shape = [5, 7]> (x) }}",
        ["GlobalAveragePool"],
    ),
    "a reshape to features becomes Flatten": (
        restore_flatten,
        f"agraph ({IMAGE}) => (float[batch,70] y) <int64[2] s = {{-1, 70}}> {{ y = Reshape(x, s) }}",
        ["Flatten"],
    ),
    "ceil_mode becomes padding": (
        pad_instead_of_ceil,
        f"agraph ({IMAGE}) => (float[batch,2,3,4] y) "
        f"{{ y = MaxPool <kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1> (x) }}",
        ["MaxPool"],
    ),
    "average pooling becomes a convolution": (
        convolve_instead_of_pool,
        f"agraph ({IMAGE}) => (float[batch,2,3,4] y) "
        "{ y = AveragePool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1], count_include_pad = 1> (x) }",
        ["Conv"],
    ),
    "padding that does not count is divided out": (
        convolve_instead_of_pool,
        f"agraph ({IMAGE}) => (float[batch,2,3,4] y) "
        "{ y = AveragePool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (x) }",
        ["Conv", "Mul"],
    ),
    "ReLU6 becomes ReLU and a bound": (
        split_relu6,
        f"agraph ({IMAGE}) => (float[batch,2,5,7] y) <float low = {{0}}, float high = {{6}}> "
        f"{{ y = Clip(x, low, high) }}",
        ["Relu", "Min"],
    ),
}


@pytest.mark.parametrize("case", list(CASES))
def test_pass_changes_the_graph_and_not_its_values(case: str) -> None:
    """The operators are those expected, and the outputs equal those before within rounding."""
    run_pass, text, expected = CASES[case]
    model = graph_of(text)
    before = run(model)
    assert run_pass(model) >= 1
    assert kinds(model) == expected
    remove_unused(model.graph)
    onnx.checker.check_model(model, full_check=True)
    np.testing.assert_allclose(run(model), before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("run_pass", sorted({case[0] for case in CASES.values()} | {name_layer_norm_outputs}, key=str))
def test_pass_does_nothing_where_there_is_nothing(run_pass: Pass) -> None:
    """A graph without what the pass looks for stays as it is, byte for byte."""
    model = graph_of(NOTHING)
    before = model.SerializeToString()
    assert run_pass(model) == 0
    assert model.SerializeToString() == before


def test_parameters_are_never_folded() -> None:
    """A product of two parameters stays a product: training moves both."""
    model = graph_of(
        "agraph (float[batch,2] x) => (float[batch,2] y) <float[2] a = {1,2}, float[2] b = {3,4}> "
        "{ c = Mul(a, b) y = Mul(x, c) }"
    )
    assert fold_constants(model, {"a", "b"}) == 0
    assert fold_constants(model) == 1


def test_a_parameter_that_is_one_stays_a_factor() -> None:
    """Training moves it; and one between input and output has nothing else to be."""
    model = graph_of(
        f"agraph ({IMAGE}) => (float[batch,2,5,7] y) <float[1] scale = {{1}}> {{ r = Relu(x) y = Mul(r, scale) }}"
    )
    assert drop_unit_factor(model, {"scale"}) == 0
    assert drop_unit_factor(model) == 1
    alone = graph_of(f"agraph ({IMAGE}) => (float[batch,2,5,7] y) <float one = {{1}}> {{ y = Mul(x, one) }}")
    assert drop_unit_factor(alone) == 0


def test_bias_of_a_module_stays_even_if_zero() -> None:
    """A parameter "conv.bias" of zeros is a bias that training may move."""
    model = graph_of(CASES["the zero bias of the exporter goes"][1])
    model.graph.initializer[1].name = model.graph.node[0].input[2] = "conv.bias"
    assert drop_zero_bias(model) == 0


@pytest.mark.parametrize(("size", "kernel", "stride", "pad"), [(7, 3, 2, 0), (6, 3, 2, 1), (5, 2, 2, 0), (9, 4, 3, 2)])
def test_ceil_mode_gives_the_size_that_pytorch_gives(size: int, kernel: int, stride: int, pad: int) -> None:
    """The padded pool's output size and values are those of torch's max_pool2d."""
    import torch

    model = graph_of(
        f"agraph (float[1,1,{size},{size}] x) => (float[1,1,h,w] y) "
        f"{{ y = MaxPool <kernel_shape = [{kernel}, {kernel}], "
        f"strides = [{stride}, {stride}], pads = [{pad}, {pad}, {pad}, {pad}], ceil_mode = 1> (x) }}"
    )
    assert pad_instead_of_ceil(model) == 1
    image = np.random.default_rng(0).standard_normal((1, 1, size, size)).astype(np.float32)
    wanted = torch.nn.functional.max_pool2d(torch.from_numpy(image), kernel, stride, pad, ceil_mode=True).numpy()
    del model.graph.output[0].type.tensor_type.shape.dim[2:]
    (found,) = ReferenceEvaluator(model).run(None, {"x": image})
    np.testing.assert_array_equal(found, wanted)


def test_layer_norm_gets_three_outputs() -> None:
    """Mean and inverse deviation are named, and the first output keeps its name."""
    model = graph_of(
        "agraph (float[batch,4] x) => (float[batch,4] y) <float[4] s = {1,1,1,1}> { y = LayerNormalization(x, s) }"
    )
    assert name_layer_norm_outputs(model) == 1
    assert list(model.graph.node[0].output) == ["y", "y_mean", "y_inverse_deviation"]


def test_values_without_scopes_are_named_by_kind_and_counted() -> None:
    """Two ReLUs of unknown origin become "relu" and "relu_2"; the output keeps its name."""
    model = graph_of("agraph (float[batch,2] x) => (float[batch,2] y) { a = Relu(x) b = Relu(a) y = Relu(b) }")
    assert name_by_module(model) == 2
    assert [node.output[0] for node in model.graph.node] == ["relu", "relu_2", "y"]
    assert name_by_module(model) == 0


def test_shapes_leave_the_batch_open() -> None:
    """A dimension with a name is None."""
    assert shapes(graph_of(NOTHING))["y"] == (None, 2, 5, 7)


def test_a_split_by_a_computed_length_stays() -> None:
    """What its parts are is not known."""
    text = f"agraph ({IMAGE}, int64 n) => (float[batch,2,3,7] y) <int64 first = {{0}}> "
    model = graph_of(text + "{ s = SplitToSequence <axis = 2> (x, n) y = SequenceAt(s, first) }")
    assert slice_instead_of_split(model) == 0
    assert kinds(model) == ["SplitToSequence", "SequenceAt"]


@pytest.mark.parametrize(("row", "dropped"), [("0, -inf, -inf", 1), ("-inf, -inf, -inf", 0)])
def test_a_guard_goes_where_no_row_is_hidden_whole(row: str, dropped: int) -> None:
    """And stays where the mask leaves a row nothing, whose weights are zeros."""
    model = graph_of(
        "agraph (float[batch,2,3] x) => (float[batch,2,3] y) <float[2,3] m = {0,0,0,0,0,0}, float z = {0}> "
        "{ a = Add(x, m) s = Softmax <axis = -1> (a) n = IsNaN(s) w = Where(n, z, s) y = Relu(w) }"
    )
    mask = np.array([[0, 0, 0], [float(number) for number in row.split(",")]], np.float32)
    set_tensor(model.graph, "m", mask)
    before = run(model)
    assert drop_softmax_guard(model) == dropped
    remove_unused(model.graph)
    assert ("IsNaN" in kinds(model)) == (not dropped)
    np.testing.assert_array_equal(run(model), before)
