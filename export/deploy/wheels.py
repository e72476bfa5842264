"""The wheels of a target: our own, cross-built with the packaged compiler, and those that it depends on, by pip."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from edge.spelling import named
from export.deploy.targets import Target
from mest.errors import InputError
from mest.version import __version__

ROOT = Path(__file__).resolve().parents[2]
_SOURCES = (
    "mest",
    "edge",
    "export",
    "profiles",
    "pkl",
    "setup.py",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "MANIFEST.in",
)
_EPOCH = (
    "315532800"  # 1 January 1980: the date of every file in the wheel, so that the same sources give the same bytes
)


def gather_wheels(target: Target, python: str, given: Path | None, folder: Path) -> list[Path]:
    """Every wheel that a board of this kind with this Python needs, in `folder`, sorted by name.

    From the folder `given` alone, or downloaded for the target's platform tags; ours is built from this checkout
    where it is not in `given`. Raises InputError saying which is missing and what to do.
    """
    if given is not None and not given.is_dir():
        raise InputError(f"{named('wheels')} {given}: no such folder; give one with the wheels of {target.name}")
    folder.mkdir(parents=True, exist_ok=True)
    own = own_wheel(target)
    if given is not None and (given / own).is_file():
        shutil.copyfile(given / own, folder / own)
    else:
        build_wheel(target, folder)
    _download(target, python, given, folder)
    return sorted(folder.glob("*.whl"))


def own_wheel(target: Target) -> str:
    """The name of mest's own wheel for a target."""
    return f"mest-{__version__}-py3-none-{target.wheel_platform}.whl"


def build_wheel(target: Target, folder: Path) -> Path:
    """Our own wheel for the target in `folder`, cross-built from a copy of the checkout.

    Raises InputError where there are no sources or no compiler for it, and with what the build said where it fails.
    """
    own = own_wheel(target)
    give = f"put {own} into a folder and give it as {named('wheels')}"
    if not (ROOT / "setup.py").is_file():
        raise InputError(f"this mest has no sources to build a wheel for {target.name} from; {give}")
    if importlib.util.find_spec("ziglang") is None:
        raise InputError(f"no compiler for {target.name}; pip install ziglang, or {give}")
    copy = folder / "sources"
    ignored = shutil.ignore_patterns("__pycache__", "*.so", "*.pyc")
    for name in _SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=ignored)
        else:
            shutil.copyfile(ROOT / name, copy / name)
    around = {name: value for name, value in os.environ.items() if not name.startswith("MEST_")}
    compiler = f"{sys.executable} -m ziglang cc -target {target.compiler}"
    words = ["wheel", "--no-build-isolation", "--no-deps", "--no-index", "-w", str(folder), str(copy)]
    _pip(words, {**around, "MEST_CC": compiler, "SOURCE_DATE_EPOCH": _EPOCH}, f"the wheel of mest for {target.name}")
    shutil.rmtree(copy)
    if not (folder / own).is_file():
        raise InputError(f"the build for {target.name} gave {', '.join(p.name for p in folder.iterdir())}, not {own}")
    return folder / own


def _download(target: Target, python: str, given: Path | None, folder: Path) -> None:
    """What our wheel depends on, chosen by pip among what runs on the target."""
    words = ["download", "--only-binary=:all:", "--implementation", "cp", "--python-version", python, "-d", str(folder)]
    words += ["--abi", f"cp{python.replace('.', '')}", "--abi", "abi3", "--abi", "none"]
    words += [word for platform in target.platforms for word in ("--platform", platform)]
    if given is not None:
        words += ["--no-index", "--find-links", str(given)]
    what = f"wheels for {target.name} and Python {python}" + (f" in {given}" if given is not None else "")
    _pip([*words, *_needed()], dict(os.environ), what)


def _needed() -> list[str]:
    """What the base install of mest needs."""
    try:
        listed = requires("mest") or []
    except PackageNotFoundError:
        text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        found = re.search(r"^dependencies = \[(.*)\]$", text, re.MULTILINE)
        listed = re.findall(r'"([^"]+)"', found[1]) if found else []
    return [requirement for requirement in listed if "extra ==" not in requirement]


def _pip(words: list[str], around: dict[str, str], what: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *words]
    done = subprocess.run(command, env=around, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        said = [line for line in done.stderr.strip().splitlines() if line.startswith(("ERROR", "mest:", "error"))]
        said = said or done.stderr.strip().splitlines() or ["pip said nothing"]
        raise InputError(
            f"{what}: {said[-1].removeprefix('ERROR: ')}; put it into a folder and give it as {named('wheels')}"
        )
