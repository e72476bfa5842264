"""Static builds of mest-run for this machine and, under emulation, for ARM: they train, and agree.

usage: without_python.py ARTIFACT DATA WORK EMULATOR...
EMULATOR is a qemu-aarch64-static or qemu-arm-static; a target whose emulator is not given is left out. Needs `mest`
and the package ziglang. Every program trains twice from one plan: to the same bits, and to the weights of another
processor within rounding.
"""

from __future__ import annotations

import subprocess
import sys
from ctypes import sizeof
from pathlib import Path

import numpy as np

from edge.compiled.plan import read_plan
from edge.libmest import plan_file
from edge.libmest.targets import build_for

TARGETS = {"linux-x86_64": "", "linux-aarch64": "qemu-aarch64-static", "linux-armv7": "qemu-arm-static"}
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
    weights: dict[str, np.ndarray] = {}
    for target, emulator in TARGETS.items():
        if emulator and emulator not in emulators:
            print(f"{target}: {emulator} is not here: left out")
            continue
        program = folder / f"mest-run-{target}"
        nbytes = build_for(target, program)
        before = [emulators[emulator]] if emulator else []
        if not emulator and " avx2 " in Path("/proc/cpuinfo").read_text():
            shown = subprocess.run([program, "info", plan], check=True, stdout=subprocess.PIPE, text=True).stdout
            assert "computes with  avx" in shown, f"{target}: takes a slower instruction set than this processor has"
        states = [folder / f"{target}-{number}.state" for number in (1, 2)]
        for state in states:
            state.unlink(missing_ok=True)
            command = [*before, program, "train", plan, "--data", packed, "--state", state, "--quiet"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        assert states[0].read_bytes() == states[1].read_bytes(), f"{target}: two runs end in different states"
        weights[target] = values_of(plan, states[0])
        here = weights["linux-x86_64"]
        apart = float(np.linalg.norm(weights[target] - here) / np.linalg.norm(here))
        print(
            f"{target}: {nbytes >> 10} KiB, trained to weights that are {apart:.1e} of their norm from this machine's"
        )
        assert apart < BOUND


def values_of(plan: Path, state: Path) -> np.ndarray:
    """All weights of a state, flat."""
    content, block = state.read_bytes(), sizeof(plan_file.State)
    entries = read_plan(plan).facts["tensors"]
    parts = [one for name, one in entries.items() if name.endswith("/values")]
    found = [np.frombuffer(content, "<f4", int(np.prod(one["shape"])), block + one["offset"]) for one in parts]
    return np.concatenate(found)


if __name__ == "__main__":
    main()
