"""A virtual environment made of wheels by the standard library: no pip, no network, no compiler."""

from __future__ import annotations

import compileall
import hashlib
import os
import re
import shutil
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path

from edge.errors import InputError
from edge.files.durable import sync_folder, write_durably
from edge.install.archive import Member
from edge.install.bundle import Bundle
from edge.install.store import Store
from edge.install.wheel import unpack_wheel

_NEVER_IMPORTED = re.compile(r"/tests/")
_WHOLE = "whole"  # written last: an environment without it was cut and is made again


def refuse_other_machine(bundle: Bundle, file: str) -> None:
    """Raise InputError unless the wheels of a bundle run in this very Python."""
    here = (os.uname().machine, library_here(), "{}.{}".format(*sys.version_info[:2]))
    made_for = (bundle.machine, bundle.library, bundle.python)
    if made_for != here:
        raise InputError(
            f"{file}: was made for {made_for[0]} with {made_for[1]} and Python {made_for[2]}, this is {here[0]} with "
            f"{here[1]} and Python {here[2]}; make one for this board"
        )


def library_here() -> str:
    """The C library that this Python was built for: glibc or musl."""
    return "musl" if "musl" in str(sysconfig.get_config_var("SOABI")) else "glibc"


def environment(folder: Path, wheels: Sequence[Member], store: Store) -> Path:
    """The virtual environment that holds these wheels, below `folder`; made unless it is there.

    Environments are known by their wheels, so versions that differ in the artifact alone share one.
    """
    listed = "".join(f"{wheel.name} {wheel.sha256}\n" for wheel in wheels)
    place = folder / hashlib.sha256(listed.encode()).hexdigest()[:16]
    if (place / _WHOLE).is_file():
        return place
    shutil.rmtree(place, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    venv.EnvBuilder(symlinks=True, with_pip=False).create(place)
    site = place / "lib" / "python{}.{}".format(*sys.version_info[:2]) / "site-packages"
    for wheel in wheels:
        unpack_wheel(store.place(wheel.sha256), wheel.nbytes, wheel.name, site)
    # Now, so that no run compiles them within its memory budget.
    compileall.compile_dir(site, quiet=2, rx=_NEVER_IMPORTED)
    os.sync()  # thousands of files at once; then the one that vouches for them
    write_durably(place / _WHOLE, listed.encode())
    sync_folder(folder)
    return place
