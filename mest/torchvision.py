"""torchvision, imported only where it is used: it is large, and absent where only one's own images are trained on."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from mest.errors import InputError
from mest.install import how_to_install


def load_torchvision(part: str, wanted_by: str, instead: str) -> ModuleType:
    """`torchvision.PART`; raises InputError naming the option that wants it, what to install and what to give instead.

    Also where it is installed but does not fit the installed torch: a build for CUDA beside a torch for the CPU.
    """
    try:
        return import_module(f"torchvision.{part}")
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] != "torchvision":
            raise
        reason = f"needs the package torchvision, which is not installed: {how_to_install('train')}"
    except (ImportError, RuntimeError) as failed:
        lines = str(failed).splitlines() or [type(failed).__name__]
        reason = f"torchvision does not load beside this torch ({lines[0]}): install the two together"
    raise InputError(f"{wanted_by}: {reason}, or {instead}")
