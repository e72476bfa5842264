"""How what Python and C both know is declared once: structs, enumerations and constants.

A struct that names memory has two forms. *Planned* is what Python writes: memory by the number of an operand, other
structs by their number in a table of the program, so that nothing depends on where things lie or how wide a pointer is.
The other is what C computes with: the same fields with pointers, made from the planned one. A declaration gives both C
texts, the function between them, the ctypes fields and the digest, so that none of them can differ from the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ctypes import Structure, c_double, c_float, c_int32, c_int64, c_void_p, sizeof
from dataclasses import dataclass
from typing import Any

from edge.files.digest import sha256

NUMBERS: dict[str, type] = {"int32_t": c_int32, "int64_t": c_int64, "float": c_float, "double": c_double}
WIDTH = 120


@dataclass(frozen=True)
class Field:
    """Fields of one kind in a row.

    A kind is a number's C type; `*TYPE`, an operand; `@STRUCT`, an entry of that struct's table in the program;
    `&TYPE`, an address in this process; or a struct's name, which lies inside.
    """

    kind: str
    names: str
    comment: str = ""

    @property
    def planned(self) -> bool:
        """True if the planned form differs."""
        return self.kind[0] in "*@" or self.kind[0].isupper()

    def ctypes(self, classes: Mapping[str, type[Structure]]) -> list[tuple[str, Any]]:
        """The planned fields as ctypes declares them; `classes` are the structs that were declared before."""
        found: Any = NUMBERS.get(self.kind) or classes.get(self.kind) or c_int32
        if self.kind[0] == "&":
            found = c_void_p
        return [(name, found) for name in self.names.split()]

    def text(self, planned: bool, twofold: set[str]) -> str:
        """The line of C; `twofold` are the structs that have a planned form."""
        kind, star = self.kind, ""
        if kind[0] in "*@&":
            kind, star = kind[1:], "*"
            if self.kind[0] == "@":
                kind = f"const {kind}"
            if planned and self.kind[0] != "&":
                kind, star = "int32_t", ""
        bare = kind.removeprefix("const ")
        if bare[0].isupper():
            tables = self.kind[0] == "&" or planned
            kind = kind.replace(bare, f"Mest{'Planned' if tables and bare in twofold else ''}{bare}")
        line = f"    {kind} {', '.join(star + name for name in self.names.split())};"
        said = self.comment and not (planned and self.kind[0] == "*")  # beside the pointer, once
        return f"{line:<34} /* {self.comment} */" if said else line


@dataclass(frozen=True)
class Struct:
    """A struct of the program: `Mest` + its name in C, and `MestPlanned` + its name where it names memory."""

    name: str
    comment: str
    fields: tuple[Field, ...]

    @property
    def twofold(self) -> bool:
        """True if there is a planned form beside the one with pointers."""
        return any(field.planned for field in self.fields)

    def c_name(self, planned: bool) -> str:
        """The name of a form in C."""
        return f"Mest{'Planned' if planned and self.twofold else ''}{self.name}"

    def text(self, twofold: set[str]) -> str:
        """The typedefs of C."""
        forms = (True, False) if self.twofold else (False,)
        found = []
        for planned in forms:
            body = "\n".join(field.text(planned, twofold) for field in self.fields)
            found.append(f"typedef struct {{\n{body}\n}} {self.c_name(planned)};\n")
        return f"{_comment(self.comment)}\n{''.join(found)}"

    def resolver(self) -> str:
        """The C function that makes the form with pointers; entries of tables are left for the caller."""
        lines = []
        for field in self.fields:
            for name in field.names.split():
                value = f"s->{name}"
                if field.kind[0] == "*":
                    value = f"mest_operand(p, s->{name})"
                elif field.kind[0].isupper():
                    value = f"mest_{field.kind.lower()}(p, &s->{name})"
                if field.kind[0] != "@":
                    lines.append(f"    r.{name} = {value};")
        head = f"static inline {self.c_name(False)} mest_{self.name.lower()}(const MestProgram *p, "
        head += f"const {self.c_name(True)} *s) {{"
        body = "\n".join([f"    {self.c_name(False)} r = {{0}};", *lines, "    return r;"])
        return f"{head}\n{body}\n}}\n"

    def named(self, twofold: set[str]) -> str:
        """The C function that tells whether every operand and every table's entry that a row names is there."""
        found = []
        for field in self.fields:
            for name in field.names.split():
                if field.kind[0] == "*":
                    found.append(f"mest_listed(s->{name}, p->operand_count)")
                elif field.kind[0] == "@":
                    found.append(f"mest_listed(s->{name}, p->{field.kind[1:].lower()}_count)")
                elif field.kind in twofold:
                    found.append(f"mest_{field.kind.lower()}_named(p, &s->{name})")
        head = f"static inline int mest_{self.name.lower()}_named(const MestProgram *p, "
        head += f"const {self.c_name(True)} *s) {{"
        joined = " &&\n           ".join(found)
        return f"{head}\n    return {joined};\n}}\n"

    def placed(self, twofold: set[str]) -> str:
        """The C struct that holds a row with the table entries that it names, and the function that fills it."""
        naming = [field for field in self.fields if field.kind[0] == "@"]
        entries = [(name, field.kind[1:]) for field in naming for name in field.names.split()]
        kind, row = f"MestPlaced{self.name}", self.name.lower()
        held = "".join(f"    Mest{struct} {name};\n" for name, struct in entries if struct in twofold)
        lines = []
        for name, struct in entries:
            entry = f"p->{struct.lower()}s + s->{name} - 1"
            if struct in twofold:
                lines += [
                    f"    if (s->{name}) {{",
                    f"        placed->{name} = mest_{struct.lower()}(p, {entry});",
                    f"        placed->{row}.{name} = &placed->{name};",
                    "    }",
                ]
            else:
                lines.append(f"    if (s->{name}) placed->{row}.{name} = {entry};")
        head = f"static inline const {self.c_name(False)} *mest_place_{row}(const MestProgram *p, "
        head += f"const {self.c_name(True)} *s, {kind} *placed) {{"
        body = "\n".join([f"    placed->{row} = mest_{row}(p, s);", *lines, f"    return &placed->{row};"])
        return f"typedef struct {{\n    {self.c_name(False)} {row};\n{held}}} {kind};\n\n{head}\n{body}\n}}\n"

    def asserts(self, made: type[Structure]) -> str:
        """Assertions that C lays the planned form out as ctypes does."""
        name = self.c_name(True)
        found = [f"offsetof({name}, {field}) == {getattr(made, field).offset}" for field in _names(self)]
        found.append(f"sizeof({name}) == {sizeof(made)}")
        return "".join(f'_Static_assert({one}, "{name}");\n' for one in found)

    @property
    def portable(self) -> bool:
        """True if its planned form is the same whatever the width of a pointer."""
        return all(field.kind[0] != "&" for field in self.fields)


@dataclass(frozen=True)
class Enum:
    """Numbers from 0 on, in order: `MEST_` + prefix + name in C."""

    prefix: str
    names: tuple[str, ...]
    count: str = ""  # the name of how many there are

    def text(self) -> str:
        """The enumeration of C."""
        listed = [f"MEST_{self.prefix}{name.upper()}" for name in self.names]
        listed += [f"MEST_{self.count}"] if self.count else []
        body = "\n".join(f"    {line}" for line in _wrapped(", ".join(listed), WIDTH - 4))
        return f"enum {{\n{body}\n}};\n"


def digest(
    enums: Sequence[Enum], constants: Mapping[str, int], structs: Sequence[Struct], listed: Sequence[str] = ()
) -> str:
    """16 hexadecimal digits over every name, order, type and number that both sides know."""
    known = [
        *(f"{enum.prefix} {enum.names}" for enum in enums),
        *(f"{name} {number}" for name, number in constants.items()),
        *(f"{one.name} {[(field.kind, field.names) for field in one.fields]}" for one in structs),
        *listed,
    ]
    found = sha256()
    found.update("\n".join(known).encode())
    return str(found.hexdigest())[:16]


def _names(struct: Struct) -> list[str]:
    return [name for field in struct.fields for name in field.names.split()]


def _comment(text: str) -> str:
    lines = _wrapped(text, WIDTH - 3)
    return "/* " + "\n * ".join(lines) + " */"


def _wrapped(text: str, width: int) -> list[str]:
    from textwrap import wrap  # of whoever writes the header, not of a board

    return wrap(text, width, break_on_hyphens=False)
