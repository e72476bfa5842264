"""The reference trained for some steps against PyTorch on the same network: loss, gradients, weights, statistics."""

from __future__ import annotations

import numpy as np
import pytest
from network_example import example_network

from edge.engines.reference import Reference
from edge.network import INPUT, Network
from edge.plan.choices import Choices, OptimizerChoice

torch = pytest.importorskip("torch", reason="the referee of the reference is PyTorch, which is not installed")
F = torch.nn.functional
ACTIVATIONS = pytest.importorskip("activation_cases").ACTIVATIONS


def torch_logits(network: Network, t: dict[str, torch.Tensor], images: torch.Tensor, training: bool) -> torch.Tensor:
    """PyTorch's own execution of the description; running statistics are moved in place."""
    values = {INPUT: images}
    for op in network.operators:
        x = values[op.inputs[0]]
        if op.op == "conv":
            top, left, bottom, right = op.padding
            bias = t[op.bias] if op.bias else None
            y = F.conv2d(F.pad(x, (left, right, top, bottom)), t[op.weight], bias, op.stride, 0, op.dilation, op.groups)
        elif op.op == "linear":
            y = F.linear(x, t[op.weight], t[op.bias])
        elif op.op == "batch_norm":
            y = F.batch_norm(x, t[op.mean], t[op.variance], t[op.scale], t[op.shift], training, op.momentum, op.epsilon)
        elif op.op == "max_pool":
            y = F.max_pool2d(x, op.kernel, op.stride, op.padding[:2], op.dilation, op.ceil_mode)
        elif op.op == "avg_pool":
            y = F.avg_pool2d(x, op.kernel, op.stride, op.padding[:2], op.ceil_mode, op.count_include_pad)
        elif op.op == "select":
            y = x[:, t[op.channels].long()]
        elif type(op) in ACTIVATIONS:
            y = ACTIVATIONS[type(op)].torch(x)
        else:
            y = {
                "add": lambda x: x + values[op.inputs[1]],  # noqa: B023
                "global_avg_pool": lambda x: x.mean((2, 3), True),
                "flatten": lambda x: x.flatten(1),
            }[op.op](x)
        values[op.name] = y
    return values[network.logits]


OPTIMIZERS = {
    "sgd": OptimizerChoice(momentum=0.0, weight_decay=0.0),
    "momentum": OptimizerChoice(momentum=0.9, weight_decay=1e-2),
    "nesterov": OptimizerChoice(momentum=0.8, nesterov=True, weight_decay=1e-2),
    "adamw": OptimizerChoice(kind="adamw", weight_decay=0.1, epsilon=1e-6),
}


def torch_optimizer(choice: OptimizerChoice, parameters: list[torch.Tensor], rate: float) -> torch.optim.Optimizer:
    """The same optimizer from PyTorch."""
    if choice.kind == "adamw":
        betas = (choice.beta1, choice.beta2)
        return torch.optim.AdamW(parameters, rate, betas, choice.epsilon, choice.weight_decay)
    return torch.optim.SGD(
        parameters, rate, choice.momentum, weight_decay=choice.weight_decay, nesterov=choice.nesterov
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("batch_norm", ["train", "frozen"])
def test_three_steps_agree_with_pytorch(optimizer: str, batch_norm: str) -> None:
    """Masked gradients, momentum, decay, statistics: everything is equal to rounding in float64, and zeros stay."""
    network = example_network()
    choices = Choices(
        batch_size=6, micro_batch=6, batch_norm=batch_norm, optimizer=OPTIMIZERS[optimizer], label_smoothing=0.1
    )
    ours = Reference(network, choices)
    theirs = {name: torch.tensor(tensor) for name, tensor in ours.tensors.items()}
    trained = [theirs[name].requires_grad_() for name in ours.trained]
    their_optimizer = torch_optimizer(OPTIMIZERS[optimizer], trained, 0.05)
    rng = np.random.default_rng(9)
    for _ in range(3):
        images, labels = rng.normal(size=(6, *network.input)), rng.integers(0, network.classes, 6)
        logits = torch_logits(network, theirs, torch.tensor(images), batch_norm == "train")
        loss = F.cross_entropy(logits, torch.tensor(labels), label_smoothing=0.1)
        their_optimizer.zero_grad()
        loss.backward()
        for name, mask in ours.masks.items():
            theirs[name].grad *= torch.tensor(mask)
        their_optimizer.step()
        result = ours.train_step(images, labels, 0.05)
        assert result.loss == pytest.approx(loss.item(), rel=1e-10)
        assert result.correct == int((logits.argmax(1).numpy() == labels).sum())
    for name, tensor in ours.tensors.items():
        np.testing.assert_allclose(tensor, theirs[name].detach().numpy(), rtol=1e-8, atol=1e-10, err_msg=name)
    assert ours.zeros_kept()
    images = rng.normal(size=(4, *network.input))
    expected = torch_logits(network, theirs, torch.tensor(images), False).detach().numpy()
    np.testing.assert_allclose(ours.predict(images), expected, rtol=1e-8, atol=1e-9)


def test_float32_stays_float32_and_close() -> None:
    """A step in float32 differs from float64 by rounding only."""
    network = example_network()
    rng = np.random.default_rng(9)
    images, labels = rng.normal(size=(6, *network.input)), rng.integers(0, network.classes, 6)
    small, large = Reference(network, dtype=np.float32), Reference(network)
    losses = [reference.train_step(images, labels, 0.05).loss for reference in (small, large)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for name, tensor in small.tensors.items():
        assert tensor.dtype in (np.float32, np.int32)
        np.testing.assert_allclose(tensor, large.tensors[name], rtol=1e-3, atol=1e-4, err_msg=name)


def test_micro_batches_are_exact_when_batch_norm_is_frozen() -> None:
    """Gradients accumulate to those of the whole batch, uneven last piece included."""
    network = example_network()
    rng = np.random.default_rng(9)
    images, labels = rng.normal(size=(7, *network.input)), rng.integers(0, network.classes, 7)
    results = []
    for micro_batch in (7, 3):
        reference = Reference(network, Choices(batch_size=7, micro_batch=micro_batch, batch_norm="frozen"))
        loss = reference.train_step(images, labels, 0.1).loss
        results.append((loss, reference.tensors))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-12)
    for name, tensor in results[0][1].items():
        np.testing.assert_allclose(tensor, results[1][1][name], rtol=1e-10, atol=1e-12, err_msg=name)


def test_only_selected_parameters_move() -> None:
    """With last:1 nothing but the classifier and running statistics changes."""
    network = example_network()
    reference = Reference(network, Choices(trainable="last:1", batch_norm="frozen"))
    before = {name: tensor.copy() for name, tensor in reference.tensors.items()}
    rng = np.random.default_rng(9)
    reference.train_step(rng.normal(size=(4, *network.input)), rng.integers(0, 5, 4), 0.1)
    moved = {name for name, tensor in reference.tensors.items() if not np.array_equal(tensor, before[name])}
    assert moved == {"classifier.weight", "classifier.bias"}
