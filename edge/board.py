"""Facts of this machine, as they stand, without asking anything but the kernel and the installed files."""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge.cgroup import outside_limits
from edge.errors import DamagedError, InputError
from edge.libraries import ENGINES, engine_available
from edge.memory import emulator, untrusted_reason

SCHEMA = "mest-board/1"
_PACKAGES = frozenset(
    {"mest", "numpy", "pillow", "tqdm", "onnxruntime", "onnxruntime_training", "onnxruntime_training_cpu"}
)
_FEATURES = frozenset(
    [
        "sse4_2",
        "avx",
        "avx2",
        "fma",
        "f16c",
        "avx512f",
        "avx512bw",
        "avx512vl",
        "avx512_vnni",
        "amx_tile",
        "neon",
        "asimd",
        "asimdhp",
        "asimddp",
        "sve",
        "sve2",
    ]
)
_BASELINE_PROGRAM = """
import sys
import mest.cli.finetune, edge.finetune
from edge.libraries import load_library
load_library(sys.argv[1])
from edge.memory import read_counters
print(read_counters().resident)
"""


def read_board() -> dict[str, Any]:
    """Everything that `mest board --json` prints and a report shows; figures that the system hides are null."""
    return {
        "schema": SCHEMA,
        "architecture": os.uname().machine,
        "system": f"{os.uname().sysname} {os.uname().release}",
        "emulated": emulator(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "features": _features(),
        "memory": _memory(),
        "page_bytes": os.sysconf("SC_PAGE_SIZE"),
        "limits": _limits(),
        "allocator": allocator(),
        "temperature_celsius": _temperature(),
        "throttled": _throttled(),
        "clock_mhz": _clock(),
        "versions": _versions(),
        "engines": {
            name: {"available": usable, "reason": reason}
            for name in ENGINES
            for usable, reason in [engine_available(name)]
        },
    }


def with_baselines(board: Mapping[str, Any]) -> dict[str, Any]:
    """The board with each engine's resident bytes before a network is loaded, each measured in a process of its own."""
    reason = untrusted_reason()
    engines: dict[str, Any] = {}
    for name, facts in board["engines"].items():
        nbytes = _baseline(name) if facts["available"] and reason is None else None
        engines[name] = {**facts, "baseline_bytes": nbytes}
        if nbytes is None and facts["available"]:
            engines[name]["baseline_reason"] = reason or "the measuring process failed"
    return {**board, "engines": engines}


def read_board_file(path: Path) -> dict[str, Any]:
    """A board that was saved with `mest board --json`; raises InputError or DamagedError."""
    try:
        board = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"--board {path}: no such file; save one on the board with 'mest board --json > FILE'"
        ) from None
    except ValueError:
        raise DamagedError(f"--board {path}: is not JSON; save one with 'mest board --json > FILE'") from None
    if not isinstance(board, dict) or board.get("schema") != SCHEMA or not isinstance(board.get("engines"), dict):
        raise DamagedError(
            f"--board {path}: is not a board of schema {SCHEMA}; save one with 'mest board --json > FILE'"
        )
    return board


def board_baselines(board: Mapping[str, Any]) -> dict[str, int | None]:
    """Resident bytes by engine before a network is loaded, None where the engine cannot run on that board."""
    found: dict[str, int | None] = {}
    for name, facts in board["engines"].items():
        nbytes = facts.get("baseline_bytes") if isinstance(facts, dict) else None
        found[name] = nbytes if isinstance(nbytes, int) and facts.get("available") else None
    return found


def allocator() -> str:
    """The name of the memory allocator behind this process."""
    preload = os.environ.get("LD_PRELOAD", "")
    for name in ("jemalloc", "tcmalloc", "mimalloc"):
        if name in preload:
            return f"{name} (preloaded)"
    try:
        return f"malloc of {os.confstr('CS_GNU_LIBC_VERSION')}"
    except (ValueError, OSError):
        return "unknown"


def _baseline(engine: str) -> int | None:
    import subprocess  # only for `mest board`: 2 MB that no other command needs

    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", _BASELINE_PROGRAM, engine], env=environment, capture_output=True, text=True, check=False
    )
    return int(done.stdout) if done.returncode == 0 and done.stdout.strip().isdigit() else None


def _read(path: str | Path) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _cpuinfo(*keys: str) -> str | None:
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in keys:
            return value.strip()
    return None


def _processor() -> str | None:
    return _read("/proc/device-tree/model") or _cpuinfo("model name", "Hardware", "CPU part")


def _features() -> list[str]:
    return sorted(_FEATURES & set((_cpuinfo("flags", "Features") or "").split()))


def _memory() -> dict[str, int | None]:
    found: dict[str, int] = {}
    for line in (_read("/proc/meminfo") or "").splitlines():
        key, _, value = line.partition(":")
        found[key] = int(value.split()[0]) * 1024
    keys = {"total_bytes": "MemTotal", "available_bytes": "MemAvailable", "swap_bytes": "SwapTotal"}
    return {name: found.get(key) for name, key in keys.items()}


def _limits() -> dict[str, int | None]:
    """Limits in bytes that hold for this process already; None where there is none."""
    limits: dict[str, int | None] = {}
    for name in ("AS", "DATA", "MEMLOCK"):
        soft = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[0]
        limits[f"rlimit_{name.lower()}"] = None if soft == resource.RLIM_INFINITY else soft
    return {**limits, **outside_limits()}


def _temperature() -> float | None:
    readings = [_read(zone / "temp") for zone in Path("/sys/class/thermal").glob("thermal_zone*")]
    degrees = [int(text) / 1000 for text in readings if text and text.lstrip("-").isdigit()]
    return max(degrees, default=None)


def _throttled() -> bool | None:
    """True if the processor has been slowed down since it started; None where the system does not show it."""
    pi = _read("/sys/devices/platform/soc/soc:firmware/get_throttled")
    if pi is not None:
        return int(pi, 16) != 0
    folder = Path("/sys/devices/system/cpu")
    counts = [_read(file) for file in folder.glob("cpu*/thermal_throttle/core_throttle_count")]
    return any(text != "0" for text in counts) if counts else None


def _clock() -> dict[str, int] | None:
    folder = Path("/sys/devices/system/cpu/cpu0/cpufreq")
    now, most = _read(folder / "scaling_cur_freq"), _read(folder / "cpuinfo_max_freq")
    return {"now": int(now) // 1000, "highest": int(most) // 1000} if now and most else None


def _versions() -> dict[str, str]:
    """Versions by package from the names of the folders that installers write; importlib.metadata weighs 5 MB."""
    versions = {"python": sys.version.split()[0]}
    for place in sys.path:
        try:
            names = [entry.name for entry in Path(place or ".").iterdir()]
        except OSError:
            continue
        for name in names:
            package, dash, version = name.removesuffix(".dist-info").partition("-")
            if dash and name.endswith(".dist-info") and package.lower() in _PACKAGES:
                versions.setdefault(package.lower(), version)
    return dict(sorted(versions.items()))
