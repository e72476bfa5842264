"""The systems that `mest-run` is built for, by the C compiler that PyPI packages as `ziglang`."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from edge.errors import InputError
from edge.libmest.build import BuildError, build_runner
from edge.spelling import named

# Static programs with musl, so that they run whatever C library a system has; on Android too.
TARGETS: dict[str, tuple[str, ...]] = {
    "linux-x86_64": ("-target", "x86_64-linux-musl"),
    "linux-aarch64": ("-target", "aarch64-linux-musl"),
    "linux-armv7": ("-target", "arm-linux-musleabihf", "-mcpu=generic+v7a+vfp4+neon"),
}


def build_for(target: str, out: Path) -> int:
    """Build the program for a target; its size in bytes. Raises InputError saying what is unknown or missing."""
    if target not in TARGETS:
        raise InputError(f"{named('target')} {target}: allowed are {', '.join(TARGETS)}")
    if find_spec("ziglang") is None:
        raise InputError("needs the C compiler that the package ziglang holds; pip install ziglang")
    try:
        build_runner(out, command=[sys.executable, "-m", "ziglang", "cc", *TARGETS[target]])
    except BuildError as error:
        raise InputError(f"{named('target')} {target}: {error}") from None
    return out.stat().st_size
