"""The kernel's own count of this process's memory: read at no cost, and peaks by phase without sampling."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Counters:
    """Bytes as `/proc/self/status` has them; None where the kernel shows no such line."""

    resident: int | None  # VmRSS
    peak: int | None  # VmHWM, since the start or the last reset
    private: int | None  # VmData, what RLIMIT_DATA counts
    swapped: int | None  # VmSwap


_LINES = {b"VmRSS": "resident", b"VmHWM": "peak", b"VmData": "private", b"VmSwap": "swapped"}


def parse_status(text: bytes) -> Counters:
    """The four counters of a `/proc/PID/status` text, in bytes."""
    found: dict[str, int | None] = dict.fromkeys(_LINES.values())
    for line in text.splitlines():
        key, _, value = line.partition(b":")
        if key in _LINES:
            found[_LINES[key]] = int(value.split()[0]) * 1024
    return Counters(**found)


def read_counters() -> Counters:
    """This process's counters now; all None on a system without `/proc`."""
    try:
        with open("/proc/self/status", "rb") as status:
            return parse_status(status.read())
    except OSError:
        return Counters(None, None, None, None)


_peak_before_reset = 0


def reset_peak() -> bool:
    """True if the kernel took the current resident size as its new peak (writing 5 to clear_refs)."""
    global _peak_before_reset
    _peak_before_reset = max(_peak_before_reset, read_counters().peak or 0)
    try:
        with open("/proc/self/clear_refs", "wb", buffering=0) as file:
            file.write(b"5")
    except OSError:
        return False
    return True


def peak_since_start() -> int | None:
    """The most bytes that this program ever had resident, across resets; None where the kernel does not count them.

    getrusage would add what the process held before it became this program: as a child, all that its parent held.
    """
    now = read_counters().peak
    return None if now is None else max(now, _peak_before_reset)


def give_back_freed() -> None:
    """Hand memory that was freed back to the system: glibc keeps some of it resident for requests to come.

    Objects that lead to each other in a circle are freed first.
    """
    import ctypes  # only here: a reader of counters need not hold it
    import gc

    gc.collect()

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries keep nothing, or cannot be told
    if trim is not None:
        trim(0)


def emulator() -> str | None:
    """The name of the user-mode emulator that runs this process, or None on a real processor.

    qemu answers for `/proc/self/exe` itself, but passes the same link of a thread through to the host.
    """
    try:
        real = Path(f"/proc/self/task/{threading.get_native_id()}/exe").readlink().name
    except OSError:
        return None
    return real if real.startswith("qemu-") else None


def untrusted_reason() -> str | None:
    """Why no figure of this process can be trusted, or None if they can."""
    name = emulator()
    if name is not None:
        return f"running under {name}: the emulator's own memory is counted with the program's"
    if read_counters().peak is None:
        return "this system shows no VmHWM in /proc/self/status"
    return None


def caveat(reason: str | None, budget_bytes: int | None) -> str | None:
    """What nobody can know of this process's memory, for a person; None where the kernel's figures can be trusted."""
    if reason is None:
        return None
    enforced = "" if budget_bytes is None else "; the budget is held against the plan alone, and is not enforced"
    return (
        f"the memory of this process is not known ({reason}): the planned peak leaves out the interpreter and its "
        f"libraries{enforced}"
    )


class Meter:
    """Peak resident memory since the process began, kept across resets, and the peak of each phase.

    The kernel's maximum is exact, so nothing is sampled. All figures are None where they cannot be trusted (`reason`).
    """

    def __init__(self) -> None:
        self.reason = untrusted_reason()
        self.phases: dict[str, int] = {}
        self._phase = "start"
        self._peak = 0
        self._swap = 0
        self._note()

    def _note(self) -> Counters:
        now = read_counters()
        if self.reason is None:
            peak = now.peak or 0
            self._peak = max(self._peak, peak)
            self._swap = max(self._swap, now.swapped or 0)
            self.phases[self._phase] = max(self.phases.get(self._phase, 0), peak)
        return now

    def enter(self, phase: str) -> None:
        """Close the phase that runs and begin another; a phase entered twice keeps its larger peak."""
        self._note()
        reset_peak()
        self._phase = phase

    @property
    def peak(self) -> int | None:
        """The most bytes ever resident at once, start-up included."""
        self._note()
        return self._peak if self.reason is None else None

    @property
    def resident(self) -> int | None:
        """Bytes resident now."""
        now = self._note()
        return now.resident if self.reason is None else None

    @property
    def peak_swap(self) -> int | None:
        """The most bytes seen in swap at any note."""
        self._note()
        return self._swap if self.reason is None else None
