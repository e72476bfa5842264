"""A memory budget: its text form, the strongest limit that the system grants for it, and which guarantee that gives."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from edge.errors import BudgetError, InputError
from edge.host.cgroup import MemoryGroup, join_group, outside_limits
from edge.host.counters import Meter, read_counters

KERNEL_BYTES = 4 << 20  # page tables and the like, which a control group counts and resident memory does not
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(i?)(B?)\s*", re.IGNORECASE)


def parse_size(text: str, called: str = "memory budget") -> int:
    """Bytes of a size such as 64MiB, 0.5GiB, 48M or 1048576; K, M and G are powers of 1024, KB, MB and GB of 1000."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InputError(f"{called} {text!r}: not a size; write a number with MiB or GiB, for example 64MiB")
    number, unit, binary, byte = match.groups()
    power = _UNITS[unit.upper()]
    scale = 1000 ** (power // 10) if unit and byte and not binary else 1 << power
    nbytes = float(number) * scale
    if not 1 <= nbytes < 1 << 62:
        raise InputError(f"{called} {text!r}: must be above zero and below 4 EiB, for example 64MiB")
    return int(nbytes)


def format_size(nbytes: int) -> str:
    """A size as people read it: 61.3 MiB."""
    if nbytes < 1024:
        return f"{nbytes} B"
    for power, unit in ((30, "GiB"), (20, "MiB")):
        if nbytes >= 1 << power:
            return f"{nbytes / (1 << power):.1f} {unit}"
    return f"{nbytes / 1024:.1f} KiB"


@dataclass(frozen=True)
class Guarantee:
    """Which limits hold during a run and what they promise, as one sentence each."""

    limits: tuple[str, ...]  # of "cgroup v2", "cgroup v1", "RLIMIT_DATA"; empty where none could be set
    promise: str
    swap: str


class Enforcement:
    """The limits that hold while a run is under a budget; `lift` takes them away again."""

    def __init__(self, budget_bytes: int, meter: Meter) -> None:
        """Join a control group, where one is granted, that limits this process to what is left of the budget now."""
        self.budget_bytes = budget_bytes
        self._meter = meter
        self._group: MemoryGroup | None = None
        self._old_limit: tuple[int, int] | None = None
        self._settled: int | None = None
        left = self._left()
        self._outside = min((nbytes for nbytes in outside_limits().values() if nbytes is not None), default=None)
        if left is not None:
            self._group = join_group(left + KERNEL_BYTES)
        self._swap = "off" if self._group is not None and self._group.swap_off else _switch_swap_off()

    def _left(self) -> int | None:
        """Bytes of the budget that are not resident yet; None where neither limits nor counters can be trusted."""
        resident = self._meter.resident
        if resident is None:
            return None
        if resident >= self.budget_bytes:
            raise BudgetError(
                f"memory budget {format_size(self.budget_bytes)}: the process already holds {format_size(resident)}; "
                "give more"
            )
        return self.budget_bytes - resident

    def limit_private(self, untouched_bytes: int = 0) -> None:
        """Let private memory grow no further than what is left of the budget now, from what it is now.

        `untouched_bytes` is what loading reserves for the time after it: until `settle`, as much more may be used for a
        moment.
        """
        left, private = self._left(), read_counters().private
        if left is None or private is None:
            return
        self._settled = private + left
        self._set_limit(self._settled + untouched_bytes)

    def settle(self) -> None:
        """Take back what `limit_private` granted to loading."""
        if self._settled is not None:
            self._set_limit(self._settled)

    def _set_limit(self, limit: int) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        try:
            resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
        except (OSError, ValueError):
            return
        self._old_limit = self._old_limit or (soft, hard)

    def guarantee(self) -> Guarantee:
        """What holds now."""
        if self._meter.reason is not None:
            return Guarantee((), f"none: {self._meter.reason}; only the planned arena was checked", "unknown")
        limits, promises = [], []
        if self._group is not None:
            limits.append(self._group.version)
            promises.append(
                f"{self._group.version}: the kernel ends the process if what it takes from here on, page cache "
                f"that it cannot drop included, passes the budget by {format_size(KERNEL_BYTES)}, which are for the "
                "kernel's own tables; the last saved state stays"
            )
        if self._old_limit is not None:
            limits.append("RLIMIT_DATA")
            promises.append("RLIMIT_DATA: a request for private memory past the budget fails and ends the run cleanly")
        if self._outside is not None:
            below = ", BELOW the budget," if self._outside < self.budget_bytes else ""
            promises.append(f"a control group limits it to {format_size(self._outside)}{below} from outside")
        promises.append("the resident peak is checked after every step")
        return Guarantee(tuple(limits), "; ".join(promises), self._swap)

    def check(self) -> None:
        """Raise BudgetError if more was ever resident than the budget allows."""
        peak = self._meter.peak
        if peak is not None and peak > self.budget_bytes:
            raise BudgetError(
                f"memory budget {format_size(self.budget_bytes)} was passed: {format_size(peak)} were resident; "
                "give a larger one"
            )

    def lift(self) -> None:
        """Take the limits away."""
        if self._old_limit is not None:
            resource.setrlimit(resource.RLIMIT_DATA, self._old_limit)
            self._old_limit = None
        if self._group is not None:
            self._group.leave()
            self._group = None


def _switch_swap_off() -> str:
    """How swap stands: absent, switched off for this process by locking pages as they come, or possible."""
    try:
        with open("/proc/swaps", "rb") as swaps:
            if len(swaps.read().splitlines()) <= 1:
                return "none on this system"
    except OSError:
        return "unknown"
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY or os.geteuid() == 0:
        import ctypes  # only here: a system without swap need not hold it

        current, future, on_fault = 1, 2, 4
        if ctypes.CDLL(None, use_errno=True).mlockall(current | future | on_fault) == 0:
            return "off (pages are locked as they come)"
    return "possible: peak VmSwap is reported"


@contextmanager
def memory_errors(doing: str) -> Iterator[None]:
    """Turn a refused allocation inside the block into a BudgetError that says what was being done."""
    try:
        yield
    except MemoryError as error:
        raise BudgetError(
            f"memory budget reached while {doing}: an allocation was refused; give a larger budget, or let the plan "
            "choose a smaller micro-batch"
        ) from error
