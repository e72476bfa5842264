"""Altered networks: the reader refuses them or the engine runs them; nothing crashes."""

from __future__ import annotations

import os

import numpy as np
import pytest
from native_check import batch
from native_networks import Builder

from edge.engines.native.engine import NativeEngine
from edge.errors import EdgeError
from edge.network import Mul, Network, Sub, read_network, write_network
from edge.plan.choices import Choices

# Altered networks in all, and where their random numbers begin: raise the first, move the second, to look further.
CASES = int(os.environ.get("MEST_FUZZ_CASES", "360"))
SEED = int(os.environ.get("MEST_FUZZ_SEED", "0"))
PARTS = 3


def every_format() -> Network:
    """A small network with a weight in every format."""
    b = Builder((2, 5, 5), 3)
    x = b.relu(b.norm(b.conv("input", 8)))
    for fmt in ("csr", "block", "pattern", "channel", "masked"):
        x = b.conv(x, 8, fmt=fmt, sparsity=0.6)
    x = b.arithmetic(Mul, x, b.stored(Sub, b.global_pool(x), np.full((8, 1, 1), 0.5), first=True))
    x = b.sample_norm(b.sample_norm(x, 2), 0, "scale")
    tokens = b.stored(Sub, b.prepend(x, 2), b.random.normal(size=(1, 27, 8)), last=True)
    x = b.reshape(b.positions(b.transformer(tokens, 2, "csr"), 1, 25), 5)
    x = b.reshape(b.select_positions(x, np.arange(24, 0, -1)), 4)
    x = b.add(x, b.attention(b.linear(x, 24), 2, 1.0, 4, 5, 4))
    x = b.add(x, b.transpose(b.matmul(b.softmax(b.matmul(x, x, (False, True))), x), (2, 4, 6, 4), (8, 4, 6)))
    x = b.resize(
        b.pad(b.concat(b.select(x, [3, 1, 6, 2]), x), (1, 0, 2, -1), "zeros"), (5, 4), "half_pixel", scale=(0.7, 0.9)
    )
    x = b.conv_transpose(b.conv_transpose(x, 8, (3, 2), (1, 2), (1, 0), fmt="block", bias=True), 4, fmt="csr")
    return b.head(b.max_pool(b.resize(x, (7, 7), "asymmetric", "floor"), 2, 2))


@pytest.mark.parametrize("file", ["network.json", "network.bin"])
@pytest.mark.parametrize("part", range(PARTS))
def test_altered_files_are_refused_or_run(file: str, part: int, tmp_path) -> None:
    """Bytes are changed, removed and repeated; whatever is still a network takes a step."""
    write_network(every_format(), tmp_path)
    whole = (tmp_path / file).read_bytes()
    random = np.random.default_rng([SEED, part])
    images, labels = batch(every_format(), 2)
    ran = 0
    for _ in range(CASES // (2 * PARTS)):
        (tmp_path / file).write_bytes(altered(whole, random))
        try:
            network = read_network(tmp_path)
            engine = NativeEngine.of(network, Choices(batch_size=2, micro_batch=2, threads=1))
            if network.input == images.shape[1:] and network.classes == 3:
                engine.train_step(images, labels, 0.1)
                engine.predict(images)
            engine.close()
            ran += 1
        except EdgeError:
            continue
    if file == "network.bin":
        assert ran > 0


def altered(content: bytes, random: np.random.Generator) -> bytes:
    """The bytes with one to three small changes."""
    changed = bytearray(content)
    for _ in range(random.integers(1, 4)):
        at = int(random.integers(len(changed)))
        kind = random.integers(3)
        if kind == 0:
            changed[at] = int(random.integers(256))
        elif kind == 1 and chr(changed[at]).isdigit():
            changed[at] = ord(str(random.integers(10)))
        else:
            changed[at] ^= 1 << int(random.integers(8))
    return bytes(changed)
