"""Shapes that inference alone leaves open beside a free batch."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from export.graph import shapes


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
