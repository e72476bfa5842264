"""What apps may use of the C library is listed, so that its version says what changed.

Written anew by `python tests/edge/compiled/test_c_surface.py`, once the version in libmest.h moved: its major number
where something went or changed, its minor number where something came.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HEADER = Path(__file__).resolve().parents[3] / "edge" / "libmest" / "include" / "libmest.h"
LISTED = Path(__file__).with_name("c_surface.txt")
pytestmark = pytest.mark.skipif(not LISTED.exists() or not HEADER.exists(), reason="the sources are not here")
STRUCT = re.compile(r"typedef struct \{(.*?)\} (\w+);", re.DOTALL)


def surface(header: str) -> list[str]:
    """The version, then a line for every function, type, macro and constant, and for every field by its number."""
    code = re.sub(r"\\\n", " ", re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL))
    code = re.sub(r"#ifdef __cplusplus.*?#endif", "", code, flags=re.DOTALL)
    found, parts = [], dict(re.findall(r"#define LIBMEST_VERSION_(\w+) (\d+)", code))
    found.append(f"version {parts['MAJOR']}.{parts['MINOR']}.{parts['PATCH']}")
    for name, text in re.findall(r"#define (LIBMEST_\w+) (.+)", code):
        if not name.startswith("LIBMEST_VERSION_"):
            found.append(f"#define {name} {' '.join(text.split())}")
    for names in re.findall(r"enum \{(.*?)\};", code, re.DOTALL):
        found += [" ".join(one.split()) for one in names.split(",")]
    for fields, name in STRUCT.findall(code):
        for number, field in enumerate(each for line in fields.split(";") for each in declared(line)):
            found.append(f"{name}[{number}] {field}")
    found += re.findall(r"typedef (?!struct \{)(?:[^;{]+)(?=;)", code)
    found += [" ".join(text.split()) for text in re.findall(r"LIBMEST_API ((?!__)[^;]+);", code)]
    return [" ".join(line.split()) for line in found]


def declared(line: str) -> list[str]:
    """`int32_t a, b` as two fields of a type each."""
    words = " ".join(line.split())
    if "(" in words or not words:
        return [words] if words else []
    kind, _, first = words.split(",")[0].rpartition(" ")
    return [f"{kind} {name.strip()}" for name in [first, *words.split(",")[1:]]]


def least_version(before: list[str], now: list[str]) -> tuple[int, int]:
    """The smallest major and minor number for what `before` became; a struct without its size may not grow."""
    major, minor = version(before)
    grown = {line.split("[")[0] for line in now[1:] if line not in before and "[" in line.split(" ")[0]}
    known = {line.split("[")[0] for line in before}
    fixed = {name for name in grown & known if f"{name}[0] size_t bytes" not in before}
    if fixed or any(line not in now for line in before[1:]):
        return major + 1, 0
    return (major, minor + 1) if any(line not in before for line in now[1:]) else (major, minor)


def version(lines: list[str]) -> tuple[int, int]:
    """The numbers that say what changed."""
    major, minor, _ = map(int, lines[0].split()[1].split("."))
    return major, minor


def test_the_surface_is_the_listed_one() -> None:
    """A change of a function, a struct or a number is a decision, and moves the version."""
    now, listed = surface(HEADER.read_text()), LISTED.read_text().splitlines()
    least = least_version(listed, now)
    assert version(now) >= least, f"libmest.h changed: its version must be {least[0]}.{least[1]} at least"
    assert now == listed, "list it anew: python tests/edge/compiled/test_c_surface.py"


def test_what_moves_the_version() -> None:
    """By eye: what is added, what is appended to a struct that bears its size, what is removed, what is moved."""
    before = surface(HEADER.read_text())
    major, minor = version(before)
    cases = {
        "/* nothing */": (major, minor),
        "LIBMEST_API int libmest_more(void);": (major, minor + 1),
        "typedef struct { int a; } LibmestMore;": (major, minor + 1),
    }
    for added, wanted in cases.items():
        assert least_version(before, surface(HEADER.read_text() + added)) == wanted
    changes = {
        ("    int32_t reserved;\n} LibmestProgress;", "    int32_t reserved, more;\n} LibmestProgress;"): (
            major,
            minor + 1,
        ),
        ("    double step_ms, read_ms;", "    double read_ms, step_ms;"): (major + 1, 0),
        ("    const char *name;", "    const char *name; int more;"): (major + 1, 0),  # LibmestSource has no size
        ("LIBMEST_DAMAGED = 4", "LIBMEST_DAMAGED = 5"): (major + 1, 0),
        ("LIBMEST_API int libmest_reset(LibmestModel *model);", ""): (major + 1, 0),
    }
    for (old, new), wanted in changes.items():
        assert old in HEADER.read_text()
        assert least_version(before, surface(HEADER.read_text().replace(old, new))) == wanted, old


if __name__ == "__main__":
    new, old = surface(HEADER.read_text()), LISTED.read_text().splitlines() if LISTED.exists() else None
    if old and version(new) < least_version(old, new):
        raise SystemExit("libmest.h changed: move LIBMEST_VERSION_MAJOR or _MINOR first")
    LISTED.write_text("\n".join(new) + "\n")
