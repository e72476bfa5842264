"""The manifest: written stably, read strictly, and every changed file is found by name."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from edge.errors import DamagedError
from edge.handover.manifest import MANIFEST, Manifest, read_manifest, write_manifest
from edge.plan.choices import OptimizerChoice


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """A directory with three files and their manifest."""
    for name, content in {"network.json": b"{}", "network.bin": b"\x01\x02\x03", "checkpoint": b"abc"}.items():
        (tmp_path / name).write_bytes(content)
    write_manifest(example(), tmp_path)
    return tmp_path


def example() -> Manifest:
    """A manifest with one layer."""
    counts = dict.fromkeys(("nonzeros", "dense_bytes", "bytes", "index_bytes", "paper_bytes"), 3)
    return Manifest(
        tools={"mest": "1"},
        input=(3, 8, 8),
        preprocess={"mode": "RGB"},
        class_names=("cat", "dög"),
        optimizer=asdict(OptimizerChoice()),
        layers=({"name": "fc.weight", "format": "csr", "shape": [2, 3], "sparsity": 0.5, **counts},),
    )


def test_what_is_read_is_what_was_written(artifact: Path) -> None:
    """All fields come back, with the facts of the files, and writing again gives the same bytes."""
    text = (artifact / MANIFEST).read_bytes()
    manifest = read_manifest(artifact)
    assert manifest.class_names == ("cat", "dög")
    assert manifest.files["network.bin"]["bytes"] == 3
    assert set(manifest.files) == {"network.json", "network.bin", "checkpoint"}
    assert write_manifest(example(), artifact) == manifest
    assert (artifact / MANIFEST).read_bytes() == text


def test_every_kind_of_damage_is_found_by_name(artifact: Path) -> None:
    """Altered, truncated, swapped, missing and added files are named."""
    good = (artifact / "checkpoint").read_bytes()
    for content, words in [(b"abd", "SHA-256"), (b"ab", "2 bytes"), (b"\x01\x02\x03", "SHA-256")]:
        (artifact / "checkpoint").write_bytes(content)
        with pytest.raises(DamagedError, match=f"checkpoint: .*{words}"):
            read_manifest(artifact)
    (artifact / "checkpoint").unlink()
    with pytest.raises(DamagedError, match="checkpoint: cannot be read"):
        read_manifest(artifact)
    (artifact / "checkpoint").write_bytes(good)
    (artifact / "extra.onnx").write_bytes(b"")
    with pytest.raises(DamagedError, match=r"extra\.onnx: not part of this artifact; remove it"):
        read_manifest(artifact)
    assert read_manifest(artifact, verify=False).trainable == "all"


def test_another_schema_says_what_to_do(artifact: Path) -> None:
    """A manifest of the future names both versions and the way out."""
    edit(artifact, "schema", "mest-artifact/2")
    with pytest.raises(DamagedError, match=r"mest-artifact/2.*install the version that wrote it, or export"):
        read_manifest(artifact)


def edit(folder: Path, key: str, value: object) -> None:
    """Replace one field of a manifest by hand."""
    content = json.loads((folder / MANIFEST).read_text())
    content[key] = value
    (folder / MANIFEST).write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("input", []),
        ("input", [3, 8, 8, 8]),
        ("input", [3, 8, -1]),
        ("layers", [1]),
        ("class_names", "cat"),
        ("label_smoothing", 2),
        ("optimizer", {"momentum": "a lot"}),
        ("optimizer", {"momentum": 10**400}),
        ("preprocess", {"mean": [None]}),
        ("preprocess", {"resize": 0}),
        ("native", {"available": "yes"}),
        ("ort", {"available": True, "blocks": [["a"]]}),
        ("ort", {"available": True, "parameters": {"a": {"slots": "many"}}}),
        ("ort", {"available": True, "memory": {"fixed_bytes": None, "bytes_per_sample": -1}}),
        ("sizes", {"weights": {"bytes": None}}),
        ("run", {"path": 3}),
        ("run", {"kept": {"a": {"outputs": [None]}}}),
        ("left_out", "all"),
        ("unknown", 1),
        ("files", {}),
        ("files", {"../secret": {"sha256": "0" * 64, "bytes": 1}}),
        ("files", {"network.json": {"sha256": "zz", "bytes": 1}}),
        ("files", {"network.json": {"sha256": "0" * 64, "bytes": 1.5}}),
    ],
)
def test_fields_that_do_not_fit_are_refused(artifact: Path, key: str, value: object) -> None:
    """Each message names the manifest and the field's place."""
    edit(artifact, key, value)
    with pytest.raises(DamagedError, match=r"manifest\.json"):
        read_manifest(artifact)


@pytest.mark.parametrize("value", [None, "a", True, -1, 2**60, [], {}])
@pytest.mark.parametrize("name", ["name", "format", "shape", "sparsity", "nonzeros", "height", "target_sparsity"])
def test_fields_of_a_layer_are_named(artifact: Path, name: str, value: object) -> None:
    """Of another type: layers[0] and the field; what may be null is not refused for it."""
    layer = {**json.loads((artifact / MANIFEST).read_text())["layers"][0], "height": 4, "target_sparsity": 0.5}
    fits = (name in ("height", "target_sparsity") and value is None) or (name in ("name", "format") and value == "a")
    edit(artifact, "layers", [{**layer, name: value}])
    if fits or (name, value) == ("shape", []):
        assert read_manifest(artifact).layers[0][name] == value
    else:
        with pytest.raises(DamagedError, match=rf"manifest\.json: layers\[0\]: '{name}'"):
            read_manifest(artifact)


@pytest.mark.parametrize("name", ["name", "format", "shape", "sparsity", "nonzeros"])
def test_a_deleted_field_of_a_layer_is_named(artifact: Path, name: str) -> None:
    """By its place, rather than by whoever reads it first."""
    layer = json.loads((artifact / MANIFEST).read_text())["layers"][0]
    del layer[name]
    edit(artifact, "layers", [layer])
    with pytest.raises(DamagedError, match=rf"layers\[0\]: '{name}' is missing"):
        read_manifest(artifact)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a": NaN}', '{"a": 1, "a": 2}', '{"a": 1e999}', "\udc80"])
def test_what_is_not_plain_json_is_refused(artifact: Path, text: str) -> None:
    """Truncated, too deep, not finite, doubled, not UTF-8."""
    (artifact / MANIFEST).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DamagedError, match=r"manifest\.json"):
        read_manifest(artifact)
