"""Budgets: their text, and limits that really press."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import BudgetError, InputError
from edge.host.cgroup import own_group
from edge.host.counters import Meter, read_counters, untrusted_reason
from edge.host.limits import Enforcement, format_size, memory_errors, parse_size

MIB = 1 << 20
ROOT = Path(__file__).parents[3]

needs_counters = pytest.mark.skipif(untrusted_reason() is not None, reason=f"needs true counters: {untrusted_reason()}")


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [
        ("64MiB", 64 * MIB),
        ("0.5GiB", 512 * MIB),
        ("48M", 48 * MIB),
        ("48m", 48 * MIB),
        (" 2 KiB ", 2048),
        ("1.5MB", 1_500_000),
        ("1048576", MIB),
        ("100B", 100),
    ],
)
def test_a_size_is_read(text, nbytes):
    """Binary and decimal units, with and without a fraction."""
    assert parse_size(text) == nbytes


@pytest.mark.parametrize("text", ["", "lots", "-5MiB", "64 apples", "0", "1e9", "MiB", "nan"])
def test_what_is_not_a_size_is_refused_in_one_line(text):
    """The message repeats what was given and shows what would be right."""
    with pytest.raises(InputError, match="64MiB") as refused:
        parse_size(text)
    assert "\n" not in str(refused.value)
    assert repr(text) in str(refused.value)


def test_sizes_are_written_for_people():
    """One unit, one decimal."""
    assert [format_size(n) for n in (12, 2048, 64 * MIB, 3 << 29)] == ["12 B", "2.0 KiB", "64.0 MiB", "1.5 GiB"]


def test_the_own_group_is_found_in_both_versions():
    """Version 2 has an empty list of controllers, version 1 names them."""
    text = "9:cpu,memory:/a/b\n4:name=systemd:/x\n0::/user.slice\n"
    assert own_group(text, "memory") == "/a/b"
    assert own_group(text, "") == "/user.slice"
    assert own_group("4:cpu:/x\n", "memory") is None


def test_a_refused_allocation_becomes_a_budget_error():
    """With what was being done, and what to do; whether a state is left is for its writer to say."""
    with pytest.raises(BudgetError, match="while step 7: an allocation was refused; give"), memory_errors("step 7"):
        raise MemoryError


@needs_counters
def test_a_budget_below_what_is_held_is_refused():
    """Nothing is limited then."""
    with pytest.raises(BudgetError, match="already holds"):
        Enforcement(MIB, Meter())


@needs_counters
def test_the_peak_is_checked_beside_the_limit():
    """A budget that the process has passed before is noticed."""
    resident = read_counters().resident or 0
    enforcement = Enforcement(resident + 256 * MIB, Meter())
    try:
        enforcement.check()
        enforcement.budget_bytes = resident // 2
        with pytest.raises(BudgetError, match="was passed"):
            enforcement.check()
    finally:
        enforcement.lift()


PRESS = """
import sys
from edge.host.limits import Enforcement, memory_errors
from edge.errors import BudgetError
from edge.host.counters import Meter, read_counters
enforcement = Enforcement((read_counters().resident or 0) + (24 << 20), Meter())
enforcement.limit_private()
assert "RLIMIT_DATA" in enforcement.guarantee().limits, enforcement.guarantee()
kept = bytearray(8 << 20)
try:
    with memory_errors("pressing"):
        kept += bytearray(64 << 20)
except BudgetError as error:
    enforcement.lift()
    assert len(bytearray(64 << 20)) == 64 << 20
    sys.exit(error.exit_code)
"""


@needs_counters
def test_an_allocation_past_the_budget_fails_and_lifting_frees_it():
    """In a process of its own: what fits is given, what does not is refused as an error, not as a kill."""
    done = subprocess.run([sys.executable, "-c", PRESS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
