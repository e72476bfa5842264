"""One step of the native engine against PyTorch in float64, with PyTorch's own float32 error as the floor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is the referee of these tests; it is in the extra train")

import torch
from native_check import batch
from native_networks import Builder, resnet
from native_torch_referee import Referee, compare, engine_tensors

from edge.engines.native.engine import NativeEngine
from edge.network import BatchNorm, Network
from edge.plan.choices import Choices, OptimizerChoice

FORMATS = ("dense", "csr", "block", "pattern", "channel", "masked")


@pytest.fixture(autouse=True)
def one_thread():
    """PyTorch with one thread, so that tests do not fight for cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("seed", range(12))
def test_random_convolutions(seed: int) -> None:
    """Random odd shapes, strides, paddings, dilations, groups, formats, batch sizes and threads."""
    random = np.random.default_rng(seed)

    def pick(*values):
        return values[random.integers(len(values))]

    b = Builder((pick(1, 2, 3), int(random.integers(9, 16)), int(random.integers(9, 16))), 3, seed)
    x = b.conv("input", 8, pick(3, (1, 3)), bias=bool(random.integers(2)))
    groups = pick(1, 1, 2)
    x = b.relu(
        b.conv(
            x,
            pick(8, 16, 24),
            (int(random.integers(1, 5)), int(random.integers(1, 5))),
            (int(random.integers(1, 4)), int(random.integers(1, 4))),
            tuple(int(value) for value in random.integers(1, 4, 4)),
            (int(random.integers(1, 3)), int(random.integers(1, 3))),
            groups,
            pick("dense", "csr", "block"),
            0.6,
            bias=bool(random.integers(2)),
        )
    )
    size = int(pick(1, 3, 7, 16, 19))
    choices = Choices(batch_size=size, micro_batch=size, threads=int(random.integers(1, 4)))
    network = b.head(x)
    engine = NativeEngine.of(network, choices)
    compare(network, choices, engine, *batch(network, size, seed))
    engine.close()


@pytest.mark.parametrize("recompute", ["none", "activations", "blocks"])
@pytest.mark.parametrize("fmt", FORMATS)
def test_residual_network(fmt: str, recompute: str) -> None:
    """Every tensor of a residual network after one step, whatever is recomputed."""
    network = resnet(fmt, 0.7, blocks=2, width=8, size=12, classes=4)
    choices = Choices(batch_size=6, micro_batch=6, threads=2, recompute=recompute)
    engine = NativeEngine.of(network, choices)
    compare(network, choices, engine, *batch(network, 6, seed=7), slack=6.0)
    engine.close()


@pytest.mark.parametrize("optimizer", [OptimizerChoice(nesterov=True), OptimizerChoice(kind="adamw", epsilon=1e-4)])
def test_optimizers_agree_with_pytorch(optimizer: OptimizerChoice) -> None:
    """Five steps of PyTorch's own optimizers."""
    b = Builder((3, 6, 6), 4)
    network = b.head(b.conv(b.conv("input", 8), 8, fmt="csr"))
    choices = Choices(batch_size=4, micro_batch=4, optimizer=optimizer, label_smoothing=0.1)
    engine, exact = NativeEngine.of(network, choices), Referee(network, choices, torch.float64)
    images, labels = batch(network, 4)
    for _ in range(5):
        expected = exact.step(images, labels, 0.01)
        assert engine.train_step(images, labels, 0.01).loss == pytest.approx(expected, rel=1e-5)
    truth = exact.tensors()
    for name, value in engine_tensors(network, engine.snapshot()).items():
        if not name.endswith(":grad"):
            np.testing.assert_allclose(value, truth[name], rtol=1e-3, atol=2e-5)


SCHEMES = ("csr", "block", "pattern", "channel")
# Everything that a plan may choose where the result is exact, against one whole batch of the referee.
EXACT = {
    "whole": Choices(batch_size=8, micro_batch=8),
    "activations": Choices(batch_size=8, micro_batch=8, recompute="activations"),
    "blocks": Choices(batch_size=8, micro_batch=8, recompute="blocks"),
    "pieces": Choices(batch_size=8, micro_batch=3, batch_norm="frozen"),
    "pieces of blocks": Choices(batch_size=8, micro_batch=4, batch_norm="frozen", recompute="blocks"),
}


@pytest.mark.parametrize("plan", ["whole", "blocks", "pieces of blocks"])
@pytest.mark.parametrize("fmt", SCHEMES)
def test_twenty_steps_of_resnet32(fmt: str, plan: str) -> None:
    """The loss of twenty steps at 90 % follows masked dense PyTorch; so do the weights as a whole."""
    follow(resnet(fmt, 0.9, blocks=5, width=8, size=16), replace(EXACT[plan], threads=2))


@pytest.mark.slow
@pytest.mark.parametrize("plan", EXACT)
@pytest.mark.parametrize("fmt", SCHEMES)
def test_twenty_steps_of_resnet32_at_full_width(fmt: str, plan: str) -> None:
    """The same with the 1.9 million weights and the images of the published network, at batch 4."""
    choices = EXACT[plan]
    choices = replace(choices, batch_size=4, micro_batch=4 if choices.micro_batch == 8 else 3, threads=2)
    follow(resnet(fmt, 0.9), choices)


def follow(network: Network, choices: Choices) -> None:
    """Twenty steps of the engine beside PyTorch in float64, with PyTorch's own float32 error as the floor."""
    images, labels = batch(network, choices.batch_size)
    whole = replace(choices, micro_batch=choices.batch_size)
    exact, single = Referee(network, whole, torch.float64), Referee(network, whole, torch.float32)
    truth = np.array([exact.step(images, labels, 3e-4) for _ in range(20)])
    rough = np.array([single.step(images, labels, 3e-4) for _ in range(20)])
    engine = NativeEngine.of(network, choices)
    ours = [engine.train_step(images, labels, 3e-4).loss for _ in range(20)]
    held = {k: v for k, v in engine_tensors(network, engine.snapshot()).items() if not k.endswith(":grad")}
    assert np.abs(ours - truth).max() <= 6 * np.abs(rough - truth).max() + 1e-3 * truth.max()
    values = exact.tensors()
    allowed = 10 * distance(single.tensors(), values, held) + 1e-3  # a ReLU input near zero changes side, here or there
    assert distance(held, values, held) <= allowed
    assert truth[-1] < truth[0]
    assert engine.zeros_kept()
    engine.close()


def distance(found, true, names) -> float:
    """Root of the squared differences over the squared values, over all tensors."""
    difference = sum(float(((found[name] - true[name]) ** 2).sum()) for name in names)
    return (difference / sum(float((true[name] ** 2).sum()) for name in names)) ** 0.5


@pytest.mark.parametrize("recompute", ["none", "activations", "blocks"])
def test_batch_norm_that_is_frozen_in_the_network(recompute: str) -> None:
    """One norm keeps to its running statistics, trained or not, while the others follow the batch."""
    b = Builder((3, 9, 8), 4, seed=2)
    x = b.relu(b.norm(b.conv("input", 8), frozen=True))
    y = b.norm(b.conv(x, 8, fmt="csr", sparsity=0.5))
    z = b.norm(b.conv(x, 8, fmt="block", sparsity=0.5), frozen=True)
    network = b.head(b.relu(b.norm(b.add(y, z), frozen=True)))
    choices = Choices(batch_size=6, micro_batch=6, threads=2, recompute=recompute)
    engine = NativeEngine.of(network, choices)
    compare(network, choices, engine, *batch(network, 6), slack=6.0)
    for op in network.operators:
        if isinstance(op, BatchNorm):
            stayed = np.array_equal(engine.snapshot()[f"{op.variance}/values"], network.parameters[op.variance].values)
            assert stayed == op.frozen
    engine.close()


@pytest.mark.parametrize("trainable", ["bias", "b.*", "last:2"])
def test_channel_layer_that_is_not_trained(trainable: str) -> None:
    """Its gradient steps read no input: for its bias alone, and for the layers before it."""
    b = Builder((3, 6, 5), 4)
    x = b.relu(b.conv("input", 6, bias=True))
    x = b.relu(b.conv(x, 6, fmt="channel", sparsity=0.5, bias=True))
    network = b.head(b.conv(x, 4, fmt="channel", sparsity=0.5, bias=True))
    for given in (network, network.with_parameters({"w0": replace(network.parameters["w0"], trainable=False)})):
        choices = Choices(batch_size=4, micro_batch=4, trainable=trainable)
        engine = NativeEngine.of(given, choices)
        compare(given, choices, engine, *batch(given, 4), slack=6.0)
        engine.close()


@pytest.mark.parametrize("recompute", ["none", "activations", "blocks"])
@pytest.mark.parametrize("frozen", [False, True])
def test_value_that_is_added_to_itself(frozen: bool, recompute: str) -> None:
    """Both gradients reach a batch norm before its sums are taken."""
    b = Builder((2, 5, 4), 3)
    x = b.norm(b.conv("input", 6, bias=True), frozen=frozen)
    network = b.head(b.relu(b.add(x, x)))
    choices = Choices(batch_size=5, micro_batch=5, threads=2, recompute=recompute)
    engine = NativeEngine.of(network, choices)
    compare(network, choices, engine, *batch(network, 5), slack=6.0)
    engine.close()


def test_frozen_batch_norm_makes_pieces_exact() -> None:
    """Gradient accumulation over micro-batches equals the whole batch where batch norm is frozen."""
    network = resnet("block", 0.8, blocks=1, width=8, size=12, classes=4)
    choices = Choices(batch_size=7, micro_batch=3, threads=2, batch_norm="frozen")
    engine = NativeEngine.of(network, choices)
    compare(network, choices, engine, *batch(network, 7), slack=6.0)
    engine.close()
