"""Static builds of mest-run for this machine and, under emulation, for others: they train, and agree.

usage: without_python.py ARTIFACT DATA WORK EMULATOR...
EMULATOR is a qemu-aarch64-static, qemu-arm-static or qemu-x86_64-static; a processor whose emulator is not given is
left out. Needs `mest` and the package ziglang. Every program trains twice from one plan: to the same bits, and to the
weights of another processor within rounding.
"""

from __future__ import annotations

import subprocess
import sys
from ctypes import sizeof
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.compiled.plan import read_plan
from edge.libmest import plan_file
from edge.libmest.targets import build_for


@dataclass(frozen=True)
class Processor:
    """What a program runs on: this machine, or a processor as an emulator shows it."""

    target: str
    emulator: str = ""
    model: str = ""
    computes_with: str = ""  # the instruction set that it has to find

    @property
    def name(self) -> str:
        """Name in messages and of files."""
        return "-".join(part for part in (self.target, self.model) if part)


HERE = Processor("linux-x86_64")
OTHERS = (
    Processor("linux-x86_64", "qemu-x86_64-static", "Nehalem", "sse2"),  # has no AVX
    Processor("linux-x86_64", "qemu-x86_64-static", "Haswell", "avx2"),
    Processor("linux-aarch64", "qemu-aarch64-static", computes_with="neon"),
    Processor("linux-armv7", "qemu-arm-static"),
)
# Of the norm of all weights: where rounding moves a ReLU across zero, the gradient of one sample is another, so that
# single weights may differ by more.
BOUND = 1e-2


def main() -> None:
    """Build, train and compare; ends with an error where two programs differ."""
    artifact, data, work = sys.argv[1:4]
    emulators = {Path(path).name: path for path in sys.argv[4:]}
    folder = Path(work)
    folder.mkdir(parents=True, exist_ok=True)
    plan, packed = folder / "plan.mest", folder / "samples.data"
    run = ["--batch-size", "8", "--epochs", "1", "--lr", "0.005", "--memory-budget", "16MiB"]
    subprocess.run(["mest", "compile", artifact, "--data", data, *run, "--out", plan, "-q"], check=True)
    subprocess.run(["mest", "pack", data, "--for", plan, "--out", packed, "-q"], check=True)
    here: np.ndarray | None = None
    for processor in (HERE, *OTHERS):
        if processor.emulator and processor.emulator not in emulators:
            print(f"{processor.name}: {processor.emulator} is not here: left out")
            continue
        program = folder / f"mest-run-{processor.target}"
        nbytes = program.stat().st_size if program.exists() else build_for(processor.target, program)
        if not (before := command_of(processor, emulators, program, plan)):
            continue
        shown = subprocess.run([*before, "info", plan], check=True, stdout=subprocess.PIPE, text=True).stdout
        wanted = "avx" if processor is HERE and this_processor_has("avx2") else processor.computes_with
        assert f"computes with  {wanted}" in shown, f"{processor.name}: takes another instruction set than {wanted}"
        states = [folder / f"{processor.name}-{number}.state" for number in (1, 2)]
        for state in states:
            state.unlink(missing_ok=True)
            train = [*before, "train", plan, "--data", packed, "--state", state, "--quiet"]
            subprocess.run(train, check=True, stdout=subprocess.DEVNULL)
        assert states[0].read_bytes() == states[1].read_bytes(), f"{processor.name}: two runs end in different states"
        weights = values_of(plan, states[0])
        here = weights if here is None else here
        apart = float(np.linalg.norm(weights - here) / np.linalg.norm(here))
        print(f"{processor.name}: {nbytes >> 10} KiB, weights {apart:.1e} of their norm from this machine's")
        assert apart < BOUND


def command_of(processor: Processor, emulators: dict[str, str], program: Path, plan: Path) -> list[str]:
    """The command that runs `program` on a processor; empty where the emulator is not able to run it at all."""
    if not processor.emulator:
        return [str(program)]
    emulator = emulators[processor.emulator]
    if not processor.model:
        return [emulator, str(program)]
    # A program that an instruction ends on this model alone is at fault; one that ends on the model with all is not.
    everything = subprocess.run([emulator, "-cpu", "max", program, "info", plan], stdout=subprocess.DEVNULL)
    if everything.returncode:
        print(f"{processor.name}: {processor.emulator} does not run on this machine: left out")
        return []
    return [emulator, "-cpu", processor.model, str(program)]


def this_processor_has(flag: str) -> bool:
    """Whether Linux lists a feature of this processor."""
    return f" {flag} " in Path("/proc/cpuinfo").read_text()


def values_of(plan: Path, state: Path) -> np.ndarray:
    """All weights of a state, flat."""
    content, block = state.read_bytes(), sizeof(plan_file.State)
    entries = read_plan(plan).facts["tensors"]
    parts = [one for name, one in entries.items() if name.endswith("/values")]
    found = [np.frombuffer(content, "<f4", int(np.prod(one["shape"])), block + one["offset"]) for one in parts]
    return np.concatenate(found)


if __name__ == "__main__":
    main()
