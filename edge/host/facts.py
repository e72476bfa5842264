"""Facts of this machine, as they stand, without asking anything but the kernel and the installed files."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import Any

from edge.host.cgroup import outside_limits
from edge.host.counters import emulator

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


def read_host() -> dict[str, Any]:
    """The machine, its limits and what is installed; figures that the system hides are None."""
    return {
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
    }


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
