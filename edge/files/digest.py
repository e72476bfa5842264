"""SHA-256 without OpenSSL: the library that hashlib loads is 4 MB resident, which a board process need not hold."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

_PIECE_BYTES = 1 << 17


def sha256() -> Any:
    """A new SHA-256 object with `update` and `hexdigest`, from CPython's own implementation where it has one."""
    for module in ("_sha2", "_sha256"):  # since 3.12, up to 3.11
        try:
            return import_module(module).sha256()
        except ImportError:
            continue
    return import_module("hashlib").sha256()


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal, read in small pieces."""
    digest = sha256()
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return str(digest.hexdigest())
