"""The one file of a bundle: a zip archive with a single right spelling, so that reading it is comparing it.

A manifest comes first, then the members that it lists, in its order, stored as they are, with no date, no attribute,
no comment and no extra field; then a signature of the manifest, if there is one, and the directory. Whatever differs in
one byte from what `write_archive` would have written for that manifest and those contents is refused: another name, a
link, a second header, a size that lies, bytes between or behind. Any unzip opens it, and Python runs it
(`python3 FILE`), since `__main__.py` is among its members.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import NoReturn
from zlib import crc32

from edge.errors import DamagedError, InputError
from edge.files.digest import sha256
from edge.files.durable import write_all

MANIFEST = "bundle.json"
SIGNATURE = "bundle.json.sig"  # of the manifest; the only member that it does not list
MAX_SIGNATURE_BYTES = 8192
MAX_MANIFEST_BYTES = 4 * 2**20
MAX_MEMBERS = 10_000
MAX_ARCHIVE_BYTES = 2**32 - 1  # what a zip archive without extensions can address
_PIECE_BYTES = 1 << 17
_NO_DATE = 0x21  # 1 January 1980, the first that the format knows
_PLAIN_FILE = 0o100644 << 16


@dataclass(frozen=True)
class Member:
    """A file of a bundle: its name with slashes, its SHA-256 in hexadecimal, its size."""

    name: str
    sha256: str
    nbytes: int


@dataclass(frozen=True)
class Place:
    """Where some bytes lie: a file, and from where in it."""

    path: Path
    offset: int = 0

    def read(self, nbytes: int, start: int = 0) -> Iterator[bytes]:
        """`nbytes` bytes from `start` on, in pieces; raises DamagedError where the file ends before."""
        with open(self.path, "rb", buffering=0) as file:
            file.seek(self.offset + start)
            while nbytes:
                piece = file.read(min(_PIECE_BYTES, nbytes))
                if not piece:
                    raise DamagedError(f"{self.path}: ends too early; it was cut or changed meanwhile")
                nbytes -= len(piece)
                yield piece


def write_archive(
    file: FileIO, manifest: bytes, members: Sequence[tuple[Member, Place]], signature: bytes = b""
) -> None:
    """Write the archive; the same manifest and contents give the same bytes.

    Raises InputError for more than a zip archive holds, DamagedError if a content changed since it was listed.
    """
    names = [MANIFEST, *(member.name for member, _ in members)]
    nbytes = _archive_bytes([len(manifest), *(member.nbytes for member, _ in members)], names)
    if nbytes > MAX_ARCHIVE_BYTES or len(members) > MAX_MEMBERS:
        raise InputError(f"{nbytes} bytes in {len(members)} files are more than a bundle holds (4 GiB, {MAX_MEMBERS})")
    directory = _Directory()
    write_all(file, directory.header(MANIFEST, crc32(manifest), len(manifest)))
    write_all(file, manifest)
    for member, place in members:
        checksum, digest = 0, sha256()
        for piece in place.read(member.nbytes):
            checksum = crc32(piece, checksum)
            digest.update(piece)
        if digest.hexdigest() != member.sha256:
            raise DamagedError(f"{place.path}: changed while it was bundled; start again")
        write_all(file, directory.header(member.name, checksum, member.nbytes))
        for piece in place.read(member.nbytes):
            write_all(file, piece)
    if signature:
        write_all(file, directory.header(SIGNATURE, crc32(signature), len(signature)))
        write_all(file, signature)
    write_all(file, directory.end())


def check_archive(
    path: Path, read_members: Callable[[bytes], Sequence[Member]]
) -> tuple[bytes, bytes, tuple[tuple[Member, Place], ...]]:
    """The manifest of an archive, its signature (or none) and where each member lies, after every byte was looked at.

    `read_members` gives the members that a manifest lists. Nothing is written and nothing is allocated that the file's
    own size does not bear out. Raises DamagedError naming what differs, InputError if there is no such file.
    """
    try:
        file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed below; the message is about opening alone
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({os.strerror(error.errno or 0)}); give a bundle") from None
    with file:
        size = os.fstat(file.fileno()).st_size
        directory = _Directory()
        manifest = _read_manifest(file, path, directory)
        members = read_members(manifest)
        names = [MANIFEST, *(member.name for member in members)]
        listed = _archive_bytes([len(manifest), *(member.nbytes for member in members)], names)
        signature_bytes = size - listed - _archive_bytes([0], [SIGNATURE]) + _END.size
        if listed != size and not 0 < signature_bytes <= MAX_SIGNATURE_BYTES:
            _refuse(path, f"is {size} bytes long, its manifest lists {listed}")
        found = []
        for member in members:
            found.append((member, Place(path, _checked(file, path, directory, member))))
        signature = b"" if listed == size else _read_signature(file, path, directory, signature_bytes)
        end = directory.end()
        if file.read(len(end) + 1) != end:
            _refuse(path, "its directory of members is not the one that belongs to its manifest")
    return manifest, signature, tuple(found)


def _read_manifest(file: FileIO, path: Path, directory: _Directory) -> bytes:
    header = file.read(_LOCAL.size + len(MANIFEST))
    if len(header) < _LOCAL.size + len(MANIFEST) or not header.startswith(b"PK\x03\x04"):
        _refuse(path, "is no bundle")
    checksum, nbytes = _LOCAL.unpack(header[: _LOCAL.size])[6:8]
    if header != directory.header(MANIFEST, checksum, nbytes):
        _refuse(path, f"does not begin with {MANIFEST} as bundles do")
    if nbytes > MAX_MANIFEST_BYTES:
        _refuse(path, f"its manifest would have {nbytes} bytes, of the {MAX_MANIFEST_BYTES} allowed")
    manifest = file.read(nbytes)
    if len(manifest) != nbytes or crc32(manifest) != checksum:
        _refuse(path, "its manifest is cut or altered")
    return manifest


def _read_signature(file: FileIO, path: Path, directory: _Directory, nbytes: int) -> bytes:
    header = file.read(_LOCAL.size + len(SIGNATURE))
    signature = file.read(nbytes)
    if header != directory.header(SIGNATURE, crc32(signature), nbytes):
        _refuse(path, "has something else where a signature would be")
    return signature


def _checked(file: FileIO, path: Path, directory: _Directory, member: Member) -> int:
    """Where the content of the next member begins, once it has been read and compared."""
    header = file.read(_LOCAL.size + len(member.name))
    checksum = _LOCAL.unpack(header[: _LOCAL.size])[6] if len(header) > _LOCAL.size else 0
    if header != directory.header(member.name, checksum, member.nbytes):
        _refuse(path, f"has something else where its manifest lists {member.name}")
    start, actual, digest, rest = file.tell(), 0, sha256(), member.nbytes
    while rest:
        piece = file.read(min(_PIECE_BYTES, rest))
        if not piece:
            _refuse(path, f"ends within {member.name}")
        actual = crc32(piece, actual)
        digest.update(piece)
        rest -= len(piece)
    if digest.hexdigest() != member.sha256 or actual != checksum:
        _refuse(path, f"{member.name} is not what the manifest lists (SHA-256 differs)")
    return start


_LOCAL = struct.Struct("<4s5H3I2H")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")


class _Directory:
    """The headers of an archive, spelled one after another, and the directory that repeats them at its end."""

    def __init__(self) -> None:
        self._entries: list[bytes] = []
        self._offset = 0

    def header(self, name: str, checksum: int, nbytes: int) -> bytes:
        """What stands before the content of the next member."""
        spelled = name.encode("ascii")
        header = _LOCAL.pack(b"PK\x03\x04", 20, 0, 0, 0, _NO_DATE, checksum, nbytes, nbytes, len(spelled), 0)
        sizes = (checksum, nbytes, nbytes, len(spelled), 0, 0, 0, 0, _PLAIN_FILE, self._offset)
        self._entries.append(_ENTRY.pack(b"PK\x01\x02", 3 << 8 | 20, 20, 0, 0, 0, _NO_DATE, *sizes) + spelled)
        self._offset += len(header) + len(spelled) + nbytes
        return header + spelled

    def end(self) -> bytes:
        """What stands behind the content of the last member."""
        entries, count = b"".join(self._entries), len(self._entries)
        return entries + _END.pack(b"PK\x05\x06", 0, 0, count, count, len(entries), self._offset, 0)


def _archive_bytes(sizes: Sequence[int], names: Sequence[str]) -> int:
    spelled = sum(len(name) for name in names)
    return sum(sizes) + 2 * spelled + len(names) * (_LOCAL.size + _ENTRY.size) + _END.size


def _refuse(path: Path, problem: str) -> NoReturn:
    raise DamagedError(f"{path}: {problem}; nothing was written; make the bundle again")
