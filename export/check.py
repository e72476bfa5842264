"""The checks of an export, repeated anywhere: files, network, and every engine that is here on the stored batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edge.artifact import trained_sparsity
from edge.errors import DamagedError
from edge.manifest import MANIFEST, Manifest, read_manifest
from edge.network import Network, read_network
from edge.plan.choices import OptimizerChoice
from export.observe import REFERENCE, Batch, Observed, native_missing, observe_native, observe_ort, observe_reference
from export.ort.files import missing

# Engines differ from the stored float64 answers by rounding, other processors by a little more; onnxruntime's running
# variance is the biased one, n samples for PyTorch's n − 1, and eight is the fewest that a batch norm sees here.
LOGITS_SHARE, LOSS_SHARE, MOVED_SHARE, VARIANCE_SHARE = 1e-3, 1e-4, 1e-2, 0.2


def check_artifact(path: Path) -> dict[str, Any]:
    """What was checked of an artifact, with the largest difference of each engine over what is allowed.

    Raises DamagedError naming the file that was altered, or the engine, layer and numbers that differ.
    """
    manifest = read_manifest(path)
    network = read_network(path)
    try:
        _compare_layers(path, manifest, network)
        observed, skipped = _observe(path, manifest, network)
        agreement = {seen.engine: _compare(path, seen, answers) for seen, answers in observed}
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as wrong:
        reason = str(wrong).strip().splitlines()[0][:200] if str(wrong).strip() else type(wrong).__name__
        raise DamagedError(f"{path / MANIFEST}: does not fit the other files ({reason})") from wrong
    return {
        "artifact": str(path),
        "files": sorted(manifest.files),
        "layers": len(manifest.layers),
        "sparsity": trained_sparsity(manifest, network, network.sparsity()),
        "agreement": agreement,
        "skipped": skipped,
    }


def _compare_layers(path: Path, manifest: Manifest, network: Network) -> None:
    """Raise DamagedError where the manifest says of a layer what its stored tensors deny."""
    if bool(manifest.native.get("available")) == bool(network.foreign()):
        raise DamagedError(f"{path / MANIFEST}: what it says of the native engine is not what network.json has")
    if manifest.input != network.input or len(manifest.class_names) != network.classes:
        raise DamagedError(f"{path / MANIFEST}: input and classes are not those of network.json")
    for layer in manifest.layers:
        parameter = network.parameters.get(layer["name"])
        facts = ("format", "nonzeros", "bytes", "index_bytes")
        if parameter is None:
            raise DamagedError(f"{path / MANIFEST}: layer {layer['name']} is not in network.json")
        stored = (parameter.format, parameter.nonzeros, parameter.nbytes, parameter.index_bytes)
        for fact, said, found in zip(facts, (layer[fact] for fact in facts), stored, strict=True):
            if said != found:
                raise DamagedError(f"{path / MANIFEST}: {layer['name']} has {fact} {found}, not {said}")


def _observe(
    path: Path, manifest: Manifest, network: Network
) -> tuple[list[tuple[Observed, dict[str, Any]]], dict[str, str]]:
    """What every engine that is here makes of the stored batch, beside the answers; and why others are not run."""
    batch, answers = _read_reference(path / REFERENCE)
    optimizer, smoothing = OptimizerChoice(**manifest.optimizer), manifest.label_smoothing
    skipped: dict[str, str] = {}
    observed = [] if network.foreign() else [observe_reference(network, batch, optimizer, smoothing)]
    if not manifest.ort["available"]:
        skipped["ort"] = f"the artifact has none: {manifest.ort['reason']}"
    elif (reason := missing()) is not None:
        skipped["ort"] = reason
    else:
        observed.append(observe_ort(path, batch, network, manifest.ort["parameters"]))
    if network.foreign():
        skipped["native"] = f"the artifact has none: {manifest.native['reason']}"
    elif (reason := native_missing()) is not None:
        skipped["native"] = reason
    else:
        observed.append(observe_native(network, batch, optimizer, smoothing))
    return [(seen, answers) for seen in observed], skipped


def _read_reference(path: Path) -> tuple[Batch, dict[str, Any]]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            batch = Batch(stored["images"], stored["labels"], float(stored["learning_rate"]))
            moved = dict(zip(stored["names"].tolist(), stored["moved"].tolist(), strict=True))
            return batch, {"logits": stored["logits"], "loss": float(stored["loss"]), "moved": moved}
    except (OSError, ValueError, KeyError) as wrong:
        raise DamagedError(f"{path}: is not the reference batch that export wrote ({wrong})") from wrong


def _compare(path: Path, seen: Observed, answers: dict[str, Any]) -> float:
    if seen.nonzero_outside:
        raise DamagedError(f"{path}: engine {seen.engine}: {seen.nonzero_outside[0]} is not zero outside its mask")
    scale = float(np.abs(answers["logits"]).max()) + 1e-6
    pairs = [
        ("logits", float(np.abs(seen.logits - answers["logits"]).max()), LOGITS_SHARE * scale),
        ("loss", abs(seen.loss - answers["loss"]), LOSS_SHARE * (1 + abs(answers["loss"]))),
    ]
    largest = max(answers["moved"].values(), default=0.0)
    for name, wanted in answers["moved"].items():
        if name in seen.updated:
            step = seen.updated[name].astype(np.float64) - seen.before[name]
            share = VARIANCE_SHARE if name.endswith("running_var") else MOVED_SHARE
            pairs.append((name, abs(float(np.linalg.norm(step)) - wanted), share * wanted + 1e-3 * largest))
    for name, difference, allowed in pairs:
        if not difference <= allowed:
            raise DamagedError(
                f"{path}: engine {seen.engine}: {name} differs from the stored answer by {difference:.3g} "
                f"(allowed {allowed:.3g}); export the artifact again"
            )
    return max(difference / allowed for _, difference, allowed in pairs)
