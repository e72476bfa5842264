"""The list of steps: what is emitted, what lives how long, what shares a buffer, what is computed again."""

from __future__ import annotations

from native_networks import Builder

from edge.engines.native.listing import Listing, prediction_listing, training_listing
from edge.engines.native.prepared import build_model
from edge.engines.native.segments import cut_segments, dropped_nodes
from edge.engines.native.steps import Spec
from edge.network import Network
from edge.plan.choices import Choices


def chain() -> Network:
    """conv, norm, relu, pooling, linear."""
    b = Builder((3, 4, 4), 2)
    return b.head(b.relu(b.norm(b.conv("input", 4))))


def residual() -> Network:
    """Three residual blocks without downsampling."""
    b = Builder((3, 4, 4), 2)
    x = b.relu(b.norm(b.conv("input", 4)))
    for _ in range(3):
        y = b.norm(b.conv(b.relu(b.norm(b.conv(x, 4))), 4))
        x = b.relu(b.add(y, x))
    return b.head(x)


def listed(network: Network, **choices: object) -> Listing:
    """The steps for pieces of four samples."""
    asked = Choices(batch_size=4, micro_batch=4, **choices)
    return training_listing(build_model(network, asked), 4)


def named(listing: Listing, op: str) -> list[Spec]:
    """The steps of one operator, in order."""
    return [spec for spec in listing.specs if spec.op == op]


def test_a_training_step_of_a_small_network() -> None:
    """The norm's sums are added while the convolution is stored, its gradient's in a step of their own."""
    listing = listed(chain())
    assert [spec.op for spec in listing.specs] == [
        *("zero", "input", "conv", "norm_finish", "avg_pool", "conv", "loss"),
        *("conv_grad", "avg_pool_grad", "norm_grad_sums", "norm_grad_finish", "conv_grad", "update"),
    ]
    assert (listing.start, listing.body) == (1, 12)


def test_a_prediction_normalises_by_running_statistics() -> None:
    """Nothing is summed, nothing is updated."""
    model = build_model(chain(), Choices(batch_size=4, micro_batch=4))
    listing = prediction_listing(model, 4)
    assert [spec.op for spec in listing.specs] == ["input", "conv", "norm_finish", "avg_pool", "conv", "output"]
    finish = named(listing, "norm_finish")[0].norm
    assert finish is not None
    assert finish.frozen
    assert finish.sums is None


def test_a_tensor_lives_from_its_writer_to_its_last_reader() -> None:
    """The images until the first layer's weight gradient; the pooled value until the classifier's."""
    listing = listed(chain())
    lives = {buffer.name: (buffer.first, buffer.last) for buffer in listing.buffers}
    assert lives["input"] == (1, 11)
    assert lives[listing.specs[2].name] == (2, 11)
    assert lives[listing.specs[4].name] == (4, 7)
    assert len(listing.slots) == len(listing.buffers)


def test_the_first_layer_asks_for_no_gradient_of_the_images() -> None:
    """Its weight's gradient alone, for which it reads them again."""
    last = named(listed(chain()), "conv_grad")[-1]
    assert last.out is None
    assert last.numbers == {"accumulate": 0, "input_grad": 0, "weight_grad": 1}
    assert last.a is not None


def test_both_branches_of_a_sum_share_its_gradient() -> None:
    """One buffer goes down all three blocks: a branch reads it where it lies, and the block before adds to it."""
    listing = listed(residual())
    placed = [spec for spec in named(listing, "push_grad") if spec.name.endswith("in place")]
    assert len(placed) == 3
    shared = placed[0].out
    for spec in placed:
        assert spec.g is not None
        assert spec.g.data is spec.out is shared
    readers = [one for one in named(listing, "conv_grad") if one.g is not None and one.g.data is shared]
    assert len(readers) == 4  # the last convolution of each branch, and the first of the network
    adders = [one for one in named(listing, "conv_grad") if one.out is shared]
    assert [one.numbers["accumulate"] for one in adders] == [1, 1, 1]


def test_a_value_added_to_itself_is_pushed_twice() -> None:
    """The second time it adds; no buffer is shared."""
    b = Builder((3, 4, 4), 2)
    x = b.conv("input", 4)
    pushed = named(listed(b.head(b.add(x, x))), "push_grad")
    assert [spec.numbers["accumulate"] for spec in pushed] == [0, 1]
    assert pushed[0].out is pushed[1].out


def test_sums_are_dropped_in_chains_of_three_at_most() -> None:
    """Recomputing sums stores each of them once more before it is read."""
    model = build_model(residual(), Choices(batch_size=4, micro_batch=4, recompute="activations"))
    sums = [node for node in model.nodes if node.family.cheap]
    assert dropped_nodes(model.nodes) == frozenset(sums)
    again = [spec for spec in named(training_listing(model, 4), "add") if spec.name.endswith(" again")]
    assert len(again) == 3


def test_segments_end_where_one_value_alone_crosses() -> None:
    """Each but the last holds two layers at least and keeps its last node; together they hold every node."""
    model = build_model(residual(), Choices(batch_size=4, micro_batch=4))
    segments = cut_segments(model.nodes)
    assert [node for segment in segments for node in segment.nodes] == list(model.nodes)
    assert all(segment.kept == (segment.nodes[-1],) for segment in segments)
    assert [sum(node.family.heavy for node in segment.nodes) for segment in segments] == [3, 2, 2, 1]


def test_recomputed_blocks_use_the_saved_statistics() -> None:
    """What is stored again adds no sums, and no statistics are taken twice."""
    listing = listed(residual(), recompute="blocks")
    again = [spec for spec in listing.specs if spec.name.endswith(" again")]
    assert again
    assert all(spec.norm is None for spec in again)
    assert len(named(listing, "norm_finish")) == 7
