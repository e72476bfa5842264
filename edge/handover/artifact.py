"""What a board command is given: an artifact directory, or a state directory that continues one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from edge.data.preprocess import Preprocess
from edge.errors import DamagedError, InputError
from edge.files.digest import file_sha256
from edge.handover.manifest import Manifest, read_manifest, verify_files
from edge.handover.state import is_state, read_facts
from edge.inputs import as_image
from edge.network import Network, read_network, select_trainable
from edge.plan.choices import OptimizerChoice
from edge.spelling import named
from edge.weight.parameter import SCHEMES

MANIFEST_FILE = "manifest.json"
KNOWN = (None, *SCHEMES)
_HASH = "manifest_sha256"


@dataclass(frozen=True)
class Artifact:
    """An artifact whose files were checked, with its network's description."""

    path: Path
    manifest: Manifest
    network: Network
    preprocess: Preprocess
    state: Path | None = None  # the state directory that was given instead
    facts: Mapping[str, Any] | None = None  # what that state says of itself

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names in the order of the logits."""
        return tuple(self.manifest.class_names)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Input (channels, height, width) of the network; of the model it is `manifest.input`."""
        return self.network.input

    @property
    def optimizer(self) -> OptimizerChoice:
        """The optimizer that it was exported for."""
        return OptimizerChoice(**self.manifest.optimizer)

    def sizes_note(self, one_size: tuple[int, int] | None) -> tuple[str, ...]:
        """What to say where images do not have the network's size and export said nothing of sizes; else nothing.

        `one_size` is the (height, width) that all images have, None where they differ.
        """
        _, height, width = self.shape
        if one_size == (height, width) or Preprocess.from_json(self.manifest.preprocess).leads_anywhere:
            return ()
        how = "short side, then centre crop" if height == width else "whatever their aspect"
        return (f"the artifact says nothing of sizes: images are resized to the network's {height}x{width} ({how})",)

    def mutation_targets(self, trainable: str = "all", method: str = "none") -> dict[str, float]:
        """Target weight sparsity of every sparse parameter that is trained: what mutation may move.

        Raises InputError if `method` would move zeros of a scheme that only the workstation knows.
        """
        trained = select_trainable(self.network, trainable)
        targets = {
            name: parameter.target_sparsity
            for name, parameter in self.network.sparse_parameters().items()
            if parameter.target_sparsity is not None and name in trained
        }
        own = {layer["name"]: layer["scheme"] for layer in self.manifest.layers if layer.get("scheme") not in KNOWN}
        if method != "none" and (odd := sorted(targets.keys() & own.keys())):
            raise InputError(
                f"{named('mutate')} {method}: {odd[0]} has scheme {own[odd[0]]}, which no board "
                f"knows: zeros that move would "
                f"lose its shape; leave {named('mutate')} out, and they stay where they are"
            )
        return targets

    def sparsity(self, stored: float) -> float:
        """Zeros ÷ weights of the sparse layers as they were trained, from that of the layers stored sparse."""
        return trained_sparsity(self.manifest, self.network, stored)

    def identity(self, engine: str) -> dict[str, Any]:
        """Where the artifact lies and what it is to an engine, as a state of that engine records it."""
        return {"path": str(self.path.resolve()), "engine": engine, "sha256": self.manifest.identity(engine)}

    def began(self, recorded: Mapping[str, Any]) -> bool:
        """True if what a state recorded is this artifact, or one that computes the same."""
        return _is_recorded(self.path, self.manifest, recorded)


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
    state, facts = None, None
    if is_state(path):
        state, facts = path, read_facts(path)
        path, known = find_artifact(state, facts["artifact"])
        manifest = known or read_manifest(path, verify=False)
        verify_files(path, manifest.files)
    elif (path / MANIFEST_FILE).is_file():
        manifest = read_manifest(path)
    else:
        raise InputError(f"{path}: neither an artifact nor a state; give the directory that 'mest export' wrote")
    network, preprocess = read_network(path), Preprocess.from_json(manifest.preprocess)
    if as_image(manifest.input) != network.input or (preprocess.takes_images and len(manifest.input) != 3):
        raise DamagedError(
            f"{path / MANIFEST_FILE}: an input of {list(manifest.input)} is not that of network.json, "
            f"{list(network.input)}; export the artifact again"
        )
    if not preprocess.takes_images and preprocess.bands != network.input[0]:
        raise DamagedError(
            f"{path / MANIFEST_FILE}: preprocess has {preprocess.bands} means for {network.input[0]} channels; export "
            "the artifact again"
        )
    return Artifact(path, manifest, network, preprocess.leading_to(*network.input[1:]), state, facts)


def find_artifact(state: Path, recorded: Mapping[str, Any]) -> tuple[Path, Manifest | None]:
    """The artifact that a state names, where it was or beside the state under any name; its files are not verified yet.

    Its manifest too, unless a state of old names it by the manifest's hash.
    """
    path = Path(str(recorded["path"]))
    named_so = [place for place in (path, state.parent / path.name) if (place / MANIFEST_FILE).is_file()]
    damage: DamagedError | None = None
    for place in named_so:
        try:
            found = _recorded(place, recorded)
        except DamagedError as error:
            damage = damage or error
        else:
            if found is not None:
                return found
    for place in _artifacts_beside(state):
        with suppress(DamagedError, OSError):  # not what was asked for, so what is wrong with it does not matter
            found = _recorded(place, recorded)
            if found is not None:
                return found
    if damage is not None:
        raise damage
    if named_so:
        raise DamagedError(
            f"{named_so[0]}: is not the artifact that {state} was trained from; put that one back there or beside the "
            f"state, or fine-tune this one into another {named('state')}"
        )
    raise InputError(
        f"{state}: its artifact is neither at {path} nor beside the state; put it beside the state, under any name"
    )


def _artifacts_beside(state: Path) -> Iterator[Path]:
    """Folders beside a state that hold a manifest, in order of their names, as far as they may be looked into."""
    try:
        beside = sorted(state.absolute().parent.iterdir())
    except OSError:
        return
    for place in beside:
        with suppress(PermissionError):
            if (place / MANIFEST_FILE).is_file():
                yield place


def _recorded(place: Path, recorded: Mapping[str, Any]) -> tuple[Path, Manifest | None] | None:
    """An artifact and its manifest, as find_artifact gives them; None if it is not the one that a state recorded."""
    manifest = None if _HASH in recorded else read_manifest(place, verify=False)
    return (place, manifest) if _is_recorded(place, manifest, recorded) else None


def _is_recorded(place: Path, manifest: Manifest | None, recorded: Mapping[str, Any]) -> bool:
    """True if an artifact is what a state recorded; states of old recorded the hash of its manifest."""
    if manifest is None or _HASH in recorded:
        return file_sha256(place / MANIFEST_FILE) == recorded[_HASH]
    engine = recorded["engine"]
    found = manifest.identity(engine)
    if found is None:
        raise DamagedError(
            f"{place}: lacks the files of engine {engine}, which the state was trained by"
            + (f" (left out: {', '.join(manifest.left_out)})" if manifest.left_out else "")
            + "; put the whole artifact there or beside the state"
        )
    return found == recorded["sha256"]
