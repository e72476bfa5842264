"""Rounds as Flower's records. Values go under a serialisation of our own: averaging that knows nothing of masks fails.

Stock strategies average whatever arrays they find, index lists too, without a word; of these they say that they cannot
read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from edge.errors import InputError
from export.flower.packing import FLOAT

STYPE = "mest.values/1"  # float32, little-endian, of the kept weights in row-major order
WEIGHTS, SCORES, ORDER, FACTS, CLIENT = "weights", "scores", "order", "facts", "client"
MASKS, DIGEST, ARTIFACT, LEFT_OUT = "masks", "masks-sha256", "artifact-sha256", "left-out"
ROUND, WANTS_SCORES = "server-round", "wants-scores"


def to_arrays(packed: Mapping[str, bytes]) -> ArrayRecord:
    """Packed values as a record."""
    return ArrayRecord(
        {
            name: Array(dtype="float32", shape=(len(data) // FLOAT.itemsize,), stype=STYPE, data=data)
            for name, data in packed.items()
        }
    )


def to_packed(content: RecordDict, key: str) -> dict[str, bytes]:
    """The packed values of a record, none where it is missing; raises InputError for another serialisation."""
    if key not in content:
        return {}
    record = content[key]
    if not isinstance(record, ArrayRecord):
        raise InputError(f"{key!r}: is no record of arrays")
    for name, array in record.items():
        if array.stype != STYPE:
            raise InputError(f"{name!r:.80}: is serialised as {array.stype!r:.40}, not as {STYPE}")
    return {str(name): array.data for name, array in record.items()}


def to_plain(content: RecordDict, key: str) -> dict[str, Any]:
    """A configuration or metrics as plain values; raises InputError where they are missing."""
    if key not in content or isinstance(content[key], ArrayRecord):
        raise InputError(f"{key!r}: is missing in the message; both sides need the same version of mest")
    return dict(content[key])


def field(values: Mapping[str, Any], name: str, kind: type) -> Any:
    """A value of a configuration; raises InputError where it is missing or of another type."""
    value = values.get(name)
    if type(value) is not kind:
        raise InputError(f"{name!r}: {value!r:.80} is no {kind.__name__}; both sides need the same version of mest")
    return value


def masks_in(values: Mapping[str, Any]) -> bytes | None:
    """The packed masks that came along, if any."""
    return field(values, MASKS, bytes) if MASKS in values else None


def payload_bytes(content: RecordDict) -> int:
    """Bytes of values, scores and masks in a message; what Flower writes around them comes on top."""
    total = 0
    for record in content.values():
        if isinstance(record, ArrayRecord):
            total += sum(len(array.data) for array in record.values())
        elif isinstance(record, ConfigRecord):
            total += len(record.get(MASKS, b""))
    return total
