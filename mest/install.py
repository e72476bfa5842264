"""What to type when an optional package is missing, wherever this mest came from.

Nobody vouches for what a package index holds under our name, so no advice installs `mest` from there.
"""

from __future__ import annotations

import re
import shlex
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def how_to_install(extra: str) -> str:
    """The command that brings the packages of `extra`: by the checkout that runs, else by the packages' own names."""
    if (ROOT / "pyproject.toml").is_file():
        return f"pip install -e {shlex.quote(f'{ROOT}[{extra}]')}"
    try:
        wanted = _packages(extra, requires("mest") or [])
    except PackageNotFoundError:
        wanted = []
    if not wanted:
        return f"README.md, 'Installing', says what the extra '{extra}' holds"
    return f"pip install {' '.join(shlex.quote(package) for package in wanted)}"


def _packages(extra: str, requirements: list[str]) -> list[str]:
    """The packages of an extra, those of the extras that it includes in their place."""
    found = []
    for requirement in requirements:
        package, _, marker = requirement.partition(";")
        if re.search(rf"extra == ['\"]{re.escape(extra)}['\"]", marker):
            included = re.fullmatch(r"mest\[(.+)\]", package.strip())
            if included is None:
                found.append(package.strip())
            else:
                for name in included[1].split(","):
                    found += _packages(name.strip(), requirements)
    return found
