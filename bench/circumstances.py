"""Under what circumstances a bench ran: printed above its table and stored beside its records."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

from mest.version import __version__


def circumstances(packages: Sequence[str] = ("numpy", "torch")) -> dict[str, Any]:
    """Machine, cores, date, versions and commit, as plain values.

    A commit may be rewritten before it is published: the version of mest and the date say which state it was even then.
    """
    return {
        "machine": processor(),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "mest": __version__,
        "versions": {name: version(name) for name in packages},
        "commit": commit(),
    }


def processor() -> str:
    """The processor's name as the kernel gives it, or the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def version(package: str) -> str:
    """The installed version of a distribution, or "not installed"."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def commit() -> str:
    """The commit of the checkout, with a mark where the tree differs from it; "unknown" outside a checkout."""
    root = Path(__file__).resolve().parents[1]
    git = ["git", "-C", str(root)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    if head.returncode != 0:
        return "unknown"
    changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=False)
    return head.stdout.strip() + ("+changes" if changed.stdout.strip() else "")


def spread(samples: Sequence[float]) -> dict[str, float]:
    """Minimum, median and maximum of a list of measurements."""
    return {"min": min(samples), "median": median(samples), "max": max(samples)}
