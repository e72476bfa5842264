"""The parts of a manifest that are plain JSON to most readers: each field that somebody reads has its type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge.files.fields import MAX_INTEGER, Fields

MAX_SIDE = 2**15  # pixels


def read_preprocess(source: Fields) -> dict[str, Any]:
    """What is there of it, typed; that it is complete is seen when it is used."""
    content = source.mapping("preprocess")
    given = Fields(content, source.file, "preprocess")
    for name in ("mode", "interpolation"):
        if given.has(name):
            given.text(name)
    for name in ("mean", "std"):
        if given.has(name):
            given.numbers(name)
    if given.has("crop"):
        given.integers("crop", 1, MAX_SIDE, 2)
    if isinstance(content.get("resize"), list):
        given.integers("resize", 1, MAX_SIDE, 2)
    elif given.has("resize"):
        given.integer("resize", 1, MAX_SIDE)
    return content


def read_layers(source: Fields) -> tuple[dict[str, Any], ...]:
    """What the table of sizes, the checks and the sparsity of channels need of each weight."""
    layers = source.items("layers")
    for number, content in enumerate(layers):
        layer = Fields(content, source.file, f"layers[{number}]")
        for name in ("name", "format"):
            layer.text(name)
        layer.integers("shape", 1, MAX_INTEGER)
        layer.number("sparsity", 0.0, 1.0)
        for name in ("nonzeros", "dense_bytes", "bytes", "index_bytes", "paper_bytes"):
            layer.integer(name)
        if layer.has("scheme"):
            layer.text("scheme")
        if layer.has("height"):
            layer.integer("height", 1)
        if layer.has("target_sparsity"):
            layer.number("target_sparsity", 0.0, 1.0)
    return tuple(layers)


def read_sizes(source: Fields) -> dict[str, Any]:
    """Byte counts by name, of all weights and of each file."""
    content = source.mapping("sizes")
    for name in ("weights", "disk"):
        if name in content:
            _counts(Fields(content[name], source.file, f"sizes.{name}"), content[name])
    return content


def _counts(source: Fields, content: Mapping[str, Any]) -> None:
    for name in content:
        source.integer(name)


def read_native(source: Fields) -> dict[str, Any]:
    """Whether our own engines can run it, and if not, why."""
    content = source.mapping("native")
    _availability(Fields(content, source.file, "native"))
    return content


def _availability(source: Fields) -> None:
    source.boolean("available")
    if source.has("reason"):
        source.string("reason")


def read_ort(source: Fields) -> dict[str, Any]:
    """Whether onnxruntime-training can run it, and the names by which its files hold the sparse layers."""
    content = source.mapping("ort")
    given = Fields(content, source.file, "ort")
    _availability(given)
    if given.has("recompute"):
        given.choice("recompute", ("none", "blocks"))
    if given.has("blocks"):
        for number, block in enumerate(given.items("blocks")):
            ends = Fields({"block": block}, source.file, f"ort.blocks[{number}]").texts("block")
            if len(ends) != 2:
                given.fail(f"'blocks' must hold pairs of values, not {len(ends)}")
    if given.has("parameters"):
        for part in given.objects("parameters").values():
            part.integer("slots")
            for role in part.rest():
                part.string(role)
    if given.has("memory"):
        memory = Fields(given.mapping("memory"), source.file, "ort.memory")
        for name in ("fixed_bytes", "bytes_per_sample"):
            if memory.has(name):
                memory.integer(name)
    return content | {"parameters": content.get("parameters") or {}, "memory": content.get("memory") or {}}


def read_run(source: Fields) -> dict[str, Any]:
    """What the way back needs of the run: its place, its model, and which channels were kept of each parameter."""
    content = source.mapping("run")
    given = Fields(content, source.file, "run")
    for name in ("path", "data_checksum"):
        if given.has(name):
            given.string(name)
    if given.has("kept"):
        for kept in given.objects("kept").values():
            for name in ("outputs", "inputs", "offered"):
                if kept.has(name):
                    kept.integers(name, 0, MAX_INTEGER)
    return content
