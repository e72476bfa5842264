"""What becomes one norm when a graph is lowered, and what does not."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx.reference import ReferenceEvaluator

from export.ort.instance_norm import spell_out_instance_norm
from export.ort.layer_norm import shift_layer_norms
from export.passes.sample_norm import join_sample_norms

HEAD = '<ir_version: 10, opset_import: ["": 18]>\n'
GROUPED = (
    "agraph (float[n,6,4,4] x) => (float[n,6,4,4] y) <float[6] w = {1,2,3,4,5,6}, int64[3] to = {0,G,-1}, "
    "float[G] one = {ONES}, float[G] zero = {ZEROS}, int64[2] beside = {1,2}> { r = Reshape(x, to) "
    "i = InstanceNormalization(r, one, zero) s = Shape(x) b = Reshape(i, s) u = Unsqueeze(w, beside) END }"
)
TURNED = (
    "agraph (float[n,6,4,4] x) => (float[n,6,4,4] y) <float[6] w = {1,2,3,4,5,6}> { t = Transpose<perm = [0,2,3,1]>(x) "
    "l = LayerNormalization<axis = AXIS>(t, w) y = Transpose<perm = [0,3,1,2]>(l) }"
)


def parsed(text: str) -> onnx.ModelProto:
    """The graph of a text."""
    return onnx.parser.parse_model(HEAD + text)


def grouped(groups: int, end: str, ones: str = "1") -> onnx.ModelProto:
    """Group norm as PyTorch's exporter writes it."""
    text = GROUPED.replace("G}", f"{groups}}}").replace("G,-1", f"{groups},-1").replace("float[G]", f"float[{groups}]")
    text = text.replace("ONES", ",".join([ones] * groups)).replace("ZEROS", ",".join(["0"] * groups))
    return parsed(text.replace("END", end))


def kinds(model: onnx.ModelProto) -> list[str]:
    """The operators of a graph."""
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("end", ["y = Mul(b, u)", "y = Mul(u, b)", "m = Mul(b, u) y = Add(u, m)", "y = Add(b, u)"])
def test_group_norm_becomes_one_node(end: str) -> None:
    """Whichever of scale and shift it has, in whichever order."""
    model = grouped(3, end)
    assert join_sample_norms(model) == 1
    assert kinds(model) == ["GroupNormalization"]
    (node,) = model.graph.node
    assert list(node.input) == ["x", "w" if "Mul" in end else "", "w" if "Add" in end else ""]


@pytest.mark.parametrize(
    "model",
    [
        grouped(3, "y = Mul(b, u)", ones="2"),
        parsed(TURNED.replace("AXIS", "2")),
        parsed(TURNED.replace("AXIS", "-1").replace("0,3,1,2", "0,2,1,3").replace("[n,6,4,4] y", "[n,4,4,6] y")),
    ],
    ids=["scaled within", "other axes", "turned otherwise"],
)
def test_what_is_something_else_stays(model: onnx.ModelProto) -> None:
    """A scale of the groups, statistics over more than channels, another order behind."""
    before = kinds(model)
    assert join_sample_norms(model) == 0
    assert kinds(model) == before


def test_what_is_read_between_stays() -> None:
    """The normalised value is read before its scale as well: the node writes that."""
    model = grouped(2, "m = Mul(b, u) y = Add(m, b)")
    assert join_sample_norms(model) == 1
    assert kinds(model) == ["GroupNormalization", "Unsqueeze", "Mul", "Add"]


def test_layer_norm_over_channels_becomes_one_node() -> None:
    """Between two transposes."""
    model = parsed(TURNED.replace("AXIS", "-1"))
    assert join_sample_norms(model) == 1
    assert kinds(model) == ["ChannelNormalization"]


@pytest.mark.parametrize("mean", [0.0, 1000.0])
def test_spelled_out_instance_norm_computes_the_same(mean: float) -> None:
    """Far from zero as well."""
    text = (
        "agraph (float[n,3,5] x) => (float[n,3,5] y) <float[3] w = {1,2,3}, float[3] v = {3,2,1}> "
        "{ y = InstanceNormalization<epsilon = 0.001>(x, w, v) }"
    )
    model = parsed(text)
    images = np.random.default_rng(0).normal(mean, 1, (4, 3, 5)).astype(np.float32)
    exact = images.astype(np.float64)
    exact = (exact - exact.mean(2, keepdims=True)) / np.sqrt(exact.var(2, keepdims=True) + 0.001)
    exact = exact * np.array([1, 2, 3])[:, None] + np.array([3, 2, 1])[:, None]
    assert spell_out_instance_norm(model) == 1
    assert "InstanceNormalization" not in kinds(model)
    (found,) = ReferenceEvaluator(model).run(None, {"x": images})
    np.testing.assert_allclose(found, exact, atol=1e-5 + 1e-6 * mean)
    assert spell_out_instance_norm(model) == 0


def test_layer_norm_without_a_shift_gets_zeros() -> None:
    """And one with a shift stays."""
    model = parsed("agraph (float[n,3] x) => (float[n,3] y) <float[3] w = {1,2,3}> { y = LayerNormalization(x, w) }")
    assert shift_layer_norms(model) == 1
    assert list(model.graph.node[0].input) == ["x", "w", "y.shift"]
    assert shift_layer_norms(model) == 0
