"""The systems that `mest-run` is built for, by the C compiler that PyPI packages as `ziglang`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from edge.errors import InputError
from edge.libmest.build import BuildError, build_for_apps, build_module, build_runner
from edge.spelling import named

# Static programs with musl, so that they run whatever C library a system has; on Android too.
TARGETS: dict[str, tuple[str, ...]] = {
    "linux-x86_64": ("-target", "x86_64-linux-musl"),
    "linux-aarch64": ("-target", "aarch64-linux-musl"),
    "linux-armv7": ("-target", "arm-linux-musleabihf", "-mcpu=generic+v7a+vfp4+neon"),
}

# Of the library for apps: those have the C library of their system.
APPS: dict[str, tuple[str, ...]] = {
    "linux-x86_64": ("-target", "x86_64-linux-gnu.2.28"),
    "linux-aarch64": ("-target", "aarch64-linux-gnu.2.28"),
    "linux-armv7": ("-target", "arm-linux-gnueabihf.2.28", *TARGETS["linux-armv7"][2:]),
}
# Of the library alone: in a browser or under Node it is a module, and mest.js.
WEB = "wasm32"
_WEB = ("-target", "wasm32-wasi")
_ZIG = (sys.executable, "-m", "ziglang")


def build_for(target: str, out: Path) -> int:
    """Build the program for a target; its size in bytes. Raises InputError saying what is unknown or missing."""
    _refuse_unknown(target)
    try:
        build_runner(out, command=[*_ZIG, "cc", *TARGETS[target]])
    except BuildError as error:
        raise InputError(f"{named('target')} {target}: {error}") from None
    return out.stat().st_size


def build_library_for(target: str, folder: Path) -> dict[str, int]:
    """Build the library for apps, or the module for browsers; file sizes by name. Raises InputError as `build_for`."""
    _refuse_unknown(target, (*APPS, WEB))
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is no folder; give one for the library's files")
    try:
        if target == WEB:
            built = build_module(folder, [*_ZIG, "cc", *_WEB])
        else:
            built = build_for_apps(folder, [*_ZIG, "cc", *APPS[target]], [*_ZIG, "ar"])
    except BuildError as error:
        raise InputError(f"{named('target')} {target}: {error}") from None
    return {file.name: file.stat().st_size for file in built}


def _refuse_unknown(target: str, known: Iterable[str] = TARGETS) -> None:
    if target == WEB and target not in known:
        raise InputError(f"{named('target')} {target}: has no program mest-run; give {named('library')}")
    if target not in known:
        raise InputError(f"{named('target')} {target}: allowed are {', '.join(known)}")
    if find_spec("ziglang") is None:
        raise InputError("needs the C compiler that the package ziglang holds; pip install ziglang")
