"""Convolution and the linear layer, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.engines.reference.operators.rule import Gradients, Rule, Tensors
from edge.engines.reference.windows import Windows
from edge.network import Conv, Linear
from edge.network.operators.convolution import ConvTranspose


class ConvRule(Rule[Conv]):
    """Sums over the taps of the kernel."""

    def forward(self, op: Conv, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool) -> np.ndarray:
        """`(n, out, h, w)`: y[o] = Σ over taps and channels of the group of w[o, c, i, j] · x_tap[c], plus the bias."""
        (x,), weight, bias = inputs, tensors["weight"], tensors.get("bias")
        windows = _windows(op, x, weight)
        y = np.zeros((x.shape[0], op.groups, op.shape[0] // op.groups, op.shape[1] * op.shape[2]), x.dtype)
        for i, j, seen in windows.taps(windows.pad(x)):
            y += _by_group(weight, op.groups)[..., i, j] @ _flat(seen, op.groups)
        y = y.reshape(x.shape[0], *op.shape)
        return y if bias is None else y + bias[:, None, None]

    def backward(
        self, op: Conv, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool, grad: np.ndarray
    ) -> Gradients:
        """The same loop with the roles exchanged."""
        (x,), weight = inputs, tensors["weight"]
        windows = _windows(op, x, weight)
        grad_padded = windows.pad(np.zeros_like(x))
        grad_weight = np.zeros_like(weight)
        flat = _flat(grad, op.groups)
        taps = zip(windows.taps(windows.pad(x)), windows.taps(grad_padded), strict=True)
        for (i, j, seen), (_, _, grad_seen) in taps:
            tap = _by_group(weight, op.groups)[..., i, j]
            grad_seen += (tap.swapaxes(-1, -2) @ flat).reshape(grad_seen.shape)
            products = flat @ _flat(seen, op.groups).swapaxes(-1, -2)  # (n, groups, out, in)
            grad_weight[..., i, j] = products.sum(axis=0).reshape(weight.shape[:2])
        of_parameters = {"weight": grad_weight, "bias": grad.sum(axis=(0, 2, 3))}
        return [windows.inside(grad_padded).copy()], of_parameters


class ConvTransposeRule(Rule[ConvTranspose]):
    """The same sums over taps, from the image that a convolution would write to the one that it would read."""

    def forward(
        self, op: ConvTranspose, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool
    ) -> np.ndarray:
        """`(n, out, h, w)`: a tap of all windows gets Σ over the channels of the group of w[c, o, i, j] · x[c]."""
        (x,), weight, bias = inputs, tensors["weight"], tensors.get("bias")
        windows = _mirrored(op, x, weight)
        padded = windows.pad(np.zeros((x.shape[0], *op.shape), x.dtype))
        for i, j, seen in windows.taps(padded):
            tap = _by_group(weight, op.groups)[..., i, j]
            seen += (tap.swapaxes(-1, -2) @ _flat(x, op.groups)).reshape(seen.shape)
        y = windows.inside(padded)
        return y.copy() if bias is None else y + bias[:, None, None]

    def backward(
        self,
        op: ConvTranspose,
        inputs: Sequence[np.ndarray],
        tensors: Tensors,
        batch_statistics: bool,
        grad: np.ndarray,
    ) -> Gradients:
        """A convolution of the gradient, and the products of both for the weight."""
        (x,), weight = inputs, tensors["weight"]
        windows, flat = _mirrored(op, x, weight), _flat(x, op.groups)
        grad_x, grad_weight = np.zeros_like(flat), np.zeros_like(weight)
        for i, j, seen in windows.taps(windows.pad(grad)):
            grad_x += _by_group(weight, op.groups)[..., i, j] @ _flat(seen, op.groups)
            products = flat @ _flat(seen, op.groups).swapaxes(-1, -2)  # (n, groups, in, out)
            grad_weight[..., i, j] = products.sum(axis=0).reshape(weight.shape[:2])
        return [grad_x.reshape(x.shape)], {"weight": grad_weight, "bias": grad.sum(axis=(0, 2, 3))}


class LinearRule(Rule[Linear]):
    """x · Wᵀ + b with the channels of x last."""

    def forward(self, op: Linear, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool) -> np.ndarray:
        """`(n, out)` or `(n, out, h, w)`."""
        y = np.moveaxis(inputs[0], 1, -1) @ tensors["weight"].T + tensors.get("bias", 0)
        return np.moveaxis(np.asarray(y), -1, 1)

    def backward(
        self, op: Linear, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool, grad: np.ndarray
    ) -> Gradients:
        """g · W; gᵀ · x and Σ g."""
        rows = np.moveaxis(grad, 1, -1)  # (n, ..., out)
        flat, seen = rows.reshape(-1, rows.shape[-1]), np.moveaxis(inputs[0], 1, -1).reshape(-1, inputs[0].shape[1])
        return [np.moveaxis(rows @ tensors["weight"], -1, 1)], {"weight": flat.T @ seen, "bias": flat.sum(axis=0)}


def _windows(op: Conv, x: np.ndarray, weight: np.ndarray) -> Windows:
    return Windows.of(x.shape, op.shape, weight.shape[2:], op.stride, op.padding, op.dilation)


def _mirrored(op: ConvTranspose, x: np.ndarray, weight: np.ndarray) -> Windows:
    """The windows over what the operator writes that give as many positions as x has."""
    written = (len(x), *op.shape)
    return Windows.of(written, x.shape[1:], weight.shape[2:], op.stride, op.padding, op.dilation)


def _by_group(weight: np.ndarray, groups: int) -> np.ndarray:
    """A weight as `(groups, out/groups, in/groups, kh, kw)`."""
    return weight.reshape(groups, -1, *weight.shape[1:])


def _flat(values: np.ndarray, groups: int) -> np.ndarray:
    """Images as `(n, groups, c/groups, h·w)`."""
    return values.reshape(values.shape[0], groups, values.shape[1] // groups, -1)
