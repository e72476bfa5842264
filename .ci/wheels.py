"""Wheels of mest for every kind of board, cross-built from this checkout: each asks for no more than its tag promises.

usage: wheels.py WORK     needs ziglang and auditwheel, which looks at those for glibc

auditwheel follows what a library needs on the machine that it runs on, so those for musl are read here: such a library
may need the libc of musl and nothing else, in no version.
"""

from __future__ import annotations

import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

from export.deploy.targets import TARGETS, Target
from export.deploy.wheels import build_wheel

MACHINES = {"x86_64": "EM_X86_64", "aarch64": "EM_AARCH64"}


def library_in(wheel: Path) -> ELFFile:
    """The one shared library of a wheel."""
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".so"))
        return ELFFile(BytesIO(archive.read(name)))


def needed(library: ELFFile) -> set[str]:
    """The libraries that it names, each with a version where it asks for one: "libc.so.6 GLIBC_2.17"."""
    dynamic = next(section for section in library.iter_sections() if isinstance(section, DynamicSection))
    found = {tag.needed for tag in dynamic.iter_tags("DT_NEEDED")}
    for section in library.iter_sections():
        if isinstance(section, GNUVerNeedSection):
            found |= {f"{file.name} {one.name}" for file, versions in section.iter_versions() for one in versions}
    return found


def refuse_more(target: Target, wheel: Path) -> str:
    """What the wheel asks for, in a line; ends this program where that is more than its tag allows."""
    library = library_in(wheel)
    asked = needed(library)
    if library["e_machine"] != MACHINES[target.machine]:
        sys.exit(f"{wheel.name}: holds a library for {library['e_machine']}")
    if target.library == "musl":
        if asked != {"libc.so"}:
            sys.exit(f"{wheel.name}: needs {sorted(asked)}, of musl there is libc.so alone")
        return "libc.so"
    shown = subprocess.run(
        [sys.executable, "-m", "auditwheel", "show", wheel], capture_output=True, text=True, check=True
    ).stdout
    allowed = re.search(rf'"manylinux_2_(\d+)_{target.machine}"', shown)
    promised = re.search(r"manylinux_2_(\d+)_", wheel.name)
    assert promised is not None
    if allowed is None or int(allowed[1]) > int(promised[1]):
        sys.exit(f"{wheel.name}: {shown}")
    return f"manylinux_2_{allowed[1]} by auditwheel"


def main() -> None:
    """Build and look at each."""
    for target in TARGETS.values():
        wheel = build_wheel(target, Path(sys.argv[1]) / target.name)
        print(f"{wheel.name}: {refuse_more(target, wheel)}", flush=True)


if __name__ == "__main__":
    main()
