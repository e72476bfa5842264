"""The other operators, graphs that branch and join in every way, and the loss, against the numpy reference."""

from __future__ import annotations

import pytest
from native_check import assert_step
from native_networks import Builder

from edge.engines.native.operators.activation import Activation
from edge.engines.native.operators.registry import RULES
from edge.libmest.library import instruction_sets
from edge.network import Network, Operator
from edge.network.operators.activation_functions import Exp, Sigmoid, Silu, Sqrt
from edge.plan.choices import Choices, OptimizerChoice

FOUR = Choices(batch_size=4, micro_batch=4, threads=2)


def preactivation(b: Builder) -> Network:
    """Sums that are read through batch norm by one branch and as they are by another."""
    x = b.conv("input", 8)
    y = b.conv(b.relu(b.norm(x)), 8)
    x = b.add(x, y)
    y = b.conv(b.relu(b.norm(x)), 8)
    return b.head(b.relu(b.norm(b.add(x, y))))


def reused(b: Builder) -> Network:
    """Batch norm's value and its ReLU are both read again; a value is added to itself."""
    x = b.norm(b.conv("input", 8))
    y = b.relu(x)
    z = b.add(b.conv(y, 8), x)
    z = b.add(z, z)
    return b.head(b.add(b.add(z, y), b.relu6(z)))


def inverted(b: Builder) -> Network:
    """A residual block of depthwise convolutions with ReLU6 and a linear end, as mobilenet's."""
    x = b.norm(b.conv("input", 8))
    y = b.relu6(b.norm(b.conv(x, 16, 1, 1, 0)))
    y = b.relu6(b.norm(b.conv(y, 16, 3, groups=16)))
    return b.head(b.add(x, b.norm(b.conv(y, 8, 1, 1, 0))))


def pools(b: Builder) -> Network:
    """Every kind of pooling, of stored values and of values read through batch norm."""
    x = b.max_pool(b.relu(b.norm(b.conv("input", 8))), 3, 2, 1)
    y = b.avg_pool(x, 3, 1, 1, include=False)
    x = b.add(x, b.avg_pool(y, 3, 1, 1))
    x = b.relu(b.max_pool(x, 2, 1, 0, 2))
    return b.head(b.avg_pool(x, 2, 2, 0, ceil=True))


def selected(b: Builder) -> Network:
    """Channels picked in some order from a value with another reader."""
    x = b.relu(b.norm(b.conv("input", 8)))
    y = b.conv(b.select(x, [5, 1, 7]), 8)
    return b.head(b.add(x, y))


def flattened(b: Builder) -> Network:
    """Batch norm before and after flattening, one cell and many."""
    x = b.norm(b.linear(b.flatten(b.norm(b.conv("input", 4))), 12))
    b.linear(b.relu(x), b.classes)
    return b.network()


def chain(b: Builder) -> Network:
    """Convolutions with bias and without batch norm."""
    x = b.max_pool(b.relu(b.conv("input", 8, bias=True)))
    return b.head(b.relu(b.conv(b.relu6(b.conv(x, 8, bias=True)), 8, bias=True)))


def activated(b: Builder) -> Network:
    """Batch norm of the input, activations of activations, and logits that are read through batch norm."""
    x = b.relu6(b.relu(b.norm("input")))
    x = b.relu(b.norm(b.relu(b.conv(x, 8))))
    x = b.linear(b.flatten(b.global_pool(x)), b.classes)
    b.norm(x)
    return b.network()


def joined(b: Builder) -> Network:
    """Joined channels behind batch norm and not, joined again, one part twice, and joined vectors."""
    x = b.relu(b.norm(b.conv("input", 6)))
    y = b.conv(x, 5, fmt="csr")
    z = b.relu(b.norm(b.concat(x, y)))
    z = b.relu(b.concat(b.norm(b.conv(z, 4)), y, y, b.activation(Silu, b.conv(z, 3))))
    v = b.flatten(b.avg_pool(b.concat(z, x, "input")))
    v = b.concat(b.relu(b.linear(v, 5)), b.flatten(b.global_pool(z)))
    b.linear(v, b.classes)
    return b.network()


def resampled(b: Builder) -> Network:
    """Padded in every way, cut, made larger and smaller, of stored values and of those read through batch norm."""
    x = b.relu(b.norm(b.pad(b.conv("input", 4), (1, 2, 0, 3), "reflect")))
    y = b.resize(b.activation(Silu, b.norm(b.conv(x, 4))), (7, 13), "half_pixel")
    z = b.relu(b.norm(b.resize(y, (12, 5), "asymmetric", "floor", (1.7, 0.4))))
    y = b.resize(b.add(b.pad(z, (-2, 1, -1, 2), "zeros"), b.resize(x, (9, 8), "align_corners")), (9, 9), "half_pixel")
    x = b.pad(
        b.concat(y, b.resize("input", (9, 9), "pytorch_half_pixel", "round_prefer_floor")), (3, 0, 1, 2), "replicate"
    )
    return b.head(b.relu(b.conv(x, 5)))


def transposed(b: Builder) -> Network:
    """Transposed convolutions in every format, dilated, grouped, depthwise, of values read through batch norm."""
    x = b.relu(b.norm(b.conv("input", 8, stride=2)))
    y = b.relu(b.conv_transpose(x, 6, (3, 2), (2, 2), (1, 0), (1, 0), fmt="csr", bias=True))
    x = b.relu(
        b.norm(b.conv_transpose(b.norm(b.conv_transpose(x, 8, (3, 4), (1, 1), (0, 2), groups=8)), 4, fmt="block"))
    )
    y = b.activation(Silu, b.norm(b.conv_transpose(y, 4, (3, 3), (3, 1), (1, 2), (2, 0), (1, 2), groups=2, bias=True)))
    x = b.add(b.pad(x, (0, 0, 0, 0)), b.resize(y, b.shapes[x][1:], "half_pixel"))
    x = b.relu(b.norm(b.conv_transpose(x, 3, (3, 3), (2, 2), (2, 2), fmt="pattern")))
    return b.head(b.conv_transpose(b.concat(x, x), 4, (1, 1), (1, 1), fmt="masked"))


GRAPHS = (transposed, resampled, joined, preactivation, reused, inverted, pools, selected, flattened, chain, activated)


# Without end above, and infinitely steep at zero: of numbers between zero and one.
BOUNDED = (Exp, Sqrt)


def everywhere(b: Builder, kind: type[Operator]) -> Network:
    """An activation of the images, folded and not: behind layer, norm, sum, pool and itself, and of shared values."""

    def stands(x: str) -> str:
        return b.activation(kind, b.activation(Sigmoid, x) if kind in BOUNDED else x)

    x = stands(b.conv(stands("input"), 8, bias=True))
    y = stands(b.norm(b.conv(x, 8)))
    z = stands(b.add(y, x))
    z = stands(stands(b.conv(z, 8)))
    y = b.norm(stands(b.add(z, b.select(y, list(range(7, -1, -1))))))
    x = b.add(stands(y), b.conv(y, 8))
    x = stands(b.avg_pool(stands(b.max_pool(x, 3, 1, 1))))
    x = stands(b.linear(b.flatten(x), 6))
    stands(b.linear(x, b.classes))
    return b.network()


ACTIVATION_RULES = {kind: rule for kind, rule in RULES.items() if isinstance(rule, Activation)}


@pytest.mark.parametrize("recompute", ["none", "activations", "blocks"])
@pytest.mark.parametrize(
    ("kind", "of_value"),
    [(kind, of_value) for kind, rule in ACTIVATION_RULES.items() for of_value in {False, rule.gradient_of_value}],
)
def test_activations_wherever_they_stand(
    kind: type[Operator], recompute: str, of_value: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each follows the reference over three steps, stored before it or (where its gradient allows) behind it."""
    monkeypatch.setattr(ACTIVATION_RULES[kind], "gradient_of_value", of_value)
    for threads, batch_norm, micro_batch in ((1, "train", 5), (3, "train", 5), (3, "frozen", 2)):
        choices = Choices(5, micro_batch, recompute=recompute, threads=threads, batch_norm=batch_norm)
        for instruction_set in instruction_sets():
            network = everywhere(Builder((3, 9, 7), 4, seed=8), kind)
            assert_step(network, choices, instruction_set=instruction_set, tolerance=4e-4, steps=3)


@pytest.mark.parametrize("instruction_set", instruction_sets())
@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.__name__)
def test_graphs(graph, instruction_set: str) -> None:
    """Forward, gradients, update and evaluation agree whatever is shared, folded or done in place."""
    assert_step(graph(Builder((3, 9, 9), 4, seed=5)), FOUR, instruction_set=instruction_set, tolerance=1e-4)


@pytest.mark.parametrize("recompute", ["activations", "blocks"])
@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.__name__)
def test_recomputation(graph, recompute: str) -> None:
    """Recomputing instead of keeping changes nothing."""
    choices = Choices(batch_size=4, micro_batch=4, threads=2, recompute=recompute)
    assert_step(graph(Builder((3, 9, 9), 4, seed=5)), choices, tolerance=1e-4)


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.__name__)
def test_frozen_batch_norm_in_pieces(graph) -> None:
    """With frozen batch norm micro-batches, the last one smaller, give the whole batch's step."""
    choices = Choices(batch_size=5, micro_batch=2, threads=2, batch_norm="frozen")
    assert_step(graph(Builder((3, 9, 9), 4, seed=6)), choices, tolerance=1e-4)


@pytest.mark.parametrize("trainable", ["last:1", "last:2", "bias", "w0"])
def test_fewer_trained_layers(trainable: str) -> None:
    """Layers that are not trained stay as they are, and the others learn as before."""
    choices = Choices(batch_size=4, micro_batch=4, threads=2, trainable=trainable)
    assert_step(inverted(Builder((3, 9, 9), 4)), choices, tolerance=1e-4)
    assert_step(chain(Builder((3, 9, 9), 4)), choices, tolerance=1e-4)


@pytest.mark.parametrize(
    "optimizer",
    [
        OptimizerChoice(),
        OptimizerChoice(nesterov=True),
        OptimizerChoice(momentum=0.0, weight_decay=0.0),
        OptimizerChoice(kind="adamw", weight_decay=0.05, epsilon=1e-3),
    ],
    ids=str,
)
def test_optimizers(optimizer: OptimizerChoice) -> None:
    """Four steps of each optimizer over sparse weights."""
    b = Builder((3, 6, 6), 4)
    x = b.conv(b.conv("input", 8), 8, fmt="csr")
    choices = Choices(batch_size=4, micro_batch=4, optimizer=optimizer, label_smoothing=0.1)
    assert_step(b.head(x), choices, steps=4, tolerance=2e-4)


def test_a_smaller_last_batch() -> None:
    """A batch of fewer samples than planned runs in the same arena, with statistics of its own."""
    choices = Choices(batch_size=6, micro_batch=6, threads=2)
    for count in (1, 2, 5):
        assert_step(pools(Builder((3, 9, 9), 4)), choices, count=count, tolerance=1e-4)
