"""The manifest of an artifact directory: what export wrote, and by SHA-256 that it is still what export wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from edge.errors import DamagedError
from edge.files.decode import decode
from edge.files.digest import file_sha256, sha256
from edge.files.durable import write_durably
from edge.files.fields import Fields, read_json
from edge.handover.sections import read_layers, read_native, read_ort, read_preprocess, read_run, read_sizes
from edge.plan.choices import OptimizerChoice

SCHEMA = "mest-artifact/1"
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 16 * 2**20
REQUIRED_FILES = ("network.json", "network.bin")
# What an engine computes with: its files, and with them what it is known by.
ENGINE_FILES: Mapping[str, tuple[str, ...]] = {
    "native": REQUIRED_FILES,
    "ort": (*REQUIRED_FILES, "training_model.onnx", "eval_model.onnx", "checkpoint"),
}


@dataclass(frozen=True)
class Manifest:
    """Everything that manifest.json says. What only one consumer understands stays plain JSON and is checked there.

    `layers` has per layer: name, scheme, height, format, shape, target_sparsity, sparsity, nonzeros, dense_bytes,
    bytes, index_bytes. `native` and `ort` say whether an engine can run it (`available`), and if not, why (`reason`).
    `input` is the model's own: (channels, height, width), (channels, length) or (features,).
    `files` has per file its `sha256` and `bytes`; `left_out` names those of a whole artifact that this one lacks.
    """

    tools: dict[str, str]
    input: tuple[int, ...]
    preprocess: dict[str, Any]
    class_names: tuple[str, ...]
    optimizer: dict[str, Any]
    trainable: str = "all"
    label_smoothing: float = 0.0
    layers: tuple[dict[str, Any], ...] = ()
    sizes: dict[str, Any] = field(default_factory=dict)
    native: dict[str, Any] = field(default_factory=lambda: {"available": True, "reason": None})
    ort: dict[str, Any] = field(
        default_factory=lambda: {"available": False, "reason": "not exported", "parameters": {}, "memory": {}}
    )
    reference: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    def identity(self, engine: str) -> str | None:
        """What the artifact is to an engine, as a SHA-256; None if it has not the engine's files.

        It is what that engine computes: the bytes of the files it reads, what it is fed with, and the names of its
        answers. When, where and by which versions it was exported, and what was measured then, are no part of it.
        """
        names = ENGINE_FILES[engine]
        if not self.files.keys() >= set(names):
            return None
        content = {
            "files": {name: self.files[name]["sha256"] for name in names},
            "input": self.input,
            "preprocess": self.preprocess,
            "class_names": self.class_names,
        }
        digest = sha256()
        digest.update(json.dumps(content, sort_keys=True).encode())
        return str(digest.hexdigest())


def read_manifest(directory: str | Path, verify: bool = True) -> Manifest:
    """The manifest of an artifact directory.

    Raises DamagedError naming the file that is missing, truncated, altered, swapped or not listed; with `verify` false
    only the manifest itself is checked.
    """
    folder = Path(directory)
    source = Fields(read_json(folder / MANIFEST, MAX_MANIFEST_BYTES), str(folder / MANIFEST), "the manifest")
    schema = source.text("schema")
    if schema != SCHEMA:
        raise DamagedError(
            f"{folder / MANIFEST}: schema {schema!r} is not {SCHEMA!r}, which this version of mest reads; "
            "install the version that wrote it, or export the run again with this one"
        )
    manifest = Manifest(
        tools=source.mapping("tools"),
        input=_input(source),
        preprocess=read_preprocess(source),
        class_names=source.texts("class_names"),
        optimizer=asdict(decode(OptimizerChoice, source.take("optimizer"), f"{source.file}: optimizer")),
        trainable=source.text("trainable"),
        label_smoothing=source.number("label_smoothing", 0.0, 1.0),
        layers=read_layers(source),
        sizes=read_sizes(source),
        native=read_native(source),
        ort=read_ort(source),
        reference=source.mapping("reference"),
        run=read_run(source),
        files=_files(source),
        left_out=source.texts("left_out") if source.has("left_out") else (),
    )
    source.done()
    if verify:
        verify_files(folder, manifest.files)
    return manifest


def write_manifest(manifest: Manifest, directory: str | Path) -> Manifest:
    """Write manifest.json over the files that lie in the directory; returns the manifest with their SHA-256.

    To be called last. The text is the same for the same content: keys are sorted.
    """
    folder = Path(directory)
    names = sorted(name for name in _present(folder) if name != MANIFEST)
    files = {name: {"sha256": file_sha256(folder / name), "bytes": (folder / name).stat().st_size} for name in names}
    complete = replace(manifest, files=files)
    content = {"schema": SCHEMA} | asdict(complete)
    if not complete.left_out:  # a whole artifact is read by versions that know nothing of others
        del content["left_out"]
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False)
    write_durably(folder / MANIFEST, f"{text}\n".encode())
    return complete


def verify_files(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise DamagedError, naming the file, unless the directory holds exactly the listed files unchanged."""
    for name, facts in files.items():
        path = folder / name
        try:
            actual = path.stat().st_size
            if actual != facts["bytes"]:
                raise DamagedError(f"{path}: {actual} bytes, the manifest says {facts['bytes']}; {_REMEDY}")
            if file_sha256(path) != facts["sha256"]:
                raise DamagedError(f"{path}: the content is not what export wrote (SHA-256 differs); {_REMEDY}")
        except OSError as error:
            raise DamagedError(f"{path}: cannot be read ({error.strerror or error}); {_REMEDY}") from None
    strange = sorted(_present(folder) - files.keys() - {MANIFEST})
    if strange:
        raise DamagedError(f"{folder / strange[0]}: not part of this artifact; remove it, or export the artifact again")


_REMEDY = "copy or export the artifact again"


def _present(folder: Path) -> set[str]:
    """Names of the files in the directory; hidden ones and folders do not belong to an artifact."""
    return {path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")}


def _input(source: Fields) -> tuple[int, ...]:
    shape = source.integers("input", 1, 2**24)
    if len(shape) not in (1, 2, 3):
        source.fail(f"'input' must have 1 to 3 entries, not {len(shape)}")
    return shape


def _files(source: Fields) -> dict[str, dict[str, Any]]:
    files = {}
    for name, facts in source.objects("files").items():
        # A listed name must not lead out of the directory.
        if name != Path(name).name or "\\" in name or name.startswith(".") or name == MANIFEST:
            source.fail(f"{name!r} cannot be the name of a file of an artifact")
        sha256 = facts.text("sha256")
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            facts.fail(f"{sha256!r:.40} is not a SHA-256")
        files[name] = {"sha256": sha256, "bytes": facts.integer("bytes")}
        facts.done()
    for name in REQUIRED_FILES:
        if name not in files:
            source.fail(f"{name!r} is not among the files")
    return files
