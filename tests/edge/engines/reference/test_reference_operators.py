"""Every reference operator against PyTorch in float64: output, gradients, running statistics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from activation_numbers import numbers_of

from edge.engines.reference import cross_entropy
from edge.engines.reference.operators import rule_of
from edge.network import (
    Add,
    AvgPool,
    BatchNorm,
    Conv,
    Flatten,
    GlobalAvgPool,
    Linear,
    MaxPool,
    Operator,
    Relu,
    Select,
)

torch = pytest.importorskip("torch", reason="the referee of the reference is PyTorch, which is not installed")
F = torch.nn.functional
ACTIVATIONS = pytest.importorskip("activation_cases").ACTIVATIONS


def conv_case(
    channels: int, out: int, kernel: tuple[int, int], size: tuple[int, int], groups: int = 1, **options: tuple[int, ...]
) -> tuple[Operator, dict[str, np.ndarray], tuple[int, ...], Callable]:
    """A convolution with a bias, its tensors, its input's shape and PyTorch's version of it."""
    stride, dilation = options.get("stride", (1, 1)), options.get("dilation", (1, 1))
    top, left, bottom, right = padding = options.get("padding", (0, 0, 0, 0))
    weight = (out, channels // groups, *kernel)
    op = Conv("y", ("x",), (), "w", "b", stride, padding, dilation, groups)
    op = Conv(
        "y", ("x",), op.output_shape((channels, *size), weight=weight), "w", "b", stride, padding, dilation, groups
    )

    def run(x: torch.Tensor, t: dict[str, torch.Tensor]) -> torch.Tensor:
        padded = F.pad(x, (left, right, top, bottom))
        return F.conv2d(padded, t["weight"], t["bias"], stride, 0, dilation, groups)

    rng = np.random.default_rng(1)
    return op, {"weight": rng.normal(size=weight), "bias": rng.normal(size=out)}, (3, channels, *size), run


def pool_case(
    kind: str, kernel: tuple[int, int], stride: tuple[int, int], pad: tuple[int, int], size: tuple[int, int], **options
) -> tuple[Operator, dict[str, np.ndarray], tuple[int, ...], Callable]:
    """A pooling operator with PyTorch's symmetric padding."""
    padding, ceil_mode = (*pad, *pad), options.get("ceil_mode", False)
    dilation = options.get("dilation", (1, 1))
    include = options.get("include", True)

    def build(shape: tuple[int, ...]) -> Operator:
        if kind == "max":
            return MaxPool("y", ("x",), shape, kernel, stride, padding, ceil_mode, dilation)
        return AvgPool("y", ("x",), shape, kernel, stride, padding, ceil_mode, include)

    def run(x: torch.Tensor, t: dict[str, torch.Tensor]) -> torch.Tensor:
        if kind == "max":
            return F.max_pool2d(x, kernel, stride, pad, dilation, ceil_mode)
        return F.avg_pool2d(x, kernel, stride, pad, ceil_mode, include)

    return build(build(()).output_shape((4, *size))), {}, (2, 4, *size), run


def norm_case(
    shape: tuple[int, ...], training: bool
) -> tuple[Operator, dict[str, np.ndarray], tuple[int, ...], Callable]:
    """A batch norm in either mode, over images or rows."""
    rng = np.random.default_rng(2)
    tensors = {role: rng.normal(size=shape[1]) for role in ("scale", "shift", "mean")}
    tensors["variance"] = rng.random(shape[1]) + 0.5
    op = BatchNorm("y", ("x",), shape[1:], "s", "b", "m", "v", 1e-5, 0.1)

    def run(x: torch.Tensor, t: dict[str, torch.Tensor]) -> torch.Tensor:
        mean, variance = t["mean"].detach().clone(), t["variance"].detach().clone()
        return F.batch_norm(x, mean, variance, t["scale"], t["shift"], training, 0.1, 1e-5)

    return op, tensors, shape, run


LINEAR = {"weight": np.random.default_rng(7).normal(size=(5, 6)), "bias": np.random.default_rng(8).normal(size=5)}
CASES = {
    "conv": conv_case(5, 7, (3, 3), (9, 8), padding=(1, 1, 1, 1)),
    "conv stride, asymmetric padding": conv_case(3, 4, (5, 2), (11, 10), stride=(2, 3), padding=(2, 0, 1, 1)),
    "conv dilation": conv_case(2, 3, (3, 3), (10, 9), dilation=(2, 3), padding=(2, 3, 2, 3), stride=(2, 1)),
    "conv groups": conv_case(6, 9, (3, 1), (7, 7), groups=3, padding=(1, 0, 1, 0)),
    "depthwise": conv_case(6, 6, (3, 3), (7, 6), groups=6, padding=(1, 1, 1, 1), stride=(2, 2)),
    "depthwise with multiplier": conv_case(4, 8, (3, 3), (5, 5), groups=4),
    "conv 1x1": conv_case(5, 3, (1, 1), (4, 3), stride=(2, 2)),
    "conv wholly in padding": conv_case(2, 2, (2, 2), (3, 3), padding=(3, 2, 3, 2)),
    "linear": (Linear("y", ("x",), (5,), "w", "b"), LINEAR, (4, 6), lambda x, t: F.linear(x, t["weight"], t["bias"])),
    "batch norm training": norm_case((6, 4, 3, 5), True),
    "batch norm frozen": norm_case((6, 4, 3, 5), False),
    "batch norm of rows": norm_case((6, 4), True),
    "relu": (Relu("y", ("x",), (4, 3, 3)), {}, (2, 4, 3, 3), lambda x, t: F.relu(x)),
    "max pool": pool_case("max", (3, 3), (2, 2), (1, 1), (8, 7)),
    "max pool ceil": pool_case("max", (3, 2), (2, 2), (0, 1), (8, 7), ceil_mode=True),
    "max pool dilation": pool_case("max", (2, 3), (1, 2), (1, 1), (9, 9), dilation=(2, 3)),
    "avg pool": pool_case("avg", (3, 3), (2, 2), (1, 1), (8, 7)),
    "avg pool without padding": pool_case("avg", (3, 2), (2, 1), (1, 1), (8, 7), include=False),
    "avg pool ceil": pool_case("avg", (3, 3), (2, 2), (1, 1), (8, 6), ceil_mode=True),
    "avg pool ceil without padding": pool_case("avg", (2, 3), (3, 2), (1, 1), (8, 6), ceil_mode=True, include=False),
    "global avg pool": (GlobalAvgPool("y", ("x",), (4, 1, 1)), {}, (2, 4, 3, 5), lambda x, t: x.mean((2, 3), True)),
    "flatten": (Flatten("y", ("x",), (60,)), {}, (2, 4, 3, 5), lambda x, t: x.flatten(1)),
}


@pytest.mark.parametrize("name", CASES)
def test_output_and_gradients_agree_with_pytorch(name: str) -> None:
    """Output, input gradient and every parameter gradient, to rounding in float64."""
    op, tensors, shape, run = CASES[name]
    training = name != "batch norm frozen"
    x = np.random.default_rng(3).normal(size=shape)
    theirs_x = torch.tensor(x, requires_grad=True)
    theirs = {role: torch.tensor(tensor, requires_grad=role != "variance") for role, tensor in tensors.items()}
    expected = run(theirs_x, theirs)
    got = rule_of(op).forward(op, [x], tensors, training)
    assert got.shape == (shape[0], *op.shape)
    np.testing.assert_allclose(got, expected.detach().numpy(), rtol=1e-12, atol=1e-12)

    grad = np.random.default_rng(4).normal(size=got.shape)
    expected.backward(torch.tensor(grad))
    (grad_x,), by_role = rule_of(op).backward(op, [x], tensors, training, grad)
    np.testing.assert_allclose(grad_x, theirs_x.grad.numpy(), rtol=1e-11, atol=1e-12)
    for role, got_grad in by_role.items():
        np.testing.assert_allclose(got_grad, theirs[role].grad.numpy(), rtol=1e-11, atol=1e-12, err_msg=role)


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_bends_of_activations_are_those_of_pytorch(kind: type[Operator]) -> None:
    """Exactly at a bend, beside it and far from it the gradient is PyTorch's."""
    x = np.array([[bend + step for bend in (-6, -3, 0, 3, 6) for step in (-1.0, 0.0, 1e-9)] + [-0.0, -1e6, 1e6]])
    op = kind("y", ("x",), x.shape[1:], **numbers_of(kind))
    theirs_x = torch.tensor(x, requires_grad=True)
    expected = ACTIVATIONS[kind].torch(theirs_x)
    expected.sum().backward()
    tight = {"rtol": 1e-14, "atol": 1e-14}
    np.testing.assert_allclose(rule_of(op).forward(op, [x], {}, True), expected.detach().numpy(), **tight)
    (grad,), _ = rule_of(op).backward(op, [x], {}, True, np.ones_like(x))
    np.testing.assert_allclose(grad, theirs_x.grad.numpy(), **tight)


def test_of_equal_values_the_first_wins_in_max_pooling() -> None:
    """All cells equal: the gradient goes where PyTorch sends it."""
    op, _, shape, run = CASES["max pool"]
    x = np.ones(shape)
    theirs_x = torch.tensor(x, requires_grad=True)
    run(theirs_x, {}).sum().backward()
    (grad,), _ = rule_of(op).backward(op, [x], {}, True, np.ones((shape[0], *op.shape)))
    np.testing.assert_array_equal(grad, theirs_x.grad.numpy())


def test_running_statistics_move_as_in_pytorch() -> None:
    """Momentum counts the new, and the variance is the unbiased one."""
    op, tensors, shape, _ = norm_case((6, 4, 3, 5), True)
    x = np.random.default_rng(5).normal(size=shape)
    mean, variance = torch.tensor(tensors["mean"]), torch.tensor(tensors["variance"])
    F.batch_norm(torch.tensor(x), mean, variance, None, None, True, op.momentum, op.epsilon)
    moved = rule_of(op).moved(op, [x], tensors)
    np.testing.assert_allclose(moved["mean"], mean.numpy(), rtol=1e-13)
    np.testing.assert_allclose(moved["variance"], variance.numpy(), rtol=1e-13)


ADD = Add("y", ("a", "b"), (4, 2, 1))


def test_add_and_select_give_back_what_they_took() -> None:
    """A sum sends its gradient to both; a selection leaves zeros where it read nothing."""
    x, grad = np.arange(8.0).reshape(1, 4, 2, 1), np.ones((1, 2, 2, 1))
    assert rule_of(ADD).forward(ADD, [x, x], {}, True).tolist() == (2 * x).tolist()
    select, tensors = Select("y", ("x",), (2, 2, 1), "c"), {"channels": np.array([3, 0], np.int32)}
    assert rule_of(select).forward(select, [x], tensors, True).ravel().tolist() == [6, 7, 0, 1]
    (grad_x,), _ = rule_of(select).backward(select, [x], tensors, True, grad * [[[[1]], [[2]]]])
    assert grad_x.ravel().tolist() == [2, 2, 0, 0, 0, 0, 1, 1]


def test_a_channel_selected_twice_gets_both_gradients() -> None:
    """By hand: channel 1 is read twice, so its gradient is the sum of what its two copies received."""
    x = np.zeros((1, 3, 1, 1))
    select, tensors = Select("y", ("x",), (3, 1, 1), "c"), {"channels": np.array([1, 2, 1], np.int32)}
    (grad_x,), _ = rule_of(select).backward(select, [x], tensors, True, np.array([[[[1.0]], [[2.0]], [[4.0]]]]))
    assert grad_x.ravel().tolist() == [0, 5, 2]


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_the_loss_is_that_of_pytorch(smoothing: float) -> None:
    """Mean cross-entropy and its gradient, with labels smoothed, also for very large logits."""
    logits = np.random.default_rng(6).normal(size=(5, 4)) * 300
    labels = np.array([0, 3, 1, 1, 2])
    theirs = torch.tensor(logits, requires_grad=True)
    expected = F.cross_entropy(theirs, torch.tensor(labels), label_smoothing=smoothing)
    expected.backward()
    loss, grad = cross_entropy(logits, labels, smoothing)
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(grad, theirs.grad.numpy(), atol=1e-15)
