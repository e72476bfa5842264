"""A memory control group of one's own, where the system delegates one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class MemoryGroup:
    """A control group that limits this process; `leave` undoes it."""

    version: str  # "cgroup v2" or "cgroup v1"
    path: Path
    home: Path | None  # where the process came from; None if the limit was set on its own group in place
    swap_off: bool

    def leave(self) -> None:
        """Go back to the group that the process came from and remove this one."""
        try:
            if self.home is not None:
                (self.home / "cgroup.procs").write_text(str(os.getpid()))
                self.path.rmdir()
            else:
                (self.path / "memory.max").write_text("max")
        except OSError:
            return  # the group ends with the process then


def own_group(membership: str, controller: str) -> str | None:
    """The path of this process's group from the text of `/proc/self/cgroup`; controller "" is version 2."""
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(",") and bool(controller) == bool(controllers):
            return path
    return None


def join_group(limit_bytes: int) -> MemoryGroup | None:
    """Move this process into a new group limited to `limit_bytes` more, or None where that is not granted.

    Memory that is already charged stays with the old group, in both versions: the limit is on what comes.
    """
    try:
        membership = Path("/proc/self/cgroup").read_text()
    except OSError:
        return None
    return _join_v2(membership, limit_bytes) or _join_v1(membership, limit_bytes)


def _join_v2(membership: str, limit_bytes: int) -> MemoryGroup | None:
    path = own_group(membership, "")
    if path is None or not (_ROOT / "cgroup.controllers").exists():
        return None
    home = _ROOT / path.lstrip("/")
    try:
        parent = home.parent if home != _ROOT else home
        if "memory" not in (parent / "cgroup.subtree_control").read_text().split():
            return None
        return _enter("cgroup v2", home, parent, "memory.max", "memory.swap.max", limit_bytes, "0")
    except OSError:
        return None


def _join_v1(membership: str, limit_bytes: int) -> MemoryGroup | None:
    path = own_group(membership, "memory")
    if path is None:
        return None
    home = _ROOT / "memory" / path.lstrip("/")
    try:
        if not (home / "memory.limit_in_bytes").exists():
            return None
        limit, swap = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
        return _enter("cgroup v1", home, home, limit, swap, limit_bytes, str(limit_bytes))
    except OSError:
        return None


def _enter(
    version: str, home: Path, parent: Path, limit: str, swap: str, limit_bytes: int, swap_value: str
) -> MemoryGroup:
    for stale in parent.glob("mest-*"):
        _remove(stale)  # left by a run that was killed; one that is in use refuses
    group = parent / f"mest-{os.getpid()}"
    group.mkdir()
    try:
        (group / limit).write_text(str(limit_bytes))
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except OSError:
        _remove(group)
        raise
    try:
        (group / swap).write_text(swap_value)
        swap_off = True
    except OSError:
        swap_off = False
    return MemoryGroup(version, group, home, swap_off)


def _remove(group: Path) -> None:
    try:
        group.rmdir()
    except OSError:
        return
