"""What Python and C both know is declared once; a library built from anything else is refused."""

from __future__ import annotations

import ctypes.util
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from edge.libmest import header, library, vocabulary
from edge.libmest import program as structs
from edge.libmest.declared import Enum, Field, Struct, digest
from edge.libmest.library import LibraryError


def test_the_header_is_what_the_declarations_say() -> None:
    """It was written after the last change: python -m edge.libmest.header."""
    if ctypes.sizeof(ctypes.c_void_p) != 8:
        pytest.skip("the layout of pointers that it asserts is that of 64-bit machines, and so is this Python to be")
    assert header.HEADER.read_text() == header.header()


def test_a_struct_by_eye() -> None:
    """Two operands and two numbers: both forms, the places, the function between the forms, an assertion on each."""
    pair = Struct("Pair", "Two.", (Field("*const float", "a b", "why"), Field("int32_t", "c e"), Field("double", "d")))

    class Pair(ctypes.Structure):
        _fields_ = [found for field in pair.fields for found in field.ctypes({})]

    assert pair.text({"Pair"}) == (
        "/* Two. */\n"
        "typedef struct {\n    int32_t a, b;\n    int32_t c, e;\n    double d;\n} MestPlannedPair;\n"
        "typedef struct {\n    const float *a, *b;            /* why */\n    int32_t c, e;\n    double d;\n"
        "} MestPair;\n"
    )
    assert "    r.b = mest_operand(p, s->b);\n    r.c = s->c;\n    r.e = s->e;\n" in pair.resolver()
    assert [getattr(Pair, name).offset for name in "abcd"] == [0, 4, 8, 16]
    assert '_Static_assert(offsetof(MestPlannedPair, d) == 16, "MestPlannedPair");' in pair.asserts(Pair)


@pytest.mark.parametrize("struct", [one for one in structs.STRUCTS if one.portable], ids=lambda one: one.name)
def test_a_planned_form_has_no_holes(struct: Struct) -> None:
    """So compilers that let 64-bit numbers begin at any multiple of four bytes, as on 32-bit x86, lay it out alike."""
    made, end = getattr(structs, struct.name), 0
    for name, kind in made._fields_:
        assert getattr(made, name).offset == end, name
        end += ctypes.sizeof(kind)
    assert ctypes.sizeof(made) == end
    assert end % 8 == 0 or all(ctypes.alignment(kind) <= 4 for _, kind in made._fields_)


def swapped(names: tuple[str, ...]) -> tuple[str, ...]:
    return (names[1], names[0], *names[2:])


def alterations() -> Iterator[tuple[str, Any, Any, Any]]:
    """Every way in which two sides can differ: each enumeration, constant, field order, name and type."""
    enums, constants, declared = vocabulary.ENUMS, vocabulary.CONSTANTS, structs.STRUCTS
    for number, enum in enumerate(enums):
        others = [*enums]
        others[number] = Enum(enum.prefix, swapped(enum.names), enum.count)
        yield f"{enum.prefix} swapped", others, constants, declared
        others[number] = Enum(enum.prefix, (*enum.names, "another"), enum.count)
        yield f"{enum.prefix} longer", others, constants, declared
    for name, value in constants.items():
        yield name, enums, {**constants, name: value + 1}, declared
    for number, struct in enumerate(declared):
        for what, change in CHANGES.items():
            others = [*declared]
            others[number] = replace(struct, fields=change(struct.fields))
            yield f"{struct.name} {what}", enums, constants, others


CHANGES: dict[str, Callable[[tuple[Field, ...]], tuple[Field, ...]]] = {
    "shifted": lambda fields: (Field("int32_t", "before"), *fields),
    "turned": lambda fields: fields[::-1],
    "renamed": lambda fields: (replace(fields[0], names=f"{fields[0].names}_"), *fields[1:]),
    "shorter": lambda fields: fields[:-1],
    "of another type": lambda fields: (
        *fields[:-1],
        replace(fields[-1], kind="double" if fields[-1].kind != "double" else "float"),
    ),
}


def test_every_disagreement_changes_the_digest() -> None:
    """None of them could run with the library as it was built."""
    digests = {structs.digest()}
    for what, enums, constants, declared in alterations():
        found = digest(enums, constants, declared)
        assert found not in digests, what
        digests.add(found)
    assert len(digests) > 50


@pytest.fixture
def fresh() -> Iterator[None]:
    """The library is looked for again, before and after."""
    library.load_library.cache_clear()
    yield
    library.load_library.cache_clear()


def test_a_library_of_other_declarations_is_refused(monkeypatch: pytest.MonkeyPatch, fresh: None) -> None:
    """One line says what to do; so it does for a library from before there was a digest, or of something else."""
    if not library.PATH.exists():
        pytest.skip("needs the native library: it was not built")
    monkeypatch.setattr(library, "digest", lambda: "0123456789abcdef")
    with pytest.raises(LibraryError, match=r"another version of mest; run python -m edge\.libmest\.build"):
        library.load_library()
    monkeypatch.undo()
    other = ctypes.util.find_library("m")
    if other is None:
        pytest.skip("needs a library of mathematics to try in its place")
    monkeypatch.setattr(library, "PATH", library.PATH.with_name("libm-link.so"))
    monkeypatch.setattr(type(library.PATH), "exists", lambda self: True)
    monkeypatch.setattr(ctypes, "CDLL", lambda path, load=ctypes.CDLL, **options: load(other))
    with pytest.raises(LibraryError, match="another version of mest"):
        library.load_library()
