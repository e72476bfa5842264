"""Shapes that inference alone leaves open beside a free batch."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.graph import shapes
from export.passes.gather_nd import gather_instead_of_gather_nd


def _model(nodes, inputs, outputs, stored):
    graph = helper.make_graph(
        nodes, "made", inputs, outputs, [numpy_helper.from_array(array, name) for name, array in stored.items()]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def test_sizes_beside_a_free_batch_are_known_and_the_batch_stays_free():
    nodes = [
        helper.make_node("Shape", ["x"], ["count"], start=0, end=1),
        helper.make_node("Squeeze", ["count", "zero"], ["scalar"]),
        helper.make_node("Reshape", ["scalar", "minus"], ["vector"]),
        helper.make_node("Concat", ["vector", "minus", "two"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
        helper.make_node("Reshape", ["y", "rows"], ["joined"]),
    ]
    stored = {"zero": np.array([0]), "minus": np.array([-1]), "two": np.array([2]), "rows": np.array([-1, 3])}
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 6])]
    model = _model(nodes, given, [helper.make_tensor_value_info("joined", TensorProto.FLOAT, None)], stored)
    found = shapes(model)
    assert found["y"] == (None, 3, 2)
    assert found["joined"] == (None, 3)  # 2 rows of every image
    assert found["x"] == (None, 6)
    assert not model.graph.value_info, "the graph itself stays as it is"


@pytest.mark.parametrize("seed", range(3))
def test_whole_rows_are_gathered_as_gather_nd_does(seed):
    random = np.random.default_rng(seed)
    index = random.integers(0, 7, (3, 5, 1))
    nodes = [helper.make_node("GatherND", ["table", "index"], ["out"])]
    given = [helper.make_tensor_value_info("table", TensorProto.FLOAT, [7, 4])]
    model = _model(nodes, given, [helper.make_tensor_value_info("out", TensorProto.FLOAT, [3, 5, 4])], {"index": index})
    table = random.normal(size=(7, 4)).astype(np.float32)
    before = ort.InferenceSession(model.SerializeToString()).run(None, {"table": table})[0]
    assert gather_instead_of_gather_nd(model) == 1
    after = ort.InferenceSession(model.SerializeToString()).run(None, {"table": table})[0]
    assert [node.op_type for node in model.graph.node] == ["Gather"]
    np.testing.assert_array_equal(after, before)
    onnx.checker.check_model(model, full_check=True)
