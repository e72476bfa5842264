"""Which operators fold into how a tensor is read, and which store a tensor of their own."""

from __future__ import annotations

import pytest
from native_networks import Builder

from edge.engines.native.graph import build_graph
from edge.engines.native.node import Node
from edge.engines.native.operators.arithmetic import Addition
from edge.engines.native.operators.convolution import Convolution
from edge.engines.native.operators.pooling import GlobalPooling
from edge.engines.native.operators.registry import RULES, find_rule
from edge.engines.native.operators.stored import ALIAS, COPY, GIVEN
from edge.errors import InputError
from edge.libmest.vocabulary import ACTS
from edge.network import OPERATORS, Foreign, Network

RELU, RELU6 = ACTS.index("relu"), ACTS.index("relu6")


def kinds(network: Network) -> list[type]:
    """The families of all nodes."""
    return [type(node.family) for node in build_graph(network)]


def test_norm_and_activation_fold_into_the_only_reader() -> None:
    """conv, norm, relu are one node: the norm and the activation are applied when it is read."""
    b = Builder((3, 4, 4), 2)
    network = b.head(b.relu(b.norm(b.conv("input", 4))))
    assert kinds(network) == [type(GIVEN), Convolution, GlobalPooling, Convolution]
    node = build_graph(network)[1]
    assert node.norm is not None
    assert (node.store_act, node.read_act, node.plain) == (0, RELU, False)


def test_without_a_norm_the_activation_is_stored() -> None:
    """The stored floats are then the value."""
    b = Builder((3, 4, 4), 2)
    node = build_graph(b.head(b.relu6(b.conv("input", 4))))[1]
    assert (node.store_act, node.read_act, node.plain, node.act) == (RELU6, 0, True, RELU6)


def test_a_value_that_others_read_as_well_is_read_through_an_alias() -> None:
    """The sum reads the convolution bare and through its activation: both share one tensor."""
    b = Builder((3, 4, 4), 2)
    x = b.conv("input", 4)
    nodes = build_graph(b.head(b.add(b.relu(x), x)))
    conv, alias, total = nodes[1], nodes[2], nodes[3]
    assert alias.family is ALIAS
    assert alias.base is conv
    assert isinstance(total.family, Addition)
    assert [value.node for value in total.inputs] == [alias, conv]
    assert conv.consumers == [alias, total]


def test_what_is_folded_already_is_stored_once_more() -> None:
    """A second norm reads the first one's value from a copy."""
    b = Builder((3, 4, 4), 2)
    nodes = build_graph(b.head(b.norm(b.norm(b.conv("input", 4)))))
    assert [node.family for node in nodes[2:4]] == [COPY, ALIAS]
    assert nodes[3].base is nodes[2]


def test_flattening_a_single_cell_stores_nothing() -> None:
    """With more cells a value that is read through something is copied first."""
    b = Builder((3, 4, 4), 2)
    assert COPY not in [node.family for node in build_graph(b.head(b.norm(b.conv("input", 4))))]
    b = Builder((3, 4, 4), 2)
    b.linear(b.flatten(b.norm(b.conv("input", 4))), 2)
    nodes = build_graph(b.network())
    assert nodes[2].family is COPY
    assert nodes[3].inputs[0].image == (64, 1, 1)


def test_the_logits_are_stored_last() -> None:
    """A network that ends in a norm gets a copy of its value."""
    b = Builder((3, 4, 4), 2)
    b.norm(b.linear(b.flatten("input"), 2))
    last: Node = build_graph(b.network())[-1]
    assert last.family is COPY
    assert last.plain


def test_every_operator_of_the_network_has_a_rule() -> None:
    """All but those that only onnxruntime computes, which are refused with the names of the others."""
    assert set(RULES) == set(OPERATORS.values()) - {Foreign}
    foreign = Foreign("odd", ("input",), (1,), "Gelu", None, None, ())
    with pytest.raises(InputError, match=r"odd: no operator foreign here; it computes add, .*select"):
        find_rule(foreign)
