"""Which engines can run here. Their libraries are loaded only when they are asked for."""

from __future__ import annotations

from edge.errors import InputError

ENGINES = ("native", "ort")  # fastest first


def engine_available(name: str) -> tuple[bool, str]:
    """Whether an engine can run here, and why or why not."""
    if name == "native":
        try:
            from edge.native.engine import NativeEngine
        except ImportError as error:
            return False, f"the native library is not built ({error})"
        usable, reason = NativeEngine.available()
        return usable, reason
    from edge.ort.bindings import available

    return available()


def load_library(name: str) -> None:
    """Load an engine's library; raises InputError saying what is missing."""
    usable, reason = engine_available(name)
    if not usable:
        raise InputError(f"engine {name}: {reason}")
    if name == "ort":
        from edge.ort.bindings import load_bindings

        load_bindings()
