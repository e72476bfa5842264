"""What of an artifact one engine needs, and an artifact cut down to it that still verifies."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from edge.handover.artifact import open_artifact
from edge.handover.manifest import ENGINE_FILES, Manifest, write_manifest
from edge.network import Network
from edge.spelling import named
from export.checks.observe import REFERENCE
from export.directory import check_writable, whole_directory
from export.ort.files import OPTIMIZER
from mest.errors import InputError

# `reference.npz` stays in each: mest verify asks every engine that is there for the answers in it.
CONTENTS: Mapping[str, frozenset[str] | None] = {
    "all": None,
    "native": frozenset({*ENGINE_FILES["native"], REFERENCE}),
    "ort": frozenset({*ENGINE_FILES["ort"], OPTIMIZER, REFERENCE}),
}


def cut_artifact(path: Path, out: Path, contents: str, overwrite: bool = False) -> Manifest:
    """Write a copy of an artifact with the files of one engine alone, and return its manifest.

    Raises InputError if it has not what the engine needs, DamagedError if a file was altered.
    """
    if contents == "all":
        raise InputError(
            f"{path}: is an artifact; {named('contents')} native or {named('contents')} ort copies "
            f"what that engine needs of it"
        )
    if out.resolve() == path.resolve():
        raise InputError(f"{named('out')} {out}: is the artifact that is cut; give another place")
    check_writable(out, overwrite)
    artifact = open_artifact(path)
    check_engine(contents, artifact.manifest, artifact.network)
    manifest = cut_down(artifact.manifest, contents, artifact.manifest.files)
    with whole_directory(out, overwrite) as folder:
        for name in artifact.manifest.files.keys() - set(manifest.left_out):
            shutil.copyfile(path / name, folder / name)
        return write_manifest(manifest, folder)


def check_engine(contents: str, manifest: Manifest, network: Network) -> None:
    """Raise InputError unless an artifact holds what an engine needs."""
    if contents == "native" and network.foreign():
        raise InputError(f"{named('contents')} native: the native engine cannot run it: {manifest.native['reason']}")
    if contents == "ort" and not manifest.ort["available"]:
        raise InputError(
            f"{named('contents')} ort: there are no files for onnxruntime-training: {manifest.ort['reason']}"
        )


def cut_down(manifest: Manifest, contents: str, files: Iterable[str]) -> Manifest:
    """The manifest of an artifact that keeps of `files` what `contents` needs; `left_out` names the others."""
    kept = CONTENTS[contents]
    if kept is None:
        return manifest
    gone = set(files) - kept
    ort = manifest.ort
    if gone & set(ENGINE_FILES["ort"]):
        ort = {**ort, "available": False, "reason": f"they were left out by mest export --for {contents}"}
    disk = {name: nbytes for name, nbytes in manifest.sizes.get("disk", {}).items() if name in kept}
    left_out = tuple(sorted({*manifest.left_out, *gone}))
    return replace(manifest, ort=ort, sizes={**manifest.sizes, "disk": disk}, left_out=left_out)
