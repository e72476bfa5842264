"""What a state says about itself, as it is read back: each field of its type, or a complaint that names it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, NoReturn

import numpy as np

from edge.errors import DamagedError
from edge.files.decode import decode
from edge.files.fields import Fields
from edge.plan.choices import ENGINES, Choices

REMEDY = "copy the whole state directory again"
_KINDS = "biuf"  # of arrays that engines keep


class Facts(dict[str, Any]):
    """The facts of a state; asking for one that is missing is a complaint about the state, not an error of ours."""

    def __init__(self, facts: dict[str, Any], file: str) -> None:
        super().__init__(facts)
        self._file = file

    def __missing__(self, key: str) -> NoReturn:
        raise DamagedError(f"{self._file}: facts: {key!r} is missing; {REMEDY}")


def read_body(body: object, file: str) -> tuple[int, Facts, dict[str, Any]]:
    """Generation, facts and description of the arrays; raises DamagedError for a field of another type.

    What programs of their own have added to the facts stays as it is.
    """
    source = Fields(body, file, "the state", REMEDY)
    generation = source.integer("generation")
    facts = Facts(source.mapping("facts"), file)
    given = Fields(facts, file, "facts", REMEDY)
    if "engine" in facts:
        given.choice("engine", ENGINES)
    if "class_names" in facts:
        given.texts("class_names")
    if "data" in facts:
        given.string("data")
    if "off_target" in facts:
        given.boolean("off_target")
    if "choices" in facts:
        facts["choices"] = asdict(decode(Choices, given.take("choices"), f"{file}: facts.choices"))
    if "artifact" in facts:
        _check_artifact(Fields(given.take("artifact"), file, "facts.artifact", REMEDY))
    return generation, facts, _tensors(Fields(source.take("tensors"), file, "tensors", REMEDY))


def _check_artifact(source: Fields) -> None:
    source.string("path")
    if source.has("manifest_sha256"):  # of states before artifacts were known by what they compute
        source.string("manifest_sha256")
    else:
        source.choice("engine", ENGINES)
        source.string("sha256")


def _tensors(source: Fields) -> dict[str, Any]:
    file = source.text("file")
    if "/" in file or "\\" in file or file.startswith("."):
        source.fail(f"{file!r} cannot be the name of a file of a state")
    nbytes, sha256 = source.integer("bytes"), source.string("sha256")
    entries = [_entry(Fields(one, source.file, f"tensors.entries[{number}]", REMEDY), nbytes)
               for number, one in enumerate(source.items("entries"))]  # fmt: skip
    return {"file": file, "bytes": nbytes, "sha256": sha256, "entries": entries}


def _entry(source: Fields, nbytes: int) -> dict[str, Any]:
    name, spelled, offset = source.string("name"), source.text("dtype"), source.integer("offset")
    shape = list(source.integers("shape", 0, 2**40))
    try:
        dtype = np.dtype(spelled)
    except (TypeError, ValueError):
        dtype = np.dtype(object)
    if dtype.kind not in _KINDS or dtype.str != spelled:
        source.fail(f"'dtype' {spelled!r} is not one that engines keep")
    count = 1
    for size in shape:
        count *= size
    if len(shape) > 8 or offset + count * dtype.itemsize > nbytes:
        source.fail(f"{shape} {spelled} at {offset} do not lie within {nbytes} bytes")
    return {"name": name, "dtype": spelled, "shape": shape, "offset": offset}
