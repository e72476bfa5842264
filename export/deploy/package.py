"""What goes onto a board, before it is a file: the members of a bundle and where their contents lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edge.errors import DamagedError
from edge.files.digest import file_sha256
from edge.files.durable import replaced
from edge.handover.manifest import MANIFEST, read_manifest
from edge.install.archive import Member, Place, write_archive
from edge.install.bundle import ARTIFACT, START, WHEELS, Bundle, decode, open_bundle
from edge.install.signature import sign
from edge.spelling import named
from export.deploy.program import program
from export.deploy.targets import Target
from export.deploy.wheels import gather_wheels
from mest.errors import InputError
from mest.version import __version__

_START = """#!/bin/sh
# A command of mest on the artifact of this version: start COMMAND [OPTIONS], for example: start verify
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd -P) || exit 2
[ $# -gt 0 ] || set -- --help
command=$1
shift
case $command in
-* | board) exec "$here/environment/bin/python" -I -m mest "$command" "$@" ;;
*) exec "$here/environment/bin/python" -I -m mest "$command" "$here/artifact" "$@" ;;
esac
"""


@dataclass(frozen=True)
class Package:
    """A bundle's manifest and where each of its members lies, by name."""

    bundle: Bundle
    places: Mapping[str, Place]
    signature: bytes = b""

    def of_version(self, version: int, expires: str | None = None) -> Package:
        """The same as another version."""
        return replace(self, bundle=replace(self.bundle, version=version, expires=expires), signature=b"")

    def signed(self, key: Path) -> Package:
        """The same with a signature of its manifest by an OpenSSH key."""
        return replace(self, signature=sign(self.bundle.encode(), key))

    def write(self, path: Path) -> None:
        """Write the bundle, whole or not at all; the same package gives the same bytes."""
        with replaced(path) as file:
            members = [(member, self.places[member.name]) for member in self.bundle.members]
            write_archive(file, self.bundle.encode(), members, self.signature)


def read_package(path: Path) -> Package:
    """The package in a file that `mest bundle` wrote; raises DamagedError for whatever it would not have written."""
    opened = open_bundle(path)
    return Package(opened.bundle, opened.places, opened.signature)


def make_package(artifact: Path, target: Target, python: str, wheels: Path | None, scratch: Path) -> Package:
    """The package of an artifact for a kind of board, still of version 1; what it needs is made in `scratch`."""
    files = _artifact_files(artifact)
    for wheel in gather_wheels(target, python, wheels, scratch / WHEELS):
        files[f"{WHEELS}/{wheel.name}"] = wheel
    made = {START: _START.encode(), **program("main")}
    for name, content in made.items():
        path = scratch / "made" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        files[name] = path
    members = tuple(
        Member(name, file_sha256(path), path.stat().st_size) for name, path in sorted(files.items(), key=_program_first)
    )
    bundle = Bundle(1, target.machine, target.library, python, __version__, members)
    _refuse_unreadable(bundle)
    return Package(bundle, {name: Place(path) for name, path in files.items()})


def next_version(path: Path, package: Package) -> int:
    """The version of a bundle that takes the place of the one at `path`: the same if it does the same, else the next.

    Raises InputError if something else lies there.
    """
    if not path.exists():
        return 1
    try:
        before = open_bundle(path).bundle
    except DamagedError:
        raise InputError(
            f"{named('out')} {path}: is there already and no bundle that could be read; give another"
        ) from None
    return before.version + (before.identity() != package.bundle.identity())


def _artifact_files(artifact: Path) -> dict[str, Path]:
    """The files of an artifact by their names in a bundle, after they were checked."""
    if not (artifact / MANIFEST).is_file():
        raise InputError(f"{artifact}: is not an artifact; give the directory that 'mest export' wrote")
    names = (MANIFEST, *read_manifest(artifact).files)
    return {f"{ARTIFACT}/{name}": artifact / name for name in names}


def _program_first(item: tuple[str, Path]) -> tuple[bool, str]:
    return "/" in item[0] and not item[0].startswith("edge/"), item[0]


def _refuse_unreadable(bundle: Bundle) -> None:
    """Raise InputError where the manifest could not be read again, for a name that bundles do not have."""
    try:
        decode(bundle.encode(), "the bundle")
    except DamagedError as error:
        raise InputError(f"this cannot be bundled: {error}") from None
