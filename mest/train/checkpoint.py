"""Checkpoints: a dictionary of tensors and plain values, written whole, read without running anything in it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch

from mest.durable import write_durably
from mest.errors import DamagedError, InputError

SCHEMA = "mest-checkpoint/1"
KEYS = frozenset(
    {"schema", "config", "epoch", "model", "masks", "optimizer", "scheduler", "sparsifier", "generators"}
    | {"samples", "best", "history", "data", "options", "scaler"}
)


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Replace `path` by `content` with our schema; the old file stays if anything goes wrong."""
    write_durably(path, lambda file: torch.save({**content, "schema": SCHEMA}, file))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return the checkpoint at `path`, tensors on the CPU.

    Raises InputError if there is no such file, DamagedError if it is truncated, altered or not one of ours.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint; give the run's directory or checkpoints/last.pt of it")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise DamagedError(f"{path}: damaged at {damaged}; restore it from a copy or start the run anew")
        content = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251 - this is the module it names
    except DamagedError:
        raise
    except Exception as failed:  # whatever a damaged archive makes torch raise
        reason = str(failed).splitlines()[0][:120] if str(failed) else type(failed).__name__
        raise DamagedError(f"{path}: not a readable checkpoint ({reason})") from failed
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise DamagedError(f"{path}: not a checkpoint of mest (schema {SCHEMA})")
    missing = KEYS - content.keys()
    if missing:
        raise DamagedError(f"{path}: an incomplete checkpoint without {', '.join(sorted(missing))}")
    odd = [key for key in ("config", "options", "model", "masks") if not isinstance(content[key], dict)]
    if odd:
        raise DamagedError(f"{path}: {', '.join(odd)} of another form than a checkpoint has")
    return content
