"""The C library behind include/libmest.h as ctypes has it; its structs are read from the header."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.libmest import build, library

HEADER = build.HERE / "include" / "libmest.h"
KINDS = {"size_t": ctypes.c_size_t, "double": ctypes.c_double, "int32_t": ctypes.c_int32, "int64_t": ctypes.c_int64}
NUMBERS = {"uint8": 0, "int16": 1, "float32": 2}


@pytest.fixture(scope="session")
def core(tmp_path_factory) -> Path:
    """The library, over the engine that Python has."""
    target: Path = tmp_path_factory.mktemp("core") / "libmest-core.so"
    try:
        build.build_core(target, library.PATH)
    except build.BuildError as error:
        pytest.skip(f"needs a C compiler: {error}")
    return target


def struct(name: str) -> type[ctypes.Structure]:
    """A struct of the header that has its size in front."""
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)
    body = next(
        body for body, found in re.findall(r"typedef struct \{(.*?)\} (\w+);", text, re.DOTALL) if found == name
    )
    fields = []
    for line in body.split(";"):
        words = line.replace(",", " ").split()
        if words and words[0] == "const":
            fields.append((words[-1].lstrip("*"), ctypes.c_char_p if "char" in words else ctypes.c_void_p))
        elif words:
            fields += [(word, KINDS[words[0]]) for word in words[1:]]
    return type(name, (ctypes.Structure,), {"_fields_": fields})


Facts, Samples, Settings, Progress = (struct(f"Libmest{name}") for name in ("Facts", "Samples", "Settings", "Progress"))
Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(Progress))


class Model:
    """A model of the library; `call` gives a code, `must` expects none."""

    def __init__(self, library: Path, plan: Path | bytes) -> None:
        self.library = ctypes.CDLL(str(library))
        self.library.libmest_message.restype = ctypes.c_char_p
        self.library.libmest_class_name.restype = ctypes.c_char_p
        self.library.libmest_facts_json.restype = ctypes.c_int64
        self.handle = ctypes.c_void_p()
        self.kept: list[Any] = [plan]
        if isinstance(plan, bytes):
            opened = self.library.libmest_open_bytes(plan, ctypes.c_size_t(len(plan)), ctypes.byref(self.handle))
        else:
            opened = self.library.libmest_open_path(str(plan).encode(), ctypes.byref(self.handle))
        self.opened = opened

    def call(self, name: str, *values: Any) -> int:
        """The code of a function of the model."""
        given = [str(value).encode() if isinstance(value, Path) else value for value in values]
        return int(getattr(self.library, f"libmest_{name}")(self.handle, *given))

    def must(self, name: str, *values: Any) -> None:
        """Calls a function that has to succeed."""
        assert self.call(name, *values) == 0, self.message

    @property
    def message(self) -> str:
        """The line about what failed last."""
        return str(self.library.libmest_message(self.handle).decode())

    def facts(self) -> Any:
        """What the plan holds."""
        found = Facts(bytes=ctypes.sizeof(Facts))
        self.must("facts", ctypes.byref(found))
        return found

    def samples(self, numbers: np.ndarray, labels: Any = None, test: Any = None) -> Any:
        """Samples (n, channels, height, width) by reference, kept as long as the model."""
        arrays = [np.ascontiguousarray(numbers)]
        arrays += [
            None if each is None else np.ascontiguousarray(each, kind) for each, kind in ((labels, "i4"), (test, "u1"))
        ]
        self.kept.append(arrays)
        at = [None if each is None else each.ctypes.data for each in arrays]
        made = Samples(ctypes.sizeof(Samples), at[0], NUMBERS[numbers.dtype.name], 0, len(numbers), at[1], at[2])
        self.kept.append(made)
        return ctypes.byref(made)

    def predict(self, numbers: np.ndarray) -> np.ndarray:
        """Scores (n, classes)."""
        scores = np.empty((len(numbers), self.facts().classes), np.float32)
        self.must("predict", self.samples(numbers), ctypes.c_void_p(scores.ctypes.data))
        return scores

    def state(self) -> bytes:
        """The state as bytes."""
        room = self.facts().state_bytes
        into = ctypes.create_string_buffer(room)
        self.must("save_bytes", into, ctypes.c_size_t(room))
        return into.raw

    def close(self) -> None:
        """Gives back all of it."""
        self.library.libmest_close(self.handle)


def settings(**given: Any) -> Any:
    """Settings of a run, as compiled but for what is given."""
    unset = {"epochs": -1, "save_every": -1, "learning_rate": -1.0, "hold_out": -1.0}
    return ctypes.byref(Settings(bytes=ctypes.sizeof(Settings), **(unset | given)))
