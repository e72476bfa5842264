"""What a board command is given: an artifact directory, or a state directory that continues one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from edge.digest import file_sha256
from edge.errors import DamagedError, InputError
from edge.manifest import Manifest, read_manifest
from edge.network import Network, read_network, select_trainable
from edge.plan.choices import OptimizerChoice
from edge.preprocess import Preprocess
from edge.state import is_state, read_facts

MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True)
class Artifact:
    """An artifact whose files were checked, with its network's description."""

    path: Path
    manifest: Manifest
    network: Network
    preprocess: Preprocess
    state: Path | None = None  # the state directory that was given instead

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names in the order of the logits."""
        return tuple(self.manifest.class_names)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Input (channels, height, width)."""
        return self.network.input

    @property
    def optimizer(self) -> OptimizerChoice:
        """The optimizer that it was exported for."""
        try:
            return OptimizerChoice(**self.manifest.optimizer)
        except TypeError as error:
            raise DamagedError(f"{self.path / MANIFEST_FILE}: its optimizer is not one of ours ({error})") from None

    def mutation_targets(self, trainable: str = "all") -> dict[str, float]:
        """Target weight sparsity of every sparse parameter that is trained: what mutation may move."""
        trained = select_trainable(self.network, trainable)
        return {
            name: parameter.target_sparsity
            for name, parameter in self.network.sparse_parameters().items()
            if parameter.target_sparsity is not None and name in trained
        }

    def sparsity(self, stored: float) -> float:
        """Zeros ÷ weights of the sparse layers as they were trained, from that of the layers stored sparse."""
        return trained_sparsity(self.manifest, self.network, stored)

    def identity(self) -> dict[str, str]:
        """Where the artifact lies and what it is, as a state records it."""
        return {"path": str(self.path.resolve()), "manifest_sha256": file_sha256(self.path / MANIFEST_FILE)}


def trained_sparsity(manifest: Manifest, network: Network, stored: float) -> float:
    """Zeros ÷ weights of all layers that were trained sparse; what export removed with its channels counts as zeros.

    `stored` is the same of the network's own sparse parameters, now; a layer that only lost channels is none of them.
    """
    weights = sum(parameter.size for parameter in network.sparse_parameters().values())
    kept, total = weights * (1 - stored), weights
    for layer in manifest.layers:
        parameter = network.parameters.get(layer["name"])
        if layer.get("scheme") and parameter is not None:
            total += prod(layer["shape"]) - (parameter.size if parameter.sparse else 0)
            kept += 0 if parameter.sparse else parameter.size
    return 1 - kept / total if total else 0.0


def open_artifact(path: Path) -> Artifact:
    """The artifact at a path, or the one that the state at the path was trained from.

    Raises InputError if it is neither, DamagedError if a file was altered.
    """
    state = None
    if is_state(path):
        state, path = path, _artifact_of(path)
    if not (path / MANIFEST_FILE).is_file():
        raise InputError(f"{path}: neither an artifact nor a state; give the directory that 'mest export' wrote")
    manifest = read_manifest(path)
    return Artifact(path, manifest, read_network(path), Preprocess.from_json(manifest.preprocess), state)


def _artifact_of(state: Path) -> Path:
    return check_identity(state, read_facts(state).get("artifact"))


def check_identity(state: Path, recorded: Mapping[str, Any] | None) -> Path:
    """The artifact that a state names, looked for where it was and beside the state."""
    if not isinstance(recorded, Mapping):
        raise DamagedError(f"{state}: names no artifact")
    path = Path(str(recorded["path"]))
    found = [place for place in (path, state.parent / path.name) if (place / MANIFEST_FILE).is_file()]
    for place in found:
        if file_sha256(place / MANIFEST_FILE) == recorded["manifest_sha256"]:
            return place
    if found:
        raise DamagedError(
            f"{found[0]}: is not the artifact that {state} was trained from; put that one back there or beside the "
            "state, or fine-tune this one into another --out"
        )
    raise InputError(f"{state}: its artifact is not at {path} any more; put it there or beside the state")
