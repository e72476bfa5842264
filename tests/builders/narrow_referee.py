"""The numpy reference with what the native engine keeps for the backward pass rounded as it rounds it.

The forward pass is exact. The backward pass then runs on values of its own: a stored tensor is rounded, and what is
only a way of reading it (a batch norm, an activation, another shape) is made of the rounded one, with the statistics of
the exact pass."""

from __future__ import annotations

import numpy as np

from edge.engines.native.geometry import sample_groups
from edge.engines.native.graph import build_graph
from edge.engines.native.node import Node
from edge.engines.reference import Reference
from edge.engines.reference.loss import cross_entropy
from edge.engines.reference.operators import rule_of
from edge.libmest.vocabulary import ACTS, SAVED_GROUP
from edge.network import INPUT, BatchNorm, Network
from edge.network.operators.sample_norm import SampleNorm
from edge.plan.choices import Choices


def bfloat16(x: np.ndarray) -> np.ndarray:
    """The nearest numbers with 8 significant bits, of two as near the even one; NaN stays NaN."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    near = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16
    kept = near.astype(np.uint32).view(np.float32)
    return np.where(np.isnan(x), np.float32(np.nan), kept)


def int8(x: np.ndarray) -> np.ndarray:
    """Of a row of numbers, group by group, the nearest of 255 steps of the largest number's size over 127."""
    flat = np.zeros(-(-x.size // SAVED_GROUP) * SAVED_GROUP, np.float64)
    flat[: x.size] = x.reshape(-1)
    groups = flat.reshape(-1, SAVED_GROUP)
    scale = np.abs(groups).max(axis=1, keepdims=True).astype(np.float32) * np.float32(1 / 127)
    codes = np.rint(np.divide(groups, scale, out=np.zeros_like(groups), where=scale > 0))
    return (codes * scale).reshape(-1)[: x.size].reshape(x.shape)


ROUNDINGS = {"float32": np.asarray, "bfloat16": bfloat16, "int8": int8}


def rounded(x: np.ndarray, saved: str) -> np.ndarray:
    """Values of a batch `(n, ...)` as they are kept: in the engine's order, samples of a group innermost."""
    groups, samples = sample_groups(len(x))
    order = x.reshape(groups, samples, -1).transpose(0, 2, 1)
    kept = ROUNDINGS[saved](np.ascontiguousarray(order)).astype(x.dtype)
    return kept.reshape(order.shape).transpose(0, 2, 1).reshape(x.shape)


class NarrowReference(Reference):
    """As `Reference`, for a batch in one piece; it follows `choices.saved` too, where nothing is recomputed."""

    def __init__(self, network: Network, choices: Choices) -> None:
        super().__init__(network, choices)
        self._stored = {node.name: node for node in build_graph(network) if node.family.stores}

    def batch_gradients(self, images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
        """Gradients of the mean loss of a batch, by parameter."""
        values = self.values(images, training=True)
        _, grad_logits = cross_entropy(values[self.network.logits], labels, self.choices.label_smoothing)
        return self._backward(values, self._kept(values), grad_logits)

    def _kept(self, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Every value as the backward pass reads it."""
        kept = {INPUT: self._as_kept(self._stored[INPUT], values[INPUT])}
        for op in self.network.operators:
            copy = f"{op.name}.input"
            if op.name in self._stored:
                kept[op.name] = self._as_kept(self._stored[op.name], values[op.name])
                continue
            inputs = [kept[name] for name in op.inputs]
            if copy in self._stored:
                inputs = [self._as_kept(self._stored[copy], values[op.inputs[0]])]
            if isinstance(op, BatchNorm):
                kept[op.name] = self._normalised(op, inputs[0], values[op.inputs[0]])
            else:
                kept[op.name] = rule_of(op).forward(op, inputs, self._tensors_of(op.parameters()), False)
        return kept

    def _as_kept(self, node: Node, exact: np.ndarray) -> np.ndarray:
        if node.store_act == ACTS.index("relu"):
            exact = np.maximum(exact, 0)
        elif node.store_act == ACTS.index("relu6"):
            exact = np.clip(exact, 0, 6)
        else:
            assert not node.store_act
        if node.norm is None:
            return rounded(exact, self.choices.saved)
        mean, _ = self._statistics(node.norm, exact)
        return rounded(exact - mean, self.choices.saved) + mean

    def _statistics(self, op: BatchNorm, exact: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and 1/deviation that the forward pass normalised by."""
        axes, tensors = (0, *range(2, exact.ndim)), self._tensors_of(op.parameters())
        if self._batch_statistics(op, len(exact)):
            mean, variance = exact.mean(axis=axes), exact.var(axis=axes)
        else:
            mean, variance = tensors["mean"], tensors["variance"]
        shape = (1, -1, *[1] * (exact.ndim - 2))
        return mean.reshape(shape), 1 / np.sqrt(variance + op.epsilon).reshape(shape)

    def _normalised(self, op: BatchNorm, x: np.ndarray, exact: np.ndarray) -> np.ndarray:
        mean, inverse = self._statistics(op, exact)
        tensors = self._tensors_of(op.parameters())
        scale, shift = (tensors[role].reshape(mean.shape) for role in ("scale", "shift"))
        return (x - mean) * inverse * scale + shift

    def _backward(
        self, values: dict[str, np.ndarray], kept: dict[str, np.ndarray], grad_logits: np.ndarray
    ) -> dict[str, np.ndarray]:
        of_values = {self.network.logits: grad_logits}
        found = {name: np.zeros_like(self.tensors[name]) for name in self.trained}
        for op in reversed(self.network.operators):
            names, grad = op.parameters(), of_values.pop(op.name)
            copy = self._stored.get(f"{op.name}.input")
            inputs = [kept[name] for name in op.inputs]
            if copy is not None:
                inputs = [self._as_kept(copy, values[op.inputs[0]])]
            if isinstance(op, BatchNorm):
                back, by_role = self._norm_backward(op, inputs[0], values[op.inputs[0]], grad)
            elif isinstance(op, SampleNorm):
                back, by_role = self._sample_norm_backward(op, inputs[0], values[op.inputs[0]], grad)
            else:
                back, by_role = rule_of(op).backward(op, inputs, self._tensors_of(names), False, grad)
            for name, one in zip(op.inputs, back, strict=True):
                of_values[name] = of_values[name] + one if name in of_values else one
            for role, name in names.items():
                if name in found:
                    found[name] += by_role[role]
        return {name: grad * self.masks.get(name, True) for name, grad in found.items()}

    def _norm_backward(
        self, op: BatchNorm, x: np.ndarray, exact: np.ndarray, grad: np.ndarray
    ) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
        mean, inverse = self._statistics(op, exact)
        axes, normalised = (0, *range(2, x.ndim)), (x - mean) * inverse
        by_role = {"scale": (grad * normalised).sum(axis=axes), "shift": grad.sum(axis=axes)}
        scaled = grad * self._tensors_of(op.parameters())["scale"].reshape(mean.shape)
        if self._batch_statistics(op, len(exact)):
            along_x = (scaled * normalised).mean(axis=axes, keepdims=True)
            scaled = scaled - scaled.mean(axis=axes, keepdims=True) - normalised * along_x
        return [scaled * inverse], by_role

    def _sample_norm_backward(
        self, op: SampleNorm, x: np.ndarray, exact: np.ndarray, grad: np.ndarray
    ) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
        """With mean and deviation of the exact pass, which the engine keeps as floats."""
        tensors = self._tensors_of(op.parameters())
        shape = (len(x), op.sets, -1, 1) if op.sets else (len(x), 1, x.shape[1], -1)
        split, before = x.reshape(shape), exact.reshape(shape)
        inverse = 1 / np.sqrt(before.var(axis=2, keepdims=True) + op.epsilon)
        normalised = (split - before.mean(axis=2, keepdims=True)) * inverse
        by_role = {}
        for role, each in (("scale", grad * normalised.reshape(x.shape)), ("shift", grad)):
            if role in tensors:
                whole = tensors[role].shape == x.shape[1:]
                by_role[role] = each.sum(axis=0 if whole else (0, *range(2, x.ndim)))
        if "scale" in tensors:
            scale = tensors["scale"]
            grad = grad * (scale if scale.shape == x.shape[1:] else scale.reshape(-1, *[1] * (x.ndim - 2)))
        along = grad.reshape(shape)
        taken = along.mean(axis=2, keepdims=True) + normalised * (along * normalised).mean(axis=2, keepdims=True)
        return [((along - taken) * inverse).reshape(x.shape)], by_role
