"""The manifest of a bundle: for which board it is, which version, and the SHA-256 of every other file in it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edge.errors import DamagedError
from edge.files.digest import sha256
from edge.files.fields import Fields, parse_json
from edge.install.archive import MAX_MEMBERS, Member, Place, check_archive
from edge.install.wheel import check_wheel

SCHEMA = "mest-bundle/1"
ARTIFACT, WHEELS, START = "artifact", "wheels", "start"
MAX_VERSION = 2**31 - 1
MACHINES = ("x86_64", "aarch64")
LIBRARIES = ("glibc", "musl")
_REMEDY = "make the bundle again"
# A folder of one of three kinds with a plain name in it, or one of two files; nothing hidden, nothing that leads out.
_PLAIN = r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,180}"
_NAMES = re.compile(
    rf"{START}|__main__\.py|{ARTIFACT}/{_PLAIN}|{WHEELS}/{_PLAIN}\.whl|edge/(?:[a-z_]{{1,40}}/)?[a-z_]{{1,40}}\.py"
)
_PYTHON = re.compile(r"3\.[0-9]{1,2}")
_DATE = re.compile(r"20[0-9]{2}-[01][0-9]-[0-3][0-9]")


@dataclass(frozen=True)
class Bundle:
    """What a bundle says of itself.

    `version` only grows on a board. `machine`, `library` (of C) and `python` say where its wheels run. `expires` is the
    last day (UTC, 2027-01-31) on which a board takes it, None for no end. `mest` is the version of its own wheel.
    """

    version: int
    machine: str
    library: str
    python: str
    mest: str
    members: tuple[Member, ...]
    expires: str | None = None

    def encode(self) -> bytes:
        """The text of bundle.json, the same for the same content."""
        content = {
            "schema": SCHEMA,
            "version": self.version,
            "machine": self.machine,
            "library": self.library,
            "python": self.python,
            "mest": self.mest,
            "expires": self.expires,
            "files": {member.name: {"sha256": member.sha256, "bytes": member.nbytes} for member in self.members},
        }
        return f"{json.dumps(content, indent=1)}\n".encode("ascii")

    def identity(self) -> str:
        """A SHA-256 of everything but the version and the last day: equal for bundles that do the same."""
        digest = sha256()
        digest.update(replace(self, version=0, expires=None).encode())
        return str(digest.hexdigest())

    def inside(self, folder: str) -> tuple[Member, ...]:
        """The members in one of its folders."""
        return tuple(member for member in self.members if member.name.startswith(f"{folder}/"))

    def refuse_expired(self, file: str) -> None:
        """Raise DamagedError if its last day is over, by the clock of this machine."""
        today = time.strftime("%Y-%m-%d", time.gmtime())
        if self.expires is not None and today > self.expires:
            raise DamagedError(
                f"{file}: was to be installed until {self.expires}, and the clock says {today}; make a new bundle, or "
                "set the clock of this machine"
            )


def decode(text: bytes, file: str) -> Bundle:
    """The manifest that `encode` wrote; raises DamagedError naming the field that is wrong."""
    source = Fields(parse_json(text, file, _REMEDY), file, "the manifest", _REMEDY)
    schema = source.text("schema")
    if schema != SCHEMA:
        source.fail(f"schema {schema!r} is not {SCHEMA!r}, which this version of mest reads")
    bundle = Bundle(
        version=source.integer("version", 1, MAX_VERSION),
        machine=source.choice("machine", MACHINES),
        library=source.choice("library", LIBRARIES),
        python=_matching(source, "python", _PYTHON),
        mest=source.text("mest"),
        expires=_matching(source, "expires", _DATE) if source.has("expires") else None,
        members=_members(source),
    )
    source.done()
    if bundle.encode() != text:  # one spelling: the same content cannot have two
        source.fail("is not written as bundles are")
    return bundle


def _matching(source: Fields, key: str, pattern: re.Pattern[str]) -> str:
    value = source.text(key)
    if not pattern.fullmatch(value):
        source.fail(f"{key!r} cannot be {value!r:.40}")
    return value


def _members(source: Fields) -> tuple[Member, ...]:
    members = []
    for name, facts in source.objects("files").items():
        if not _NAMES.fullmatch(name):
            source.fail(f"{name!r:.80} cannot be the name of a file of a bundle")
        digest = facts.text("sha256")
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            facts.fail(f"{digest!r:.40} is not a SHA-256")
        members.append(Member(name, digest, facts.integer("bytes")))
        facts.done()
    names = {member.name for member in members}
    missing = [name for name in (START, "__main__.py", f"{ARTIFACT}/manifest.json") if name not in names]
    if missing:
        source.fail(f"{missing[0]!r} is not among the files")
    if len(members) > MAX_MEMBERS:
        source.fail(f"{len(members)} files are more than a bundle has ({MAX_MEMBERS})")
    return tuple(members)


@dataclass(frozen=True)
class Opened:
    """A bundle that was checked: its manifest, where its members lie by name, and a signature that was not."""

    bundle: Bundle
    places: Mapping[str, Place]
    signature: bytes


def open_bundle(path: Path) -> Opened:
    """A bundle after all of it was compared with its manifest, its wheels looked through too.

    Raises DamagedError, with nothing written anywhere, for whatever `mest bundle` would not have written.
    """
    text, signature, found = check_archive(path, lambda text: decode(text, str(path)).members)
    for member, place in found:
        if member.name.startswith(f"{WHEELS}/"):
            check_wheel(place, member.nbytes, f"{path}: {member.name}")
    return Opened(decode(text, str(path)), {member.name: place for member, place in found}, signature)
