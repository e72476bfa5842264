"""The kinds of board that a bundle can be made for: how our wheel is built for them, and which wheels run there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge.spelling import named
from mest.errors import InputError


@dataclass(frozen=True)
class Target:
    """One kind of board.

    `compiler` is the target as the packaged compiler names it; `platforms` are the tags of wheels, best first.
    """

    name: str
    machine: str
    library: str
    compiler: str
    platforms: tuple[str, ...]

    @property
    def wheel_platform(self) -> str:
        """The platform tag of our own wheel."""
        return self.platforms[0]


def _glibc(machine: str) -> Target:
    tags = (f"manylinux_2_28_{machine}", f"manylinux_2_27_{machine}", f"manylinux_2_17_{machine}")
    return Target(
        f"linux-{machine}", machine, "glibc", f"{machine}-linux-gnu.2.28", (*tags, f"manylinux2014_{machine}")
    )


def _musl(machine: str) -> Target:
    tags = (f"musllinux_1_2_{machine}", f"musllinux_1_1_{machine}")
    return Target(f"musl-{machine}", machine, "musl", f"{machine}-linux-musl", tags)


TARGETS: Mapping[str, Target] = {
    target.name: target for machine in ("x86_64", "aarch64") for target in (_glibc(machine), _musl(machine))
}


# Kinds of board that no bundle can be made for, and what to do instead.
REFUSED: Mapping[str, str] = {
    "android-aarch64": "the packaged compiler lacks Android's C library, and PyPI has no numpy for it; in Termux, "
    "install clang, python-numpy and python-pillow by pkg and build mest from its source distribution",
    **dict.fromkeys(
        ("linux-armv7l", "linux-i686"),
        "PyPI has no numpy for 32-bit boards; install the system's (python3-numpy, python3-pil, python3-tqdm) and our "
        "wheel, which cross-builds, or build mest there from its source distribution",
    ),
}


def target_named(name: str) -> Target:
    """The target of a name; raises InputError, with the reason, for one that there are no bundles for."""
    if name in REFUSED:
        raise InputError(f"{named('target')} {name}: {REFUSED[name]}")
    if name not in TARGETS:
        raise InputError(f"{named('target')} {name}: no such kind of board; allowed are {', '.join(TARGETS)}")
    return TARGETS[name]


def target_of(machine: str, library: str, bits: int) -> Target:
    """The target that a board is; raises InputError, saying why, for one that there are no wheels for."""
    for target in TARGETS.values():
        if (target.machine, target.library, 64) == (machine, library, bits):
            return target
    raise InputError(
        f"its Python is a {bits}-bit one for {machine} with {library}, for which numpy has no wheels; allowed are "
        f"64-bit Pythons of {', '.join(TARGETS)}; elsewhere mest is installed beside the system's own numpy"
    )
