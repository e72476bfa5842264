"""Random networks: every engine of ours, in every mode, follows PyTorch in float64 over three steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is the referee of these tests; pip install mest[train]")

import torch
from activation_cases import ACTIVATIONS
from arithmetic_cases import ARITHMETIC
from hypothesis import given, note
from hypothesis import strategies as st
from native_check import batch
from native_networks import Builder
from native_torch_referee import Referee, engine_tensors
from resampling_cases import MODES, NEAREST
from stored_shapes import stored_shapes

from edge.engines.native.engine import NativeEngine
from edge.engines.reference import Reference
from edge.libmest.library import instruction_sets
from edge.network import Add, Div, Network, Relu, check_network
from edge.network.operators import ShapeError
from edge.plan.choices import Choices, OptimizerChoice

STEPS = 3
RATE = 0.02
# Above PyTorch's own float32 error: of the tensor's largest entry, and of the largest of its kind, gradient or weight.
FLOORS, SHARE = 20.0, 1e-4
# A ReLU input near zero changes side by rounding alone; a wrong kernel is wrong on every batch.
BATCHES = 3


@pytest.fixture(autouse=True)
def one_thread():
    """PyTorch with one thread, so that tests do not fight for cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    """Two numbers, often the same."""
    one = st.integers(low, high)
    return one.map(lambda value: (value, value)) | st.tuples(one, one)


class Draft:
    """A network that grows by operators that are drawn; what does not fit is left out."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        image = (draw(st.integers(1, 3)), draw(st.integers(3, 10)), draw(st.integers(3, 10)))
        self.builder = Builder(image, draw(st.integers(2, 5)), draw(st.integers(0, 2**16)))
        self.value = "input"
        self.earlier: list[str] = []

    def grow(self) -> None:
        """One operator, or two branches and their sum."""
        kinds = (
            "conv",
            "conv",
            "conv",
            "conv_transpose",
            "max_pool",
            "avg_pool",
            "residual",
            "double",
            "select",
            "norm",
        )
        kinds += ("gate", "gate", "stored", "concat", "dense_block", "sample", "linear", "tokens", "pad", "resize")
        getattr(self, f"_{self.draw(st.sampled_from(kinds))}")()

    def _conv(self, like: tuple[int, ...] | None = None) -> None:
        draw, b = self.draw, self.builder
        channels, height, width = b.shapes[self.value]
        kernel = draw(pairs(1, 4))
        dilation = draw(pairs(1, 3))
        stride = (1, 1) if like else draw(pairs(1, 3))
        if like:  # a sum needs its own size again
            reach = [(size - 1) * gap for size, gap in zip(kernel, dilation, strict=True)]
            top, left = draw(st.integers(0, reach[0])), draw(st.integers(0, reach[1]))
            padding = (top, left, reach[0] - top, reach[1] - left)
        else:
            padding = draw(st.tuples(*[st.integers(0, 5)] * 4))
        reach = [(size - 1) * gap + 1 for size, gap in zip(kernel, dilation, strict=True)]
        if height + padding[0] + padding[2] < reach[0] or width + padding[1] + padding[3] < reach[1]:
            return
        out = like[0] if like else draw(st.integers(1, 6) | st.sampled_from([8, 12]))
        groups = draw(st.sampled_from([n for n in range(1, channels + 1) if channels % n == 0 and out % n == 0]))
        formats = ["dense", "csr", "masked"]
        heights = [n for n in (2, 3, 4) if out // groups % n == 0]
        formats += ["block"] if heights else []
        formats += ["channel"] if groups == 1 and channels > 1 else []
        formats += ["pattern"] if kernel == (3, 3) else []
        self.value = b.conv(
            self.value,
            out,
            kernel,
            stride,
            padding,
            dilation,
            groups,
            draw(st.sampled_from(formats)),
            draw(st.sampled_from([0.3, 0.6, 0.9])),
            draw(st.sampled_from(heights or [4])),
            draw(st.booleans()),
        )
        self._finish()

    def _conv_transpose(self) -> None:
        """A small image made larger, or the positions of a larger one mixed."""
        draw, b = self.draw, self.builder
        channels, height, width = b.shapes[self.value]
        kernel, dilation = draw(pairs(1, 3)), draw(pairs(1, 2))
        stride = draw(pairs(1, 3 if height * width < 50 else 1))
        out = draw(st.integers(1, 6) | st.sampled_from([8, 12]))
        groups = draw(st.sampled_from([n for n in range(1, channels + 1) if channels % n == 0 and out % n == 0]))
        heights = [n for n in (2, 3, 4) if channels // groups % n == 0]
        formats = ["dense", "csr", "masked"] + ["block"] * bool(heights) + ["pattern"] * (kernel == (3, 3))
        count = len(b.operators)
        try:
            self.value = b.conv_transpose(
                self.value,
                out,
                kernel,
                stride,
                draw(st.tuples(st.integers(0, 2), st.integers(0, 2))),
                (draw(st.integers(0, stride[0] - 1)), draw(st.integers(0, stride[1] - 1))),
                dilation,
                groups,
                draw(st.sampled_from(formats)),
                draw(st.sampled_from([0.3, 0.6])),
                draw(st.sampled_from(heights or [4])),
                draw(st.booleans()),
            )
        except ShapeError:
            assert len(b.operators) == count
        self._finish()

    def _finish(self) -> None:
        """Perhaps a batch norm, perhaps an activation."""
        if self.draw(st.booleans()):
            self._norm()
        after = self.draw(st.sampled_from([None, Relu, *ACTIVATIONS]))
        if after:
            self.value = self.builder.activation(after, self.value)

    def _norm(self) -> None:
        self.value = self.builder.norm(self.value, frozen=self.draw(st.integers(0, 3)) == 0)

    def _sample(self) -> None:
        channels, draw = self.builder.shapes[self.value][0], self.draw
        groups = draw(st.sampled_from([n for n in range(channels + 1) if n == 0 or channels % n == 0]))
        roles = draw(st.sampled_from(["both", "scale", "shift", "none"]))
        spread = prod(self.builder.shapes[self.value]) // (groups or prod(self.builder.shapes[self.value][1:]))
        if spread > 3:  # few cells may all be alike, where rounding decides
            self.value = self.builder.sample_norm(self.value, groups, roles, bool(groups) and draw(st.booleans()))
        self._finish()

    def _pool(self, kind: str, **fields: object) -> None:
        size = self.draw(st.integers(1, 3))
        padding = self.draw(st.integers(0, size // 2))
        count = len(self.builder.operators)
        try:
            self.value = getattr(self.builder, kind)(self.value, size, self.draw(st.integers(1, 3)), padding, **fields)
        except ShapeError:
            assert len(self.builder.operators) == count

    def _max_pool(self) -> None:
        self._pool("max_pool", dilation=self.draw(st.integers(1, 2)))

    def _avg_pool(self) -> None:
        self._pool("avg_pool", ceil=self.draw(st.booleans()), include=self.draw(st.booleans()))

    def _residual(self) -> None:
        before = self.value
        for _ in range(self.draw(st.integers(1, 2))):
            self._conv(self.builder.shapes[before])
        if self.value != before:
            order = (self.value, before) if self.draw(st.booleans()) else (before, self.value)
            self.value = self.builder.add(*order)
            self._finish()

    def _double(self) -> None:
        self.value = self.builder.add(self.value, self.value)

    def _gate(self) -> None:
        """An operation with one number a channel, one a cell, one a sample or all of the value, made of it."""
        draw, b, value = self.draw, self.builder, self.value
        kind = draw(st.sampled_from([*ARITHMETIC]))
        made = b.global_pool(value) if draw(st.booleans()) else value
        if made != value and draw(st.booleans()):
            made = b.reshape(b.linear(b.flatten(made), b.shapes[value][0], "dense"), 1)
        if draw(st.booleans()):
            out = draw(st.sampled_from([1, b.shapes[value][0]]))
            made = b.conv(made, out, 1, 1, 0, bias=True)
            made = b.norm(made) if draw(st.booleans()) else made
        if draw(st.booleans()):
            made = b.activation(draw(st.sampled_from([*ACTIVATIONS])), made)
        if kind is Div:  # by something that is not near zero
            made = b.stored(Add, b.relu(made), np.array(1.0), trained=draw(st.booleans()))
        self.value = b.arithmetic(kind, *((value, made) if draw(st.booleans()) or kind is Div else (made, value)))
        self._finish()

    def _stored(self) -> None:
        """An operation with a stored tensor of some shape, on either side."""
        draw, b = self.draw, self.builder
        kind = draw(st.sampled_from([*ARITHMETIC]))
        first, last = kind is not Div and draw(st.booleans()), draw(st.booleans())
        tensor = b.random.uniform(0.5, 1.5, draw(st.sampled_from(stored_shapes(b.shapes[self.value], last))))
        self.value = b.stored(kind, self.value, tensor, first, draw(st.booleans()), last)
        self._finish()

    def _linear(self) -> None:
        """A linear layer over the channels at each position."""
        draw, channels = self.draw, self.builder.shapes[self.value][0]
        formats = ["dense", "csr", "masked", "block"] + (["channel"] if channels > 1 else [])
        out = 4 * draw(st.integers(1, 3))
        self.value = self.builder.linear(self.value, out, draw(st.sampled_from(formats)), 0.5, bias=draw(st.booleans()))
        self._finish()

    def _tokens(self) -> None:
        """Attention in front of, behind or between stored and picked positions."""
        draw, b = self.draw, self.builder
        before = b.shapes[self.value]
        if draw(st.booleans()):
            self.value = b.prepend(self.value, draw(st.integers(1, 2)))
        heads = draw(st.integers(1, 2))
        inner = b.linear(self.value, 3 * heads * draw(st.integers(1, 3)), draw(st.sampled_from(["dense", "csr"])), 0.3)
        inner = b.norm(inner) if draw(st.booleans()) else inner
        self.value = b.attention(inner, heads, draw(st.sampled_from([1.0, 0.5])))
        if prod(b.shapes[self.value][1:]) > prod(before[1:]):
            self.value = b.positions(self.value, draw(st.integers(0, 1)), prod(before[1:]))
        self.value = b.reshape(self.value, before[1]) if draw(st.booleans()) else self.value
        self._finish()

    def _concat(self) -> None:
        """Branches of the same size joined in some order, one perhaps twice."""
        before, parts = self.value, [self.value]
        for _ in range(self.draw(st.integers(1, 2))):
            self.value = before
            self._conv((self.draw(st.integers(1, 5)), *self.builder.shapes[before][1:]))
            parts.append(self.value)
        self.value = self.builder.concat(*self.draw(st.permutations([*parts, *parts[:1]])))
        self._finish()

    def _dense_block(self) -> None:
        """Layers that read all before them, joined behind one batch norm (Huang et al., section 3)."""
        b, parts = self.builder, [self.value]
        for _ in range(self.draw(st.integers(1, 3))):
            self.value = b.relu(b.norm(b.concat(*parts)))
            self._conv((self.draw(st.integers(1, 3)), *b.shapes[parts[0]][1:]))
            parts.append(self.value)
        self.value = b.concat(*parts)

    def _pad(self) -> None:
        """Rows and columns more or, of zeros, fewer."""
        draw, fill = self.draw, self.draw(st.sampled_from([*MODES]))
        padding = draw(st.tuples(*[st.integers(-2 if fill == "zeros" else 0, 2)] * 4))
        count = len(self.builder.operators)
        try:
            self.value = self.builder.pad(self.value, padding, fill)
        except ShapeError:
            assert len(self.builder.operators) == count
        self._finish()

    def _resize(self) -> None:
        """Another size, nearest or bilinear."""
        draw, b = self.draw, self.builder
        size = draw(st.tuples(*[st.integers(1, 9)] * 2))
        linear = st.sampled_from([("half_pixel", None), ("align_corners", None)])
        self.value = b.resize(self.value, size, *draw(st.sampled_from([*NEAREST]) | linear))
        self._finish()

    def _select(self) -> None:
        channels = self.builder.shapes[self.value][0]
        listed = self.draw(st.permutations(range(channels)))
        self.value = self.builder.select(self.value, listed[: self.draw(st.integers(1, channels))])

    def head(self) -> Network:
        """Global pooling or a flattened image, perhaps a hidden layer, and the classifier; some layers frozen."""
        draw, b = self.draw, self.builder
        if draw(st.booleans()):
            self.value = b.global_pool(self.value)
        self.value = b.flatten(self.value)
        formats = ["dense", "csr"] + (["channel"] if b.shapes[self.value][0] > 1 else [])
        if draw(st.booleans()):
            self.value = b.linear(self.value, draw(st.integers(2, 9)), draw(st.sampled_from(formats)), 0.5)
            self._finish()
            formats = ["dense", "csr"]
        b.linear(self.value, b.classes, draw(st.sampled_from(formats)), 0.5, bias=draw(st.booleans()))
        network = b.network()
        able = [name for name, parameter in network.parameters.items() if parameter.trainable]
        still = draw(st.sets(st.sampled_from(able), max_size=len(able) - 1)) if draw(st.booleans()) else set()
        return network.with_parameters({name: replace(network.parameters[name], trainable=False) for name in still})


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """A small network of any operators, geometry and formats that passes the checks of a file that was read."""
    draft = Draft(draw)
    for _ in range(draw(st.integers(1, 6))):
        draft.grow()
    network = draft.head()
    check_network(network)
    return network


@st.composite
def choices_for(draw: st.DrawFn) -> Choices:
    """Anything that a plan may choose. Two images at least, so that no batch norm sees one value."""
    size = draw(st.integers(2, 9) | st.sampled_from([16, 19]))
    frozen = draw(st.integers(0, 3)) == 0
    return Choices(
        batch_size=size,
        micro_batch=draw(st.integers(1, size)) if frozen else size,
        recompute=draw(st.sampled_from(["none", "activations", "blocks"])),
        batch_norm="frozen" if frozen else "train",
        threads=draw(st.integers(1, 3)),
        optimizer=OptimizerChoice(nesterov=draw(st.booleans())),
        label_smoothing=draw(st.sampled_from([0.0, 0.1])),
    )


def truth_and_floor(network: Network, choices: Choices, images: np.ndarray, labels: np.ndarray):
    """Losses, tensors and logits of three steps of PyTorch in float64, and how far its own float32 is from them."""
    found = []
    for dtype in (torch.float64, torch.float32):
        referee = Referee(network, choices, dtype)
        losses = np.array([referee.step(images, labels, RATE) for _ in range(STEPS)])
        with torch.no_grad():
            logits = referee.forward(torch.from_numpy(images), False).numpy()
        found.append({"losses": losses, "logits": logits, **referee.tensors()})
    exact, single = found
    return exact, {name: float(np.abs(single[name] - value).max(initial=0)) for name, value in exact.items()}


def native(network: Network, choices: Choices, images: np.ndarray, labels: np.ndarray, isa: str = ""):
    """The same of the native engine."""
    engine = NativeEngine.of(network, choices, isa)
    try:
        losses = np.array([engine.train_step(images, labels, RATE).loss for _ in range(STEPS)])
        tensors = engine_tensors(network, engine.snapshot())
        assert engine.zeros_kept()
        return {"losses": losses, "logits": np.array(engine.predict(images)), **tensors}
    finally:
        engine.close()


def numpy_referee(network: Network, choices: Choices, images: np.ndarray, labels: np.ndarray):
    """The same of the numpy executor, without gradients."""
    engine = Reference(network, choices)
    losses = np.array([engine.train_step(images, labels, RATE).loss for _ in range(STEPS)])
    assert engine.zeros_kept()
    tensors = {name: value for name, value in engine.tensors.items() if value.dtype.kind == "f"}
    return {"losses": losses, "logits": engine.predict(images), **tensors}


def differences(
    found: Mapping[str, np.ndarray], exact: Mapping[str, np.ndarray], floor: Mapping[str, float]
) -> list[str]:
    """What is further from float64 than rounding is."""
    largest = {True: 0.0, False: 0.0}
    for name, value in exact.items():
        gradient = name.endswith(":grad")
        largest[gradient] = max(largest[gradient], float(np.abs(value).max(initial=0)))
    wrong = []
    for name, value in found.items():
        error = float(np.abs(value - exact[name]).max(initial=0))
        scale = float(np.abs(exact[name]).max(initial=0)) + largest[name.endswith(":grad")]
        if not error <= FLOORS * floor[name] + SHARE * scale:
            wrong.append(f"{name}: {error:.3g} (float32's own {floor[name]:.3g}, scale {scale:.3g})")
    return wrong


def follow(network: Network, choices: Choices, seed: int) -> None:
    """Every engine on the first of a few batches on which it agrees."""
    engines = {f"native {isa}": lambda *given, isa=isa: native(*given, isa) for isa in instruction_sets()}
    engines["numpy"] = numpy_referee
    found: dict[str, list[str]] = {}
    for attempt in range(BATCHES):
        images, labels = batch(network, choices.batch_size, seed + attempt)
        exact, floor = truth_and_floor(network, choices, images, labels)
        for name, run in list(engines.items()):
            wrong = differences(run(network, choices, images, labels), exact, floor)
            if wrong:
                found.setdefault(name, wrong)
            else:
                del engines[name]
        if not engines:
            return
    for operator in network.operators:
        note(repr(operator))
    raise AssertionError({name: found[name] for name in engines})


@given(networks(), choices_for(), st.integers(0, 2**16))
def test_random_networks_follow_pytorch(network: Network, choices: Choices, seed: int) -> None:
    """Losses, gradients, weights, statistics and logits: any geometry, format, mode, threads, instruction set."""
    follow(network, choices, seed)
