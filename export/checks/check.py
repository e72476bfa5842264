"""The checks of an export, repeated anywhere: files, network, and every engine that is here on the stored batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edge.errors import DamagedError
from edge.handover.artifact import trained_sparsity
from edge.handover.manifest import ENGINE_FILES, MANIFEST, Manifest, read_manifest
from edge.inputs import as_image
from edge.network import Network, read_network
from edge.plan.choices import OptimizerChoice
from export.checks.agreement import BATCHES, FLOOR_FACTOR, DisagreementError, attempts, compare, make_batch
from export.checks.observe import (
    REFERENCE,
    Batch,
    Observed,
    native_missing,
    observe_native,
    observe_ort,
    observe_reference,
)
from export.checks.referee import refer
from export.ort.files import missing

Run = Callable[[Batch], Observed]

# Engines differ from the stored float64 answers by rounding, other processors by a little more; onnxruntime's running
# variance is the biased one, n samples for PyTorch's n − 1, and eight is the fewest that a batch norm sees here.
LOGITS_SHARE, LOSS_SHARE, MOVED_SHARE, VARIANCE_SHARE = 1e-3, 1e-4, 1e-2, 0.2


def check_artifact(path: Path) -> dict[str, Any]:
    """What was checked of an artifact, with the largest difference of each engine over what is allowed.

    Two judges: the answers that export stored say whether the files are what was exported, and the numpy referee, here
    and number by number, whether this machine's engines compute them rightly. Raises DamagedError naming the file that
    was altered, or the engine, layer and numbers that differ.
    """
    manifest = read_manifest(path)
    network = read_network(path)
    try:
        _compare_layers(path, manifest, network)
        batch, answers = _read_reference(path / REFERENCE)
        engines, skipped = _engines(path, manifest, network)
        agreement = {}
        if "reference" in engines:  # first what is in the files, then who computes it rightly
            agreement["reference"] = _compare(path, engines.pop("reference")(batch), answers)
            agreement |= _referee(path, manifest, network, batch, engines)
        for name, run in engines.items():
            agreement[name] = max(agreement.get(name, 0.0), _compare(path, run(batch), answers))
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
        "left_out": list(manifest.left_out),
        "identity": {engine: manifest.identity(engine) for engine in ENGINE_FILES},
    }


def _compare_layers(path: Path, manifest: Manifest, network: Network) -> None:
    """Raise DamagedError where the manifest says of a layer what its stored tensors deny."""
    if bool(manifest.native.get("available")) == bool(network.foreign()):
        raise DamagedError(f"{path / MANIFEST}: what it says of the native engine is not what network.json has")
    if as_image(manifest.input) != network.input or len(manifest.class_names) != network.classes:
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


def _engines(path: Path, manifest: Manifest, network: Network) -> tuple[dict[str, Run], dict[str, str]]:
    """What runs a batch on every engine that is here, by name; and why others are not run."""
    optimizer, smoothing = OptimizerChoice(**manifest.optimizer), manifest.label_smoothing
    engines: dict[str, Run] = {}
    skipped: dict[str, str] = {}
    if not network.foreign():
        engines["reference"] = partial(observe_reference, network, optimizer=optimizer, label_smoothing=smoothing)
    if not manifest.ort["available"]:
        skipped["ort"] = f"the artifact has none: {manifest.ort['reason']}"
    elif (reason := missing()) is not None:
        skipped["ort"] = reason
    else:
        engines["ort"] = partial(observe_ort, path, network=network, written=manifest.ort["parameters"])
    if network.foreign():
        skipped["native"] = f"the artifact has none: {manifest.native['reason']}"
    elif (reason := native_missing()) is not None:
        skipped["native"] = reason
    else:
        engines["native"] = partial(observe_native, network, optimizer=optimizer, label_smoothing=smoothing)
    return engines, skipped


def _referee(
    path: Path, manifest: Manifest, network: Network, stored: Batch, engines: dict[str, Run]
) -> dict[str, float]:
    """Each engine's largest difference from the numpy referee over its tolerance, number by number.

    A ReLU input near zero may change side by this machine's rounding, so the first of a few `attempts` on which an
    engine agrees counts, as in an export.
    """
    optimizer, smoothing = OptimizerChoice(**manifest.optimizer), manifest.label_smoothing
    agreement: dict[str, float] = {}
    disagreements: dict[str, DisagreementError] = {}
    for seed, nudges in attempts():
        left = [name for name in engines if name not in agreement]
        if not left:
            break
        batch = stored
        if seed:
            batch = make_batch(manifest.input, network.classes, optimizer.kind, seed, network.task)
        expected = refer(network, batch, optimizer, smoothing, nudges)
        for name in left:
            try:
                agreement[name] = compare(expected, engines[name](batch), {}, name != "ort")
            except DisagreementError as disagreement:
                disagreements.setdefault(name, disagreement)
    for name, first in disagreements.items():
        if name not in agreement:
            raise DamagedError(
                f"{path}: {first}, and so on {BATCHES} batches, and by more than rounding explains: this machine's "
                f"{name} engine computes this network wrongly; use another engine and report it"
            )
    return agreement


def _read_reference(path: Path) -> tuple[Batch, dict[str, Any]]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            batch = Batch(stored["images"], stored["labels"], float(stored["learning_rate"]))
            names = stored["names"].tolist()
            moved = dict(zip(names, stored["moved"].tolist(), strict=True))
            floors: dict[str, Any] = {
                name: float(stored[name]) if name in stored else 0.0 for name in ("logits_floor", "loss_floor")
            }
            by_name = stored["moved_floors"].tolist() if "moved_floors" in stored else [0.0] * len(names)
            floors["moved_floors"] = dict(zip(names, by_name, strict=True))
            return batch, {"logits": stored["logits"], "loss": float(stored["loss"]), "moved": moved, **floors}
    except (OSError, ValueError, KeyError) as wrong:
        raise DamagedError(f"{path}: is not the reference batch that export wrote ({wrong})") from wrong


def _compare(path: Path, seen: Observed, answers: dict[str, Any]) -> float:
    if seen.nonzero_outside:
        raise DamagedError(f"{path}: engine {seen.engine}: {seen.nonzero_outside[0]} is not zero outside its mask")
    scale = float(np.abs(answers["logits"]).max()) + 1e-6
    logits_tolerance = LOGITS_SHARE * scale + FLOOR_FACTOR * answers["logits_floor"]
    loss_tolerance = LOSS_SHARE * (1 + abs(answers["loss"])) + FLOOR_FACTOR * answers["loss_floor"]
    pairs = [
        ("logits", float(np.abs(seen.logits - answers["logits"]).max()), logits_tolerance),
        ("loss", abs(seen.loss - answers["loss"]), loss_tolerance),
    ]
    largest = max(answers["moved"].values(), default=0.0)
    for name, wanted in answers["moved"].items():
        if name in seen.updated:
            step = seen.updated[name].astype(np.float64) - seen.before[name]
            share = VARIANCE_SHARE if name.endswith("running_var") else MOVED_SHARE
            allowed = share * wanted + 1e-3 * largest + FLOOR_FACTOR * answers["moved_floors"][name]
            pairs.append((name, abs(float(np.linalg.norm(step)) - wanted), allowed))
    for name, difference, allowed in pairs:
        if not difference <= allowed:
            raise DamagedError(
                f"{path}: engine {seen.engine}: {name} differs from the stored answer by {difference:.3g} "
                f"(allowed {allowed:.3g}); export the artifact again"
            )
    return max(difference / allowed for _, difference, allowed in pairs)
