"""What goes to a board: the contents that it lacks, each from where it was cut."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from zipfile import ZipFile

from edge.install.archive import Member, Place


def arrived(member: Member, content: Mapping[str, int]) -> int:
    """How many bytes of a content that was cut lie on a board that has `content`, bytes by digest."""
    return min(int(content.get(f"{member.sha256}.part", 0)), member.nbytes)


def fed(needed: Sequence[tuple[Member, Place]], content: Mapping[str, int]) -> Iterator[bytes]:
    """The contents as `receive` takes them, each from where it was cut."""
    for member, place in needed:
        offset = arrived(member, content)
        yield json.dumps([member.name, member.sha256, member.nbytes, offset]).encode() + b"\n"
        yield from place.read(member.nbytes - offset, offset)


def unpacked_bytes(place: Place, nbytes: int) -> int:
    """How many bytes a wheel holds once it is unpacked."""
    with ZipFile(BytesIO(b"".join(place.read(nbytes)))) as archive:
        return sum(info.file_size for info in archive.infolist())
