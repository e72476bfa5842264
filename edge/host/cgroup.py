"""A memory control group of one's own, where the system delegates one, and limits that were set from outside.

Version 2 has rules that the steps here follow (kernel documentation, admin-guide/cgroup-v2): a group's files of a
controller exist only where its parent's `cgroup.subtree_control` names it; a group that is not the root has processes
or enabled controllers, never both; who moves a process must be able to write to `cgroup.procs` of the groups' common
ancestor. In both versions memory that is charged already stays with the group that it was first used in.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_NO_LIMIT = 1 << 60  # version 1 shows an absent limit as the largest number of whole pages


@dataclass(frozen=True)
class MemoryGroup:
    """A control group that limits this process; `leave` undoes it."""

    version: str  # "cgroup v2" or "cgroup v1"
    path: Path
    home: Path  # where the process came from
    swap_off: bool
    enabled: bool = False  # the memory controller was switched on in `home` for this group

    def leave(self) -> None:
        """Go back to the group that the process came from and remove this one."""
        try:
            _leave(self.path, self.home, self.enabled)
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
    """Move this process into a new group limited to `limit_bytes` more, or None where that is not granted."""
    membership = _membership()
    return _join_v2(membership, limit_bytes) or _join_v1(membership, limit_bytes)


def outside_limits() -> dict[str, int | None]:
    """Bytes by version that the groups of this process are limited to already, by whomever; None without a limit.

    A limit on any group above holds as well, so the smallest one counts.
    """
    membership = _membership()
    found: dict[str, int | None] = {}
    for version, controller, root, file in (
        ("cgroup_v2", "", _ROOT, "memory.max"),
        ("cgroup_v1", "memory", _ROOT / "memory", "memory.limit_in_bytes"),
    ):
        path = own_group(membership, controller)
        texts = [] if path is None else [_read(group / file) for group in _upwards(_home(root, path), root)]
        limits = [int(text) for text in texts if text.isdigit() and int(text) < _NO_LIMIT]
        found[version] = min(limits, default=None)
    return found


def _membership() -> str:
    return _read(Path("/proc/self/cgroup"))


def _home(root: Path, path: str) -> Path:
    """This process's group. In a container the path may be the host's, which is not there: the mounted root is it."""
    home = root / path.lstrip("/")
    return home if ".." not in home.parts and home.is_dir() else root


def _upwards(home: Path, root: Path) -> list[Path]:
    return [home, *(group for group in home.parents if group == root or root in group.parents)]


def _join_v2(membership: str, limit_bytes: int) -> MemoryGroup | None:
    path = own_group(membership, "")
    if path is None or not (_ROOT / "cgroup.controllers").exists():
        return None
    home = _home(_ROOT, path)
    if home != _ROOT and "memory" in _read(home.parent / "cgroup.subtree_control").split():
        beside = _enter("cgroup v2", home, home.parent, limit_bytes)
        if beside is not None:
            return beside
    # A group that is delegated alone, as a service with Delegate=yes: below it, if nobody else is in it.
    if "memory" in _read(home / "cgroup.controllers").split():
        return _enter("cgroup v2", home, home, limit_bytes, enable=True)
    return None


def _join_v1(membership: str, limit_bytes: int) -> MemoryGroup | None:
    path = own_group(membership, "memory")
    if path is None:
        return None
    home = _home(_ROOT / "memory", path)
    return _enter("cgroup v1", home, home, limit_bytes) if (home / "memory.limit_in_bytes").exists() else None


def _enter(version: str, home: Path, parent: Path, limit_bytes: int, enable: bool = False) -> MemoryGroup | None:
    """A new group in `parent` with this process in it; None, and everything as it was, where a step is refused."""
    limit, swap, swap_value = {
        "cgroup v2": ("memory.max", "memory.swap.max", "0"),
        "cgroup v1": ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", str(limit_bytes)),
    }[version]
    for stale in parent.glob("mest-*"):
        _remove(stale)  # left by a run that was killed; one that is in use refuses
    group = parent / f"mest-{os.getpid()}"
    enabled = False
    try:
        _make(group)
        if enable:  # this process must be out of `home` before a controller can be enabled there
            _write(group / "cgroup.procs", str(os.getpid()))
            enabled = "memory" not in _read(home / "cgroup.subtree_control").split()
            _write(home / "cgroup.subtree_control", "+memory")
        _write(group / limit, str(limit_bytes))
        if not enable:
            _write(group / "cgroup.procs", str(os.getpid()))
    except OSError:
        try:
            _leave(group, home, enabled)
        except OSError:
            _remove(group)
        return None
    try:
        _write(group / swap, swap_value)
        swap_off = True
    except OSError:
        swap_off = False
    return MemoryGroup(version, group, home, swap_off, enabled)


def _leave(group: Path, home: Path, enabled: bool) -> None:
    if enabled:  # before going back: a group with enabled controllers takes no process
        with suppress(OSError):  # it was not enabled after all, and the way back is open
            _write(home / "cgroup.subtree_control", "-memory")
    _write(home / "cgroup.procs", str(os.getpid()))
    _drop(group)


def _read(file: Path) -> str:
    """The text of a file without the space around it; empty where it cannot be read."""
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def _write(file: Path, text: str) -> None:
    """Write to a file of the kernel's; one that is not there is not made, as on any other file system it would be."""
    descriptor = os.open(file, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _make(group: Path) -> None:
    group.mkdir()


def _drop(group: Path) -> None:
    group.rmdir()


def _remove(group: Path) -> None:
    try:
        _drop(group)
    except OSError:
        return
