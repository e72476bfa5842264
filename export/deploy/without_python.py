"""A bundle for boards without Python: one file of the static program and a compiled plan, which a shell installs."""

from __future__ import annotations

import re
import tarfile
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

from edge.compiled.plan import read_plan
from edge.errors import DamagedError, InputError
from edge.files.digest import sha256
from edge.files.durable import write_durably
from edge.install.bundle import MAX_VERSION
from edge.libmest.targets import TARGETS, build_for
from edge.spelling import named
from export.deploy.install_script import START, install_script, script_lines

BEGINNING = b"#!/bin/sh\n"
MOST_BYTES = 2 << 30
_PROGRAM, _PLAN, _START = "mest-run", "plan.mest", "start"
_MODES = {_PROGRAM: 0o755, _PLAN: 0o644, _START: 0o755}
_REMEDY = "make the bundle again"
# Of an ELF file: 1 for 32-bit and 2 for 64-bit, and the number of the machine.
_ELF = {"linux-x86_64": (2, 62), "linux-aarch64": (2, 183), "linux-armv7": (1, 40)}


@dataclass(frozen=True)
class RunnerBundle:
    """What such a bundle holds; `version` only grows on a board, `expires` is the last day on which one takes it."""

    target: str
    program: bytes
    plan: bytes
    version: int = 1
    expires: str | None = None

    def identity(self) -> str:
        """A SHA-256 of everything but the version and the last day: equal for bundles that do the same."""
        digest = sha256()
        digest.update(f"{self.target}\n".encode())
        digest.update(self._archive())
        return str(digest.hexdigest())

    def encode(self) -> bytes:
        """The bytes of the file, the same for the same content."""
        archive = self._archive()
        digest = sha256()
        digest.update(archive)
        facts = {"VERSION": str(self.version), "IDENTITY": self.identity(), "TARGET": self.target}
        return install_script({**facts, "EXPIRES": self.expires or "", "SHA256": str(digest.hexdigest())}) + archive

    def of_version(self, version: int, expires: str | None) -> RunnerBundle:
        """The same as another version."""
        return replace(self, version=version, expires=expires)

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        write_durably(path, self.encode())

    def _archive(self) -> bytes:
        out = BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            contents = {_PROGRAM: self.program, _PLAN: self.plan, _START: START.encode("ascii")}
            for name, content in contents.items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), _MODES[name]
                archive.addfile(entry, BytesIO(content))
        return out.getvalue()


def make_runner_bundle(plan: Path, target: str, program: Path | None, scratch: Path) -> RunnerBundle:
    """The bundle of a compiled plan for a target, with a program that was built before or is built now.

    Raises InputError for an unknown target or another machine's program, DamagedError for an altered plan.
    """
    if target not in TARGETS:
        raise InputError(f"{named('target')} {target}: a board without Python is one of {', '.join(TARGETS)}")
    read_plan(plan)
    if program is None:
        program = scratch / _PROGRAM
        build_for(target, program)
    try:
        content = program.read_bytes()
    except OSError as error:
        raise InputError(
            f"{named('runner')} {program}: {error.strerror}; give what 'mest runner' wrote for {target}"
        ) from None
    if not _runs_on(content, target):
        raise InputError(
            f"{named('runner')} {program}: is no program for {target}; give what 'mest runner' wrote for that"
        )
    return RunnerBundle(target, content, plan.read_bytes())


def is_runner_bundle(path: Path) -> bool:
    """Whether a file begins as those do that a shell installs."""
    try:
        with path.open("rb") as file:
            return file.read(len(BEGINNING)) == BEGINNING
    except OSError:
        return False


def read_runner_bundle(path: Path) -> RunnerBundle:
    """The bundle in a file; raises DamagedError for whatever `mest bundle` would not have written."""
    if path.stat().st_size > MOST_BYTES:
        raise DamagedError(f"{path}: is larger than a bundle can be; {_REMEDY}")
    content = path.read_bytes()
    lines = content.split(b"\n", script_lines())
    facts = dict(re.findall(rb"^(version|target|expires)=(.*)$", b"\n".join(lines[:-1]), re.MULTILINE))
    found = None
    if len(lines) == script_lines() + 1 and len(facts) == 3:
        found = _decoded(lines[-1], {name.decode(): value.decode("ascii", "replace") for name, value in facts.items()})
    if found is None or found.encode() != content:  # one spelling: the same content cannot have two
        raise DamagedError(f"{path}: is not written as bundles are; it was truncated or altered: {_REMEDY}")
    return found


def next_version(path: Path, bundle: RunnerBundle) -> int:
    """The version of a bundle that takes the place of the one at `path`: the same if it does the same, else the next.

    Raises InputError if something else lies there.
    """
    if not path.exists():
        return 1
    try:
        before = read_runner_bundle(path)
    except (DamagedError, OSError):
        raise InputError(
            f"{named('out')} {path}: is there already and no bundle that could be read; give another"
        ) from None
    return before.version + (before.identity() != bundle.identity())


def _decoded(archive: bytes, facts: dict[str, str]) -> RunnerBundle | None:
    """What an archive holds, if it can be that of a bundle; whoever asks compares all of it."""
    version, expires = facts["version"], facts["expires"]
    if not re.fullmatch(r"[1-9][0-9]{0,9}", version) or int(version) > MAX_VERSION or facts["target"] not in TARGETS:
        return None
    if expires and not re.fullmatch(r"20[0-9]{2}-[01][0-9]-[0-3][0-9]", expires):
        return None
    try:
        with tarfile.open(fileobj=BytesIO(archive), mode="r:") as opened:
            contents = {entry.name: opened.extractfile(entry) for entry in opened.getmembers() if entry.isreg()}
            parts = [None if (file := contents.get(name)) is None else file.read() for name in (_PROGRAM, _PLAN)]
    except (tarfile.TarError, OSError, ValueError, EOFError, OverflowError):
        return None
    program, plan = parts
    if program is None or plan is None or not _runs_on(program, facts["target"]):
        return None
    return RunnerBundle(facts["target"], program, plan, int(version), expires or None)


def _runs_on(program: bytes, target: str) -> bool:
    """Whether a program is an executable file for a target's machine."""
    width, machine = _ELF[target]
    return program[:4] == b"\x7fELF" and program[4:6] == bytes([width, 1]) and program[18:20] == bytes([machine, 0])
