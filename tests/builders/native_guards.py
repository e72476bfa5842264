"""Guard words around the arrays of an engine, and a network that touches all of its code."""

from __future__ import annotations

import numpy as np
from native_networks import Builder

from edge.network import Add, Div, Mul, Network, Sub

GUARD, PATTERN = 4096, 0xA5


def between_guards(count: int, dtype: type | np.dtype) -> tuple[np.ndarray, int, int]:
    """Zeros between two guards: the memory with both, and where the zeros start and end in it."""
    nbytes = count * np.dtype(dtype).itemsize
    raw = np.full(nbytes + 2 * GUARD + 64, PATTERN, np.uint8)
    start = GUARD + -(raw.ctypes.data + GUARD) % 64
    raw[start : start + nbytes] = 0
    return raw, start, start + nbytes


def mixed() -> Network:
    """Every kind of operator with a scratch of its own, on odd sizes."""
    b = Builder((3, 11, 13), 5)
    x = b.relu(b.norm(b.conv("input", 8, 3, 2)))
    y = b.sample_norm(b.conv(b.max_pool(x, 3, 1, 1), 8, fmt="block"), 2)
    x = b.relu6(b.add(b.norm(y), x))
    x = b.avg_pool(b.conv(x, 12, (1, 3), 1, (0, 1, 0, 1), fmt="csr", bias=True), 2, 2, ceil=True)
    x = b.conv(b.conv(x, 12, 3, groups=12), 12, fmt="pattern", sparsity=0.7)
    x = b.arithmetic(Mul, x, b.relu(b.conv(b.global_pool(x), 12, 1, 1, 0, bias=True)))
    x = b.norm(b.stored(Sub, b.arithmetic(Mul, x, b.norm(b.conv(x, 1))), np.full((12, 1, 1), 0.3), first=True))
    x = b.arithmetic(Div, x, b.stored(Add, b.relu(x), b.random.uniform(1, 2, (1, *b.shapes[x]))))
    x = b.sample_norm(b.sample_norm(x, 0), 1, per_cell=True)
    channels, height, width = b.shapes[x]
    tokens = b.stored(Add, b.prepend(x, 2), b.random.normal(size=(1, height * width + 2, channels)), last=True)
    x = b.reshape(b.positions(b.transformer(tokens, 3, "csr"), 1, height * width), height)
    return b.head(b.conv(x, 8, fmt="channel", sparsity=0.5))
