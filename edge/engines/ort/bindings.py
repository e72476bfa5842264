"""onnxruntime-training's C bindings without its Python package, which would import torch wherever that is installed."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from types import ModuleType

from edge.errors import InputError
from edge.spelling import named

_NAME = "onnxruntime.capi.onnxruntime_pybind11_state"
_NEEDED = ("Module", "CheckpointState", "load_checkpoint", "SessionOptions", "OrtValueVector")


def _remedy() -> str:
    return f"install onnxruntime-training-cpu (Linux on x86-64, Python up to 3.12), or use {named('engine')} native"


def _library() -> str | None:
    """The path of the extension module, found without importing anything."""
    try:
        package = importlib.util.find_spec("onnxruntime")
    except (ImportError, ValueError):
        return None
    for folder in (package.submodule_search_locations or []) if package is not None else []:
        for suffix in importlib.machinery.EXTENSION_SUFFIXES:
            path = os.path.join(folder, "capi", f"onnxruntime_pybind11_state{suffix}")  # noqa: PTH118 - start-up cost
            if os.path.exists(path):  # noqa: PTH110
                return path
    return None


def available() -> tuple[bool, str]:
    """Whether the ort engine can run here, and why or why not; loads nothing."""
    path = _library()
    if path is None:
        return False, f"onnxruntime-training is not installed for this Python; {_remedy()}"
    folder = os.path.dirname(os.path.dirname(path))  # noqa: PTH120
    if not os.path.isdir(os.path.join(folder, "training")):  # noqa: PTH112, PTH118
        return (
            False,
            f"the onnxruntime here is the stock one, without training; {_remedy()} (it cannot stand beside it)",
        )
    return True, "onnxruntime-training is installed"


def load_bindings() -> ModuleType:
    """The extension module, loaded once; raises InputError saying what is missing."""
    if _NAME in sys.modules:
        return sys.modules[_NAME]
    usable, reason = available()
    path = _library()
    if not usable or path is None:
        raise InputError(f"engine ort: {reason}")
    loader = importlib.machinery.ExtensionFileLoader(_NAME, path)
    spec = importlib.util.spec_from_loader(_NAME, loader)
    assert spec is not None
    try:
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
    except ImportError as error:
        raise InputError(f"engine ort: {path} does not load ({error}); {_remedy()}") from None
    missing = [name for name in _NEEDED if not hasattr(module, name)]
    if missing:
        raise InputError(f"engine ort: {path} was built without training ({missing[0]} is missing); {_remedy()}")
    return module
