"""Writes src/program.h from the declarations of `program.py`: `python -m edge.libmest.header`. No board needs it."""

from __future__ import annotations

import sys
from ctypes import Structure
from pathlib import Path

from edge.libmest import program

HEADER = Path(__file__).resolve().parent / "src" / "program.h"


def _tables_named(twofold: set[str]) -> list[str]:
    """The C function that tells whether the rows of all tables beside the steps' own name what is there."""
    lines = ["static inline int mest_tables_named(const MestProgram *p) {"]
    rows: dict[str, type[Structure]] = {**program.TABLES, "param": program.Param}
    for name, row in rows.items():
        lines.append(f"    if (p->{name}_count < 0) return 0;")
        if row.__name__ in twofold:
            lines.append(f"    for (int32_t i = 0; i < p->{name}_count; i++)")
            lines.append(f"        if (!mest_{name}_named(p, p->{name}s + i)) return 0;")
    return ["\n".join([*lines, "    return 1;", "}\n"])]


def header() -> str:
    """The text of src/program.h."""
    constants = "".join(f"    MEST_{name} = {number},\n" for name, number in program.CONSTANTS.items())
    step = next(struct for struct in program.STRUCTS if struct.name == "Step")
    twofold = {struct.name for struct in program.STRUCTS if struct.twofold}
    asserts = {
        portable: "".join(
            one.asserts(getattr(program, one.name)) for one in program.STRUCTS if one.portable == portable
        )
        for portable in (True, False)
    }
    return "\n".join(
        [
            "/* Written by python -m edge.libmest.header from edge/libmest/program.py; change that. */",
            "#ifndef MEST_PROGRAM_H\n#define MEST_PROGRAM_H\n\n#include <stddef.h>\n#include <stdint.h>\n",
            f'#define MEST_DIGEST "{program.digest()}"\n',
            *(enum.text() for enum in program.ENUMS),
            f"enum {{\n{constants}}};\n",
            *(struct.text(twofold) for struct in program.STRUCTS),
            "/* Where an operand lies; NULL for number 0. Numbers, places and sizes were checked before. */",
            "static inline void *mest_operand(const MestProgram *p, int32_t number) {",
            "    if (!number) return NULL;",
            "    const MestOperand *o = p->operands + number - 1;",
            "    return (char *)(o->segment == MEST_SEGMENT_ARENA ? p->arena : NULL) + o->offset;",
            "}\n",
            *(struct.resolver() for struct in program.STRUCTS if struct.twofold),
            "/* Whether a number is one of `count`, or none; the same of all that a row names, and of all rows. */",
            "static inline int mest_listed(int32_t number, int32_t count) { return number >= 0 && number <= count; }\n",
            *(struct.named(twofold) for struct in program.STRUCTS if struct.twofold),
            *_tables_named(twofold),
            "/* A step of a checked program with pointers instead of numbers, made anew by every thread. */",
            step.placed(twofold),
            asserts[True],
            f"#if __SIZEOF_POINTER__ == 8\n{asserts[False]}#endif\n",
            "#endif\n",
        ]
    )


if __name__ == "__main__":
    HEADER.write_text(header(), encoding="utf-8")
    sys.stdout.write(f"wrote {HEADER}\n")
