"""Which engines can run here. Their libraries are loaded only when they are asked for."""

from __future__ import annotations

from edge.errors import InputError


def engine_available(name: str) -> tuple[bool, str]:
    """Whether an engine can run here, and why or why not."""
    if name == "native":
        from edge.libmest import library

        return library.available()
    from edge.engines.ort.bindings import available

    return available()


def load_library(name: str) -> None:
    """Load an engine's library; raises InputError saying what is missing."""
    if name == "ort":
        from edge.engines.ort.bindings import load_bindings

        load_bindings()
        return
    from edge.libmest import library

    try:
        library.load_library()
    except library.LibraryError as error:
        raise InputError(f"engine {name}: {error}") from None
