"""Wheels that stand for the real ones where a board is this machine: they lead to the packages that are here.

The one of mest holds a single line by which Python finds this checkout and the packages of this environment, so that a
bundle made of them installs in moments and runs the code under test.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

from mest.version import __version__

ROOT = Path(__file__).parents[2]
PYTHON = "{}.{}".format(*sys.version_info[:2])


def write_wheels(folder: Path) -> Path:
    """The folder, with a wheel of mest for this machine and one of each package that it needs."""
    folder.mkdir(parents=True)
    places = f"{ROOT}\n{sysconfig.get_path('platlib')}\n{sysconfig.get_path('purelib')}\n"
    tag = f"manylinux_2_28_{os.uname().machine}"
    _write(folder, "mest", __version__, f"py3-none-{tag}", {"mest_here.pth": places})
    for name in ("numpy", "pillow", "tqdm"):
        _write(folder, name, "99", "py3-none-any", {})
    return folder


def _write(folder: Path, name: str, version: str, tag: str, files: dict[str, str]) -> None:
    about = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n",
        "RECORD": "",
    }
    with ZipFile(folder / f"{name}-{version}-{tag}.whl", "w") as archive:
        for file, text in {
            **files,
            **{f"{name}-{version}.dist-info/{key}": text for key, text in about.items()},
        }.items():
            archive.writestr(file, text)
