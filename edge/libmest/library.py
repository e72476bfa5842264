"""Finding, checking and loading the native library."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

from edge.libmest.program import Call, Mutation, Program, Weight, digest

PATH = Path(__file__).resolve().parent / "libmest.so"  # build.LIBRARY_NAME, without what a build imports


class LibraryError(Exception):
    """The library is missing or not the one that this package was written for; one line."""


@cache
def load_library() -> ctypes.CDLL:
    """The loaded library; raises LibraryError. Calls release the interpreter's lock."""
    if not PATH.exists():
        raise LibraryError(
            f"the native library {PATH.name} was not built: install a C compiler and run python -m edge.libmest.build"
        )
    try:
        library = ctypes.CDLL(str(PATH), use_errno=True)
    except OSError as error:
        raise LibraryError(f"{PATH.name} does not load ({error}); run python -m edge.libmest.build") from None
    try:
        library.mest_digest.restype = ctypes.c_char_p
        known = library.mest_digest().decode()
    except AttributeError:  # a library from before there was a digest
        known = "none"
    if known != digest():
        raise LibraryError(f"{PATH.name} is of another version of mest; run python -m edge.libmest.build")
    library.mest_open.restype = ctypes.c_void_p
    library.mest_open.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_char_p]
    library.mest_close.argtypes = [ctypes.c_void_p]
    library.mest_isa_name.restype = ctypes.c_char_p
    library.mest_isa_name.argtypes = [ctypes.c_void_p]
    library.mest_instruction_sets.argtypes = [ctypes.c_char_p, ctypes.c_int]
    library.mest_check.argtypes = [ctypes.POINTER(Program), ctypes.c_int]
    library.mest_run.argtypes = [ctypes.c_void_p, ctypes.POINTER(Program), ctypes.POINTER(Call)]
    library.mest_derive.argtypes = [ctypes.POINTER(Weight)]
    library.mest_mutate.argtypes = [ctypes.POINTER(Weight), ctypes.POINTER(Mutation)]
    return library


def available() -> tuple[bool, str]:
    """Whether the native engine can run here, and the instruction set it will use or what is missing."""
    try:
        return True, instruction_sets()[0]
    except LibraryError as error:
        return False, str(error)


def instruction_sets() -> tuple[str, ...]:
    """What this machine can run, best first; `scalar`, the plain reference, comes last. Raises LibraryError."""
    names = ctypes.create_string_buffer(256)
    load_library().mest_instruction_sets(names, len(names))
    return tuple(names.value.decode().split())
