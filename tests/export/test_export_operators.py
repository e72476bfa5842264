"""The registry of ONNX operators: what has a rule, and what a node without one becomes."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from export.lower import describe, lower
from export.operators.registry import RULES, rule_of
from export.operators.rule import Rule
from mest.errors import InputError


def graph_of(*kinds: str) -> onnx.ModelProto:
    """A chain of operators without attributes over images, the last one flattened to the logits."""
    nodes, value = [], "image"
    for number, kind in enumerate(kinds):
        made = f"value{number}"
        nodes.append(helper.make_node(kind, [value], [made], made))
        value = made
    nodes.append(helper.make_node("Flatten", [value], ["logits"], "logits"))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 2, 3, 3])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 18])
    return helper.make_model(helper.make_graph(nodes, "chain", [image], [logits]))


@pytest.mark.parametrize("kind", ["Size", "Sinh", "Inputs", "Parameter", "Optional"])
def test_an_operator_without_a_rule_is_refused_by_its_name(kind: str) -> None:
    """Whatever it is called: a name that some part of export bears as well is no rule."""
    with pytest.raises(InputError, match=f"operator {kind} .*the native engine has no such operator"):
        lower(graph_of("Relu", kind), ())


def test_size_is_described_as_a_foreign_operator() -> None:
    """A model with ONNX's Size is described, not answered with a traceback."""
    network, missing = describe(graph_of("Relu", "Size"), ())
    assert [operator.op for operator in network.operators] == ["relu", "foreign", "flatten"]
    assert "operator Size" in missing


def test_another_domain_shares_no_rule() -> None:
    """A custom operator called Relu is not ONNX's."""
    assert rule_of(helper.make_node("Relu", ["x"], ["y"])) is RULES["Relu"]
    assert rule_of(helper.make_node("Relu", ["x"], ["y"], domain="mine")) is None


def test_every_rule_lowers() -> None:
    """A rule without a way into the network would be an error in the middle of an export."""
    assert all(type(rule).lower is not Rule.lower for rule in RULES.values())
