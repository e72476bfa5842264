"""Builds the native library into the package; without a compiler the install succeeds and says what is missing.

Cross-build the wheel for 64-bit ARM Linux with the compiler that PyPI's `ziglang` packages:

    pip install ziglang "setuptools>=77.0.3"
    MEST_CC="python -m ziglang cc -target aarch64-linux-gnu.2.28" pip wheel --no-build-isolation --no-deps -w dist .

The library holds no Python code, so one wheel serves every Python: its tag is `py3-none-PLATFORM`. A target that names
the oldest glibc (`x86_64-linux-gnu.2.28` likewise) gives a `manylinux` tag, one with musl (`aarch64-linux-musl`) a
`musllinux` tag; otherwise the library fits this machine. For 32-bit systems name `arm-linux-gnueabihf.2.28` or
`x86-linux-gnu.2.28`. Android's C library is not in that package, so no wheel can be built for Termux.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

from setuptools import Command, Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
TWINS = shutil.ignore_patterns("*.pkl", "*.pkl.json")  # a ranking's .npz holds the same


def builder() -> ModuleType:
    """edge/libmest/build.py, loaded alone: the package itself would need numpy."""
    spec = importlib.util.spec_from_file_location("mest_native_build", HERE / "edge" / "libmest" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def target_platform(build: ModuleType) -> str | None:
    """The platform tag that the compiler's target asks for; None if it builds for this very system."""
    command = build.compiler()
    machine = build.machine_of(command)
    glibc = re.search(r"-linux-gnu(?:eabihf)?\.(\d+)\.(\d+)", " ".join(command))
    if glibc and machine != "other":
        return f"manylinux_{glibc[1]}_{glibc[2]}_{machine}"
    if "-linux-musl" in " ".join(command) and machine != "other":
        return f"musllinux_1_2_{machine}"
    here = {"arm64": "aarch64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
    return None if machine in ("other", here) else f"linux_{machine}"


class BuildNative(Command):
    """Compile the native library beside its Python files, or into `--build-lib`."""

    description = "build the native library"
    user_options = [("build-lib=", None, "folder to build into; default: in place")]  # noqa: RUF012

    def initialize_options(self) -> None:
        self.build_lib = None

    def finalize_options(self) -> None:
        pass

    def run(self) -> None:
        build = builder()
        target = Path(self.build_lib or HERE) / "edge" / "libmest" / build.LIBRARY_NAME
        try:
            machine = build.build(target)
        except build.BuildError as error:
            if os.environ.get("MEST_CC"):  # a compiler that was asked for by name must not be left out silently
                raise SystemExit(f"mest: MEST_CC: {error}") from error
            print(f"mest: the native engine is left out: {error}", file=sys.stderr)
            target.unlink(missing_ok=True)
        else:
            print(f"mest: built {target} for {machine}")


class BuildPy(build_py):
    """Python files, the profiles and rankings that the package resolves by path, then the library."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for folder in ("profiles", "pkl"):
                target = Path(self.build_lib) / "mest" / "_packaged" / folder
                shutil.copytree(HERE / folder, target, ignore=TWINS, dirs_exist_ok=True)
        command = self.get_finalized_command("build_native")
        command.build_lib = None if self.editable_mode else self.build_lib
        command.run()


class Wheel(bdist_wheel):
    """A wheel for any Python 3 on the platform that the library was built for."""

    def finalize_options(self) -> None:
        build = builder()
        try:
            if self.plat_name is None:
                self.plat_name = target_platform(build)
            self.native = True
        except build.BuildError:
            self.native = False
        super().finalize_options()
        self.root_is_pure = not self.native

    def get_tag(self) -> tuple[str, str, str]:
        return ("py3", "none", super().get_tag()[2] if self.native else "any")


class Platform(Distribution):
    """A distribution that lies in the platform's folder when it holds the library."""

    def has_ext_modules(self) -> bool:
        try:
            builder().compiler()
        except Exception:
            return False
        return True


setup(cmdclass={"build_native": BuildNative, "build_py": BuildPy, "bdist_wheel": Wheel}, distclass=Platform)
