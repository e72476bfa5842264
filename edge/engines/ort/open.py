"""Opens the ort engine for an artifact: which parameter of the checkpoint is which tensor of the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge.engines.ort.engine import OrtEngine
from edge.engines.ort.sparse import Described
from edge.handover.artifact import Artifact
from edge.network import select_trainable
from edge.plan.choices import Choices
from edge.plan.footprint import Footprint

_ROLES = ("values", "row_starts", "columns", "kernels", "patterns", "mask")


def open_engine(artifact: Artifact, choices: Choices, footprint: Footprint) -> OrtEngine:
    """The engine with both sessions loaded; raises DamagedError where the checkpoint does not fit the manifest."""
    parts = artifact.manifest.ort.get("parameters", {})
    updated = None
    if choices.trainable != "all":
        chosen = select_trainable(artifact.network, choices.trainable)
        updated = frozenset(parts.get(name, {}).get("values", name) for name in chosen)
    return OrtEngine(
        artifact.path,
        choices,
        footprint,
        [
            Described(parameter, _names(parts.get(name, {}), name))
            for name, parameter in artifact.network.sparse_parameters().items()
        ],
        artifact.network.output,
        updated,
        artifact.manifest.input,
        artifact.network.task,
    )


def _names(part: Mapping[str, Any], name: str) -> dict[str, str]:
    """The checkpoint's name of each of a layer's tensors by role; a layer stored dense has its own name alone."""
    return {role: part[role] for role in _ROLES if part.get(role)} or {"values": name}
