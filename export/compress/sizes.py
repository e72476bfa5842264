"""What every layer takes, counted from the definition of its format and stated beside the dense size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from edge.weight.parameter import Parameter
from export.sparse_layer import SparseLayer

FLOAT_BYTES = 4


@dataclass(frozen=True)
class LayerSize:
    """One weight. `shape` and `dense_bytes` are those of the model that was trained, before channels were removed.

    `bytes` is everything stored, `index_bytes` the part of it that is not weights. `paper_bytes` is what weights and
    gradients take while training in MEST's model, (1 − s) · N · (b_weight + b_gradient) plus one index per stored unit.
    """

    name: str
    scheme: str | None
    height: int | None
    format: str
    shape: tuple[int, ...]
    target_sparsity: float | None
    sparsity: float
    nonzeros: int
    dense_bytes: int
    bytes: int
    index_bytes: int
    paper_bytes: int


def layer_size(parameter: Parameter, shape: tuple[int, ...], layer: SparseLayer | None) -> LayerSize:
    """What a weight takes in its form; `layer` is how it was trained, None for a dense one."""
    nonzeros = parameter.nonzeros
    units = sum(tensor.nbytes for name, tensor in parameter.tensors.items() if name not in ("values", "row_starts"))
    return LayerSize(
        name=parameter.name,
        scheme=(layer.own or layer.scheme) if layer else None,
        height=layer.height if layer else None,
        format=parameter.format,
        shape=shape,
        target_sparsity=layer.target_sparsity if layer else None,
        sparsity=1 - nonzeros / prod(shape),
        nonzeros=nonzeros,
        dense_bytes=FLOAT_BYTES * prod(shape),
        bytes=parameter.nbytes,
        index_bytes=parameter.index_bytes,
        paper_bytes=2 * FLOAT_BYTES * nonzeros + units,
    )


def total_sizes(layers: list[LayerSize], others_bytes: int, files: Mapping[str, int]) -> dict[str, Any]:
    """Sums over the weights, the bytes of all other parameters (biases, batch norm), and of every file on disk."""
    return {
        "weights": {
            key: sum(getattr(layer, key) for layer in layers)
            for key in ("dense_bytes", "bytes", "index_bytes", "paper_bytes", "nonzeros")
        },
        "other_parameters_bytes": others_bytes,
        "disk": dict(files),
    }


def table(layers: list[dict[str, Any]], sizes: Mapping[str, Any]) -> str:
    """The sizes as a table for a person, one line per weight and one for all."""
    head = ("weight", "scheme", "format", "sparsity", "dense", "stored", "indices", "paper's memory")
    rows = [
        (
            layer["name"],
            layer["scheme"] or "-",
            layer["format"],
            f"{layer['sparsity']:.3f}",
            *(f"{layer[key]:,}" for key in ("dense_bytes", "bytes", "index_bytes", "paper_bytes")),
        )
        for layer in layers
    ]
    whole = sizes["weights"]
    weights = max(1, whole["dense_bytes"] // FLOAT_BYTES)
    rows.append(
        (
            "all",
            "",
            "",
            f"{1 - whole['nonzeros'] / weights:.3f}",
            *(f"{whole[key]:,}" for key in ("dense_bytes", "bytes", "index_bytes", "paper_bytes")),
        )
    )
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) if column < 3 else cell.rjust(width) for column, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in (head, *rows))
    ]
    lines.insert(1, "-" * len(lines[0]))
    lines.insert(-1, "-" * len(lines[0]))
    on_disk = ", ".join(f"{name} {size:,}" for name, size in sizes["disk"].items())
    return "\n".join([*lines, f"bytes on disk: {on_disk}"])


def as_json(layer: LayerSize) -> dict[str, Any]:
    """The layer as the manifest holds it."""
    return {**asdict(layer), "shape": list(layer.shape)}
