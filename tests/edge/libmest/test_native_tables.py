"""The tables of the library hold a row for every name that Python knows, in the same order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge.libmest import program as structs
from edge.libmest import vocabulary

SOURCE = Path(structs.__file__).parent / "src" / "operators"


def rows(file: str, start: str) -> list[tuple[str, ...]]:
    """The arguments of each row of an X-macro, up to the first of more than plain names."""
    text = (SOURCE / file).read_text().split(start, 1)[1].split("\n\n", 1)[0]
    return [tuple(re.split(r",\s*", found)) for found in re.findall(r"^ +X\(([^)]*)", text, re.MULTILINE)]


def test_every_step_has_a_row() -> None:
    """With the function that runs it and the one that checks it, both defined in a file that the list includes."""
    found = rows("table.h", "#define MEST_OPERATORS(X)")
    assert [name.lower() for name, _, _ in found] == list(vocabulary.OPS)
    for place, file in ((1, "running.h"), (2, "checks.h")):
        included = re.findall(r'#include "(.*)"', (SOURCE / file).read_text())
        text = "".join((SOURCE / name).read_text() for name in included)
        assert [row[place] for row in found if f"static void {row[place]}(" not in text] == []


def test_every_activation_has_a_row() -> None:
    """In the order of Python's list."""
    fused, others = (rows("activations.h", f"#define MEST_{name}(X, with)") for name in ("FUSED", "FUNCTIONS"))
    assert [row[1].lower() for row in (*fused, *others)] == list(vocabulary.ACTS)
    assert len(fused) == len(vocabulary.FUSED_ACTS)


def test_every_table_is_one_of_the_program() -> None:
    """With its length beside it."""
    fields = {name for name, _ in structs.Program._fields_}
    for name, kind in structs.TABLES.items():
        assert {f"{name}s", f"{name}_count"} <= fields
        assert structs.table_of(kind()) == name


@pytest.mark.parametrize("file", sorted(SOURCE.glob("*_check.h")), ids=lambda file: file.stem)
def test_a_check_stands_beside_what_it_checks(file: Path) -> None:
    """One file runs the steps of a family, another looks at them before."""
    assert file.with_name(file.name.replace("_check", "")).exists()
