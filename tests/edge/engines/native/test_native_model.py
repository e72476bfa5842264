"""What a network needs when all of it is trained, or its classifier alone."""

from __future__ import annotations

from native_networks import Builder

from edge.engines.native.prepared import build_model
from edge.network import Network
from edge.plan.choices import Choices


def network() -> Network:
    """Two convolutions, the first with a norm, and a classifier."""
    b = Builder((3, 6, 6), 2)
    return b.head(b.conv(b.relu(b.norm(b.conv("input", 4))), 8, fmt="csr"))


def test_a_gradient_is_wanted_behind_the_first_trained_tensor() -> None:
    """Not that of the images; the layouts say which layers hand one on."""
    model = build_model(network(), Choices(batch_size=4, micro_batch=4))
    assert model.needs == frozenset(model.nodes[1:])
    assert [layout.needs_input_grad for layout in model.layouts.values()] == [False, True, True]
    assert all(layout.trained for layout in model.layouts.values())


def test_statistics_are_the_batch_s_own_unless_frozen() -> None:
    """By choice, or because a batch of one cell has no spread."""
    model = build_model(network(), Choices(batch_size=4, micro_batch=4))
    normed, bare = model.nodes[1], model.nodes[2]
    assert model.batch_statistics(normed, 1)
    assert not model.batch_statistics(bare, 4)
    frozen = build_model(network(), Choices(batch_size=4, micro_batch=4, batch_norm="frozen"))
    assert not frozen.batch_statistics(frozen.nodes[1], 4)


def test_only_a_max_pooling_and_a_trained_weight_read_their_input_again() -> None:
    """What the backward pass reads has to be kept, or computed again."""
    b = Builder((3, 6, 6), 2)
    model = build_model(b.head(b.max_pool(b.avg_pool(b.conv("input", 4)), 2, 1)), Choices(batch_size=4, micro_batch=4))
    given, conv, mean, top, *_ = model.nodes
    assert list(conv.family.reads(conv, model.trained)) == [given]
    assert list(conv.family.reads(conv, frozenset())) == []
    assert list(mean.family.reads(mean, model.trained)) == []
    assert list(top.family.reads(top, model.trained)) == [mean]
