"""The kernel's counters, against memory that really is taken and given back."""

from __future__ import annotations

import mmap
import subprocess
import sys

import pytest

from edge.host.counters import (
    Meter,
    emulator,
    parse_status,
    peak_since_start,
    read_counters,
    reset_peak,
    untrusted_reason,
)

MIB = 1 << 20
STATUS = b"Name:\tpython\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nVmData:\t     512 kB\nVmSwap:\t       4 kB\n"


def take(nbytes):
    """Memory of its own mapping, every page touched: closing it gives it back, whatever else the process holds."""
    taken = mmap.mmap(-1, nbytes)
    for start in range(0, nbytes, 4096):
        taken[start] = 1
    return taken


needs_counters = pytest.mark.skipif(untrusted_reason() is not None, reason=f"needs true counters: {untrusted_reason()}")


def test_a_status_text_is_read_in_bytes():
    """Each line becomes its counter, kB being 1024 bytes."""
    counters = parse_status(STATUS)
    assert counters.peak == 2 * MIB
    assert counters.resident == MIB
    assert counters.private == MIB // 2
    assert counters.swapped == 4096


def test_a_line_that_is_missing_is_none():
    """Kernels without swap accounting show no VmSwap."""
    assert parse_status(b"VmRSS:\t8 kB\n").swapped is None


@needs_counters
def test_the_peak_outlives_what_was_taken():
    """Memory that was freed still counts in the peak, and no longer after a reset."""
    taken = take(32 * MIB)
    peak = read_counters().peak or 0
    resident_with = read_counters().resident or 0
    taken.close()
    assert (read_counters().peak or 0) >= peak - MIB  # the kernel counts in batches of pages per core
    assert reset_peak()
    assert (read_counters().peak or 0) < resident_with - 24 * MIB
    assert (peak_since_start() or 0) >= peak - MIB


@needs_counters
def test_a_program_does_not_count_what_its_parent_held():
    """getrusage does: a process counts for its child until that becomes another program."""
    taken = take(96 * MIB)
    look = "from edge.host.counters import peak_since_start; print(peak_since_start())"
    said = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True, preexec_fn=int)
    taken.close()
    assert int(said.stdout) < 96 * MIB


@needs_counters
def test_a_meter_keeps_its_maximum_across_phases():
    """The peak of the whole is the largest of the phases, also of one that is over."""
    meter = Meter()
    meter.enter("quiet")
    meter.enter("large")
    taken = take(24 * MIB)
    taken.close()
    meter.enter("after")
    peak = meter.peak
    assert peak is not None
    assert peak >= meter.phases["large"]
    assert meter.phases["large"] >= meter.phases["quiet"] + 20 * MIB
    assert meter.phases["after"] < meter.phases["large"] - 16 * MIB


@needs_counters
def test_a_phase_entered_twice_keeps_its_larger_peak():
    """Saving happens many times; its phase shows the worst."""
    meter = Meter()
    meter.enter("save")
    taken = take(16 * MIB)
    meter.enter("train")
    first = meter.phases["save"]
    taken.close()
    meter.enter("save")
    meter.enter("train")
    assert meter.phases["save"] == first


def test_under_an_emulator_no_figure_is_given(monkeypatch):
    """What qemu itself holds counts in VmHWM, so the meter says why instead of a number."""
    monkeypatch.setattr("edge.host.counters.emulator", lambda: "qemu-aarch64-static")
    meter = Meter()
    meter.enter("train")
    assert meter.peak is None
    assert meter.resident is None
    assert "qemu-aarch64-static" in (meter.reason or "")
    assert meter.phases == {}


def test_an_emulator_is_recognised_by_what_the_host_runs(monkeypatch):
    """The link of a thread leads to qemu, whatever /proc/self/exe says."""
    monkeypatch.setattr("os.readlink", lambda *path: "/usr/bin/qemu-aarch64-static")
    assert emulator() == "qemu-aarch64-static"
    monkeypatch.setattr("os.readlink", lambda *path: "/usr/bin/python3.11")
    assert emulator() is None
