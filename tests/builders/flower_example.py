"""Small layouts and networks for federated rounds, made without any workstation library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from native_artifact import write_artifact
from native_networks import Builder

from edge.handover.artifact import Artifact, open_artifact
from edge.network import Network
from edge.weight.formats import encode_parameter
from edge.weight.parameter import Parameter
from export.flower.averaging import Update
from export.flower.layout import Layout, Weights

FORMATS = ("csr", "block", "pattern", "channel", "masked")


def sparse_network(fmt: str, seed: int = 0) -> Network:
    """Three convolutions, the last two sparse in a format, with batch norms, and a classifier."""
    built = Builder((3, 8, 8), 4, seed)
    value = built.relu(built.norm(built.conv("input", 8)))
    value = built.relu(built.norm(built.conv(value, 8, fmt=fmt, sparsity=0.5)))
    value = built.relu(built.norm(built.conv(value, 8, fmt=fmt, sparsity=0.5)))
    built.linear(built.flatten(built.global_pool(value)), 4)
    return built.network()


def sparse_artifact(folder: Path, fmt: str = "csr") -> Artifact:
    """The same as an artifact."""
    return open_artifact(write_artifact(folder, sparse_network(fmt)))


def eight(mask: str = "11110000", target: float = 0.5) -> Parameter:
    """An irregular weight of 2 × 4 that keeps what is 1."""
    kept = np.array([letter == "1" for letter in mask]).reshape(2, 4)
    weight = np.where(kept, np.arange(1, 9, dtype=np.float32).reshape(2, 4), 0).astype(np.float32)
    return encode_parameter("w", weight, kept, scheme="irregular", target_sparsity=target, format="csr")


def vector(name: str, *values: float) -> Parameter:
    """A dense vector."""
    array = np.array(values, np.float32)
    return Parameter(name, array.shape, {"values": array})


def layout_of_eight() -> Layout:
    """The weight of eight with a batch norm of one channel beside it."""
    parameters = {"w": eight(), "mean": vector("mean", 0.0), "variance": vector("variance", 1.0)}
    return Layout(parameters, {"variance": "mean"})


def update(
    client: str, samples: int, mask: str, values: list[float], mean: float = 0.0, variance: float = 1.0
) -> Update:
    """What a client sends of the weight of eight: the values of what its mask keeps."""
    arrays = {"w": values, "mean": [mean], "variance": [variance]}
    kept = np.array([letter == "1" for letter in mask])
    return Update(client, samples, Weights({n: np.array(a, np.float32) for n, a in arrays.items()}, {"w": kept}))


def bits(mask: np.ndarray) -> str:
    """A mask as ones and zeros."""
    return "".join("01"[int(one)] for one in mask)
