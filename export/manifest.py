"""The manifest of an artifact: what is in it, how it was checked, and a SHA-256 of every file."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from edge.handover.manifest import Manifest, write_manifest
from edge.network import Network
from edge.plan.choices import OptimizerChoice
from export.checks.agreement import Expected
from export.checks.observe import REFERENCE, Observed
from export.compress.sizes import LayerSize, as_json, total_sizes
from export.contents import check_engine, cut_down
from export.kept import Kept, cut
from export.options import Options
from export.ort.loss import SCALE
from export.ort.represent import OrtFiles
from export.source import Source
from mest.version import __version__

TOOLS = ("torch", "onnx", "onnxscript", "onnxruntime-training-cpu", "onnxruntime-training", "numpy")


@dataclass(frozen=True, eq=False)
class Facts:
    """Everything that the manifest states."""

    source: Source
    options: Options
    optimizer: OptimizerChoice
    label_smoothing: float
    network: Network
    layers: list[LayerSize]
    ort: OrtFiles
    native_reason: str | None
    ort_memory: dict[str, Any] | None
    kept: dict[str, Kept]
    expected: Expected
    observed: list[Observed]
    agreement: dict[str, float]


def write_facts(facts: Facts, folder: Path) -> Manifest:
    """Write reference.npz and manifest.json beside the other files of an artifact; return the manifest.

    Files that the options leave out are removed. Raises InputError where the engine that is left cannot be had.
    """
    _write_reference(facts, folder / REFERENCE)
    source = facts.source
    on_disk = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
    manifest = Manifest(
        tools=tool_versions(),
        input=source.input,
        preprocess=source.preprocess,
        class_names=source.class_names,
        optimizer=asdict(facts.optimizer),
        trainable=facts.options.trainable,
        label_smoothing=facts.label_smoothing,
        layers=tuple(as_json(layer) for layer in facts.layers),
        sizes=total_sizes(facts.layers, _other_bytes(facts), on_disk),
        native={"available": facts.native_reason is None, "reason": facts.native_reason},
        ort={
            "available": facts.ort.reason is None,
            "reason": facts.ort.reason,
            "room": facts.options.room,
            "recompute": facts.options.recompute,
            "blocks": [list(block) for block in facts.ort.blocks],
            "loss_scale": SCALE,
            "parameters": {name: written.as_json() for name, written in (facts.ort.represented or {}).items()},
            "memory": facts.ort_memory or {},
        },
        reference={
            "file": REFERENCE,
            "learning_rate": facts.expected.batch.learning_rate,
            "loss": facts.expected.loss,
            "agreement": facts.agreement,
        },
        run={**source.run, "kept": {name: _kept(kept) for name, kept in facts.kept.items()}},
    )
    check_engine(facts.options.contents, manifest, facts.network)
    manifest = cut_down(manifest, facts.options.contents, on_disk)
    for name in manifest.left_out:
        (folder / name).unlink()
    return write_manifest(manifest, folder)


def tool_versions() -> dict[str, str]:
    """What wrote the artifact, by name."""
    found = {"mest": __version__, "python": platform.python_version()}
    for name in TOOLS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _write_reference(facts: Facts, path: Path) -> None:
    """The batch with PyTorch's answers: logits, loss, the rounding errors of its own float32, and how
    far (Euclidean) one step moves every parameter."""
    expected = facts.expected
    names = sorted({name for seen in facts.observed for name in seen.updated} & set(expected.updated))
    moved = {name: cut(expected.updated[name] - expected.before[name], facts.kept.get(name)) for name in names}
    np.savez(
        path,
        images=expected.batch.images,
        labels=expected.batch.labels,
        learning_rate=np.float64(expected.batch.learning_rate),
        logits=expected.logits.astype(np.float32),
        loss=np.float64(expected.loss),
        logits_floor=np.float64(expected.floors.logits),
        loss_floor=np.float64(expected.floors.loss),
        names=np.array(names),
        moved=np.array([np.linalg.norm(moved[name]) for name in names]),
        moved_floors=np.array([expected.floors.norms[name] for name in names]),
    )


def _kept(kept: Kept) -> dict[str, Any]:
    return {name: None if entries is None else entries.tolist() for name, entries in vars(kept).items()}


def _other_bytes(facts: Facts) -> int:
    weights = {layer.name for layer in facts.layers}
    return sum(4 * value.size for name, value in facts.observed[0].updated.items() if name not in weights)
