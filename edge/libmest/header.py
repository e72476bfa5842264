"""Writes src/program.h and src/library/plan_file.h from what `program.py` and `plan_file.py` declare.

`python -m edge.libmest.header`. No board needs it.
"""

from __future__ import annotations

import sys
from ctypes import Structure
from pathlib import Path

from edge.libmest import plan_file, program, vocabulary

HEADER = Path(__file__).resolve().parent / "src" / "program.h"
PLAN_FILE = HEADER.parent / "library" / "plan_file.h"


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


def _reads_saved() -> list[str]:
    """The C function that tells whether a step reads stored tensors in every form that they are kept in."""
    cases = "".join(f"    case MEST_OP_{name.upper()}:\n" for name in vocabulary.READS_SAVED)
    return [
        "/* Whether a step reads stored tensors in any of MEST_SAVED_...; all others find float32. */",
        "static inline int mest_reads_saved(int32_t op) {",
        f"    switch (op) {{\n{cases}        return 1;\n    }}\n    return 0;\n}}\n",
    ]


def header() -> str:
    """The text of src/program.h."""
    constants = "".join(f"    MEST_{name} = {number},\n" for name, number in vocabulary.CONSTANTS.items())
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
            *(enum.text() for enum in vocabulary.ENUMS),
            f"enum {{\n{constants}}};\n",
            *_reads_saved(),
            *(struct.text(twofold) for struct in program.STRUCTS),
            "/* Where an operand lies; NULL for number 0. Numbers, places and sizes were checked before. */",
            "static inline void *mest_operand(const MestProgram *p, int32_t number) {",
            "    if (!number) return NULL;",
            "    const MestOperand *o = p->operands + number - 1;",
            "    switch (o->segment) {",
            "    case MEST_SEGMENT_ARENA: return (char *)p->arena + o->offset;",
            "    case MEST_SEGMENT_TENSORS: return (char *)p->tensors + o->offset;",
            "    case MEST_SEGMENT_LISTS: return (char *)p->lists + o->offset;",
            "    default: return (void *)(intptr_t)o->offset;",
            "    }",
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


def _program_opener() -> str:
    """The C function that finds the tables of a compiled program in its part of a file, if they lie within it."""
    tables = dict(plan_file.tables())
    addresses = ("arena", "tensors", "lists")  # where they lie is for the caller to say
    lines = []
    for name, _ in program.Program._fields_:
        if name in tables:
            lines += [
                f"    p->{name} = mest_table(part, s->part_bytes, s->{name}, s->{tables[name]}, sizeof *p->{name});",
                f"    if (!p->{name}) return 0;",
            ]
        elif name not in addresses:
            lines.append(f"    p->{name} = s->{name};")
    head = "static inline int mest_program_of(const char *part, const MestPlanProgram *s, MestProgram *p) {"
    return "\n".join([head, "    *p = (MestProgram){0};", *lines, "    return 1;", "}\n"])


def plan_file_header() -> str:
    """The text of src/library/plan_file.h."""
    constants = "".join(f"    MEST_{name} = {number},\n" for name, number in plan_file.CONSTANTS.items())
    magics = ("PLAN_MAGIC", "DATA_MAGIC", "STATE_MAGIC")
    return "\n".join(
        [
            "/* Written by python -m edge.libmest.header from edge/libmest/plan_file.py; change that. */",
            '#ifndef MEST_PLAN_FILE_H\n#define MEST_PLAN_FILE_H\n\n#include "../program.h"\n',
            f"#define MEST_FILES_DIGEST {plan_file.digest()}LL",
            *(f"#define MEST_{name} {getattr(plan_file, name)}LL" for name in magics),
            "",
            *(enum.text() for enum in plan_file.ENUMS),
            f"enum {{\n{constants}}};\n",
            *(struct.text(set()) for struct in plan_file.STRUCTS),
            "/* The table of `count` rows at an offset; NULL unless it lies within these bytes. */",
            "static inline const void *mest_table(const char *part, int64_t nbytes, int64_t at, int64_t count, "
            "size_t row) {",
            "    const int64_t size = (int64_t)row;",
            "    if (at < 0 || at % 8 || at > nbytes || count < 0 || count > (nbytes - at) / size) return NULL;",
            "    return part + at;",
            "}\n",
            "/* Whether all tables of a program lie within its part; then `p` names them, but no memory yet. */",
            _program_opener(),
            *(struct.asserts(plan_file.CLASSES[struct.name]) for struct in plan_file.STRUCTS),
            "#endif\n",
        ]
    )


if __name__ == "__main__":
    for path, text in ((HEADER, header()), (PLAN_FILE, plan_file_header())):
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote {path}\n")
