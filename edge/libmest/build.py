"""Builds the native library with any gcc or clang: `python -m edge.libmest.build`, or setup.py on installation.

`python -m edge.libmest.build FILE` builds the program `mest-run` instead, statically, or over the library that is named
after it.

`MEST_CC` (else `CC`, else the first of cc, gcc, clang) names the compiler, with options if need be; a cross-compiler
decides the target: `MEST_CC="python -m ziglang cc -target aarch64-linux-gnu.2.28"`. `MEST_CFLAGS` adds options,
`MEST_ONLY_SETS="avx2 scalar"` leaves other instruction sets out, for builds that are only tested.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIBRARY_NAME = "libmest.so"
# What does not depend on the instruction set, with options of its own: what numpy does as well rounds as numpy does.
SOURCES = {"engine.c": (), "check.c": (), "threads.c": (), "weight.c": (), "mutation.c": ("-ffp-contract=off",)}
CORE = "library"  # the folder of what runs a compiled plan, behind include/libmest.h
RUNNER = "runner"  # the folder of the program's own sources

# gcc and clang alike. Contraction gives fused multiply-adds; nothing here depends on errno or on trapping.
FLAGS = ("-std=gnu11", "-O3", "-fPIC", "-pthread", "-Wall", "-Wextra", "-fvisibility=hidden", "-ffp-contract=fast")
FLAGS_MATH = ("-fno-math-errno", "-fno-trapping-math", "-fno-stack-protector")
# Of a static program: nothing there throws, and nobody looks at its stack.
SMALL = ("-fno-asynchronous-unwind-tables", "-fno-unwind-tables")
# 64 KiB pages and smaller ones: boards with 16 KiB pages load it too.
LINK = ("-shared", "-pthread", "-lm", "-Wl,-z,max-page-size=65536")
# Of the program itself: numpy rounds after every operation, and so must what stands in for it.
FLAGS_RUNNER = ("-std=gnu11", "-O2", "-fPIC", "-pthread", "-Wall", "-Wextra", "-ffp-contract=off", "-fno-math-errno")
LINK_RUNNER = ("-static", "-pthread", "-lm", "-Wl,-z,max-page-size=65536", "-Wl,--gc-sections")

# Of the WebAssembly module: one thread, and no files of its own, so what needs a system's is another file's.
WEB = HERE / "web"  # mest.js and what else is in its package
OF_SYSTEMS = {"paths.c", "collect.c", "files.c", "memory.c"}
OF_PICTURES = {"picture.c", "decode.c", "exif.c", "resize.c"}  # which a browser decodes itself
FLAGS_WEB = ("-std=gnu11", "-msimd128", "-Wall", "-Wextra", "-fno-math-errno", "-g0", "-fvisibility=hidden")
FLAGS_WEB_ENGINE = ("-O2", "-ffp-contract=fast", "-fno-trapping-math", "-fno-stack-protector")
LINK_WEB = ("-mexec-model=reactor", "-Wl,-z,stack-size=131072", "-Wl,--gc-sections", "-s")

AVX512 = ("-mavx512f", "-mavx512vl", "-mavx512bw", "-mavx512dq", "-mavx2", "-mfma", "-mprefer-vector-width=512")
# Instruction sets by machine: name, floats in a vector, compiler options. Best first, the plain reference last.
SETS: dict[str, tuple[tuple[str, int, tuple[str, ...]], ...]] = {
    "x86_64": (("avx512", 16, AVX512), ("avx2", 8, ("-mavx2", "-mfma")), ("sse2", 4, ()), ("scalar", 1, ())),
    "aarch64": (("neon", 4, ()), ("scalar", 1, ())),
    "other": (("portable", 4, ()), ("scalar", 1, ())),
}


# Machines by the macros that compilers define for them; those without sets of their own have what fits any.
MACHINES = {
    "x86_64": {"__x86_64__"},
    "aarch64": {"__aarch64__"},
    "i686": {"__i386__"},
    "armv7l": {"__ARM_ARCH_7A__", "__ARM_PCS_VFP"},
}


class BuildError(Exception):
    """The library cannot be built: one line that says what is missing."""


def compiler() -> list[str]:
    """The compiler's command; raises BuildError if there is none."""
    named = os.environ.get("MEST_CC") or os.environ.get("CC")
    if named:
        return shlex.split(named)
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    raise BuildError("no C compiler: install gcc or clang, or set MEST_CC, and run python -m edge.libmest.build")


def machine_of(command: Sequence[str]) -> str:
    """What the compiler makes code for, asked of its predefined macros: one of MACHINES, or `other`."""
    done = _run([*command, "-dM", "-E", "-x", "c", os.devnull])
    defined = {line.split()[1] for line in done.splitlines() if line.startswith("#define ")}
    return next((name for name, macros in MACHINES.items() if macros <= defined), "other")


def build(target: Path, extra: Sequence[str] = ()) -> str:
    """Compile and link the library to `target`; the machine it is for. Raises BuildError with the compiler's words."""
    command = compiler()
    flags, strip = _flags(extra)
    with tempfile.TemporaryDirectory(prefix="mest-build-") as folder:
        machine, objects = _library_objects(command, flags, Path(folder))
        linked = Path(folder) / LIBRARY_NAME
        _run([*command, *flags, *objects, *LINK, *strip, "-o", str(linked)])
        _put(linked, target)
    return machine


def build_runner(target: Path, library: Path | None = None, command: Sequence[str] = ()) -> None:
    """Compile and link the program `mest-run`, statically; or over a library that is there, for tests on this machine.

    `command` is the compiler, else the one that the library is built with. Raises BuildError with the compiler's words.
    """
    command = command or compiler()
    flags, strip = _flags(())
    with tempfile.TemporaryDirectory(prefix="mest-build-") as folder:
        own = [*FLAGS_RUNNER, *shlex.split(os.environ.get("MEST_CFLAGS", ""))]
        if library is None:
            own += SMALL
            link = [*_library_objects(command, [*flags, *SMALL], Path(folder), chosen=True)[1], *LINK_RUNNER]
        else:
            link = [str(library), f"-Wl,-rpath,{library.parent}", "-pthread", "-lm"]
        sources = [str(path) for room in (CORE, RUNNER) for path in sorted((HERE / "src" / room).glob("*.c"))]
        linked = Path(folder) / "mest-run"
        _run([*command, *own, *sources, *link, *strip, "-o", str(linked)])
        _put(linked, target)
        target.chmod(0o755)


def build_for_apps(folder: Path, command: Sequence[str], archiver: Sequence[str]) -> list[Path]:
    """Write libmest.a, libmest.so and libmest.h to a folder; the files. Raises BuildError with the compiler's words."""
    flags, strip = _flags(())
    command = [*command, "-g0"]  # zig describes every object to debuggers unless told otherwise
    with tempfile.TemporaryDirectory(prefix="mest-build-") as made:
        work = Path(made)
        objects = _library_objects(command, flags, work)[1]
        for source in sorted((HERE / "src" / CORE).glob("*.c")):
            out = str(work / f"{CORE}-{source.stem}.o")
            _run([*command, *FLAGS_RUNNER, "-fvisibility=hidden", "-c", str(source), "-o", out])
            objects.append(out)
        _run([*archiver, "rcs", str(work / "libmest.a"), *objects])
        # An app that asks for the library finds it by this name beside its other ones.
        _run([*command, *objects, *LINK, *strip, "-Wl,-soname,libmest.so", "-o", str(work / "libmest.so")])
        built = [work / "libmest.a", work / "libmest.so", HERE / "include" / "libmest.h"]
        for file in built:
            _put(file, folder / file.name)
    return [folder / file.name for file in built]


def build_module(folder: Path, command: Sequence[str]) -> list[Path]:
    """Write the library as WebAssembly, mest.wasm, and mest.js over it to a folder; the files. Raises BuildError."""
    engine = [source for source in SOURCES if source != "threads.c"]
    without = OF_SYSTEMS | OF_PICTURES
    core = [source for source in sorted((HERE / "src" / CORE).glob("*.c")) if source.name not in without]
    command = [*command, *FLAGS_WEB]
    with tempfile.TemporaryDirectory(prefix="mest-build-") as made:
        work, objects = Path(made), []
        sets = ["-DMEST_SETS=X(portable)"]
        units = [(HERE / "src" / "isa.c", [*FLAGS_WEB_ENGINE, "-DMEST_ISA=portable", "-DMEST_VL=4"])]
        units += [(HERE / "src" / name, [*FLAGS_WEB_ENGINE, "-Oz", *SOURCES[name], *sets]) for name in engine]
        units += [(source, ["-Oz", "-ffp-contract=off"]) for source in [*core, HERE / "src" / "web" / "web.c"]]
        for source, options in units:
            objects.append(str(work / f"{source.parent.name}-{source.stem}.o"))
            _run([*command, *options, "-c", str(source), "-o", objects[-1]])
        _run([*command, *LINK_WEB, *objects, "-o", str(work / "mest.wasm")])
        built = [work / "mest.wasm", *sorted(path for path in WEB.iterdir() if path.is_file())]
        for file in built:
            _put(file, folder / file.name)
    return [folder / file.name for file in built]


def build_core(target: Path, library: Path) -> None:
    """Compile and link what lies behind include/libmest.h to a shared library over the engine's, for tests here.

    Raises BuildError with the compiler's words.
    """
    with tempfile.TemporaryDirectory(prefix="mest-build-") as folder:
        flags = [*FLAGS_RUNNER, "-fvisibility=hidden", *shlex.split(os.environ.get("MEST_CFLAGS", ""))]
        sources = [str(path) for path in sorted((HERE / "src" / CORE).glob("*.c"))]
        link = ["-shared", str(library), f"-Wl,-rpath,{library.parent}", "-lm"]
        linked = Path(folder) / target.name
        _run([*compiler(), *flags, *sources, *link, "-o", str(linked)])
        _put(linked, target)


def _flags(extra: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Compiler options of the library, and how it is stripped: names of inner functions are of no use on a board."""
    flags = [*FLAGS, *FLAGS_MATH, *shlex.split(os.environ.get("MEST_CFLAGS", "")), *extra]
    debugging = any(flag.startswith(("-g", "-fsanitize")) for flag in flags)
    return flags, () if debugging else ("-s",)


def _library_objects(
    command: Sequence[str], flags: Sequence[str], folder: Path, chosen: bool = False
) -> tuple[str, list[str]]:
    """The machine that the compiler is for, and the library's object files in a folder.

    `chosen`: of the sets that the engine would choose alone. Every machine has a better one than the plain reference,
    which comes last.
    """
    machine = machine_of(command)
    only = os.environ.get("MEST_ONLY_SETS", "").split()
    known = SETS.get(machine, SETS["other"])[: -1 if chosen and not only else None]
    sets = tuple(row for row in known if not only or row[0] in only)
    if not sets:
        raise BuildError(f"MEST_ONLY_SETS names no set of {machine}: {', '.join(row[0] for row in known)}")
    source, objects = HERE / "src", []
    for name, lanes, options in sets:
        out = str(folder / f"{name}.o")
        unit = [*flags, *options, f"-DMEST_ISA={name}", f"-DMEST_VL={lanes}"]
        _run([*command, *unit, "-c", str(source / "isa.c"), "-o", out])
        objects.append(out)
    listed = " ".join(f"X({name})" for name, _, _ in sets)
    for file, own in SOURCES.items():
        out = str(folder / f"{Path(file).stem}.o")
        _run([*command, *flags, *own, f"-DMEST_SETS={listed}", "-c", str(source / file), "-o", out])
        objects.append(out)
    return machine, objects


def _put(built: Path, target: Path) -> None:
    """Replace a file by what was built; a process that has the old one mapped keeps it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(target.name + ".new")
    shutil.copyfile(built, beside)
    beside.replace(target)


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BuildError(f"{command[0]}: cannot be run ({error.strerror}); set MEST_CC to a C compiler") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        first = next((line for line in lines if "error" in line), lines[0] if lines else "no message")
        raise BuildError(f"{' '.join(command[:4])} ... failed: {first}")
    return done.stdout


def main() -> int:
    """Build beside this file, or the program that is named; 0 if it worked."""
    try:
        if sys.argv[1:]:
            build_runner(Path(sys.argv[1]), Path(sys.argv[2]).resolve() if sys.argv[2:] else None)
            print(f"built {sys.argv[1]}")
            return 0
        machine = build(HERE / LIBRARY_NAME)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"built {HERE / LIBRARY_NAME} for {machine}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
