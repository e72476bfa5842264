"""A compiled plan with its data, the program that runs it, and the same run in Python."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from edge.compiled.compiling import CompileJob, compile_plan
from edge.compiled.packing import pack
from edge.compiled.plan import read_plan
from edge.compiled.state import behind_marks, held
from edge.data.open import open_source
from edge.handover.state import read_state
from edge.libmest import build, library, plan_file
from edge.plan.search import Request
from edge.run.finetune import finetune
from edge.run.job import Job
from edge.run.result import FinetuneResult
from edge.run.settings import Settings

SETTINGS = Settings(epochs=2, learning_rate=0.05, hold_out=0.25, seed=3, save_every=3, warmup=0.25)


@functools.lru_cache(maxsize=1)
def _built(folder: Path) -> Path:
    build.build_runner(folder / "mest-run", library.PATH)
    return folder / "mest-run"


@pytest.fixture(scope="session")
def mest_run(tmp_path_factory) -> Path:
    """The program, over the library that Python has; `MEST_RUNNER` names one that was built already."""
    given = os.environ.get("MEST_RUNNER")
    if given:
        return Path(given)
    usable, reason = library.available()
    if not usable:
        pytest.skip(f"needs the native library: {reason}")
    try:
        return _built(tmp_path_factory.getbasetemp())
    except build.BuildError as error:
        pytest.skip(f"needs a C compiler: {error}")


def program_without_fma(folder: Path) -> Path:
    """The program with vectors of four floats and no fused multiply-add, as WebAssembly has them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEST_ONLY_SETS", "sse2")
        try:
            build.build(folder / "libmest.so")
            build.build_runner(folder / "mest-run", folder / "libmest.so")
        except build.BuildError as error:
            pytest.skip(f"needs a compiler for a processor without fused multiply-add: {error}")
    return folder / "mest-run"


@dataclass(frozen=True)
class Compiled:
    """A plan, its data file, and what both were made from."""

    artifact: Path
    source: Path
    plan: Path
    data: Path
    request: Request
    settings: Settings

    def run(self, program: Path, command: str, *more: object, json_of: bool = True) -> dict:
        """What the program prints; it must end well."""
        done = run(program, command, self.plan, "--data", self.data, *more, *(["--json"] if json_of else []))
        assert done.returncode == 0, done.stderr
        found: dict = json.loads(done.stdout)
        return found

    def finetune(self, state: Path) -> FinetuneResult:
        """The same run by Python."""
        return finetune(Job(self.artifact, str(self.source), state, self.settings, lambda _: self.request, "native"))


def compiled(
    folder: Path, artifact: Path, source: Path, request: Request, counted: bool = True, **settings: object
) -> Compiled:
    """The plan of an artifact for some data, whose samples are counted for it unless told otherwise."""
    made = Compiled(
        artifact, source, folder / "plan.mest", folder / "samples.data", request, replace(SETTINGS, **settings)
    )
    data = str(source) if counted else None
    compile_plan(CompileJob(artifact, made.plan, made.settings, lambda _: request, None, data))
    plan = read_plan(made.plan)
    opened = open_source(str(source), plan.class_names, folder, plan.preprocess)
    try:
        pack(opened, plan, made.data)
    finally:
        opened.close()
    return made


def run(program: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own."""
    command = [str(program), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def tensors_of(plan: Path, state: Path) -> dict[str, np.ndarray]:
    """What a state of the program holds, by the names that a state of Python's has."""
    content, compiled = state.read_bytes(), read_plan(plan)
    return held(compiled, state, behind_marks(compiled, plan_file.State.from_buffer_copy(content), content))


def different(plan: Path, state: Path, python: Path) -> list[str]:
    """Names of the arrays that are not the same bit for bit; lists of fixed masks are part of the plan."""
    found, wanted = tensors_of(plan, state), read_state(python).tensors
    changing = {name for name in wanted if name.rpartition("/")[2] in ("values", "gradient", "state0", "state1")}
    assert changing <= found.keys() <= wanted.keys()
    changing = set(found)
    return sorted(name for name in changing if found[name].tobytes() != wanted[name].tobytes())
