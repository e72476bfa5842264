"""Static builds of mest-run for this machine and, under emulation, for others: they train, and agree.

usage: without_python.py [--mutate em|ems] ARTIFACT DATA WORK EMULATOR...
EMULATOR is a qemu-aarch64-static, qemu-arm-static or qemu-x86_64-static; a processor whose emulator is not given is
left out. Needs `mest` and the package ziglang. Every program trains twice from one plan: to the same bits, and to the
weights of another processor within rounding. All make the same samples of a PNG and of a JPEG file. With --mutate a
second plan does so whose weights move; there it is counted, too, how many of those that exist are the same ones.
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from edge.compiled.plan import read_plan
from edge.compiled.state import behind_marks, held
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
    Processor("linux-armv7", "qemu-arm-static", computes_with="portable"),
)
# Of the norm of all weights: where rounding moves a ReLU across zero, the gradient of one sample is another, so that
# single weights may differ by more.
BOUND = 1e-2
# Of the units that exist: where the last bit decides which of two goes, what comes in its place is another one.
SAME_UNITS = 0.98
LISTS = ("columns", "kernels")
RUN = ("--batch-size", "8", "--epochs", "1", "--lr", "0.005", "--memory-budget", "16MiB")
OFTEN = ("--mutate-every-steps", "5")


def main() -> None:
    """Build, train and compare; ends with an error where two programs differ."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mutate", choices=("em", "ems"))
    for name in ("artifact", "data", "work"):
        parser.add_argument(name)
    parser.add_argument("emulators", nargs="*")
    args = parser.parse_args()
    emulators = {Path(path).name: path for path in args.emulators}
    folder = Path(args.work)
    folder.mkdir(parents=True, exist_ok=True)
    packed = folder / "samples.data"
    mutations = {"fixed": []} | ({args.mutate: ["--mutate", args.mutate, *OFTEN]} if args.mutate else {})
    plans = {name: folder / f"{name}.mest" for name in mutations}
    for name, plan in plans.items():
        words = [args.artifact, "--data", args.data, *RUN, *mutations[name], "--out", plan, "-q"]
        subprocess.run(["mest", "compile", *words], check=True)
    plan = plans["fixed"]
    subprocess.run(["mest", "pack", args.data, "--for", plan, "--out", packed, "-q"], check=True)
    here: dict[str, Mapping[str, np.ndarray]] = {}
    built: dict[str, int] = {}
    samples: dict[str, bytes] = {}
    for processor in (HERE, *OTHERS):
        if processor.emulator and processor.emulator not in emulators:
            print(f"{processor.name}: {processor.emulator} is not here: left out")
            continue
        program = folder / f"mest-run-{processor.target}"
        if processor.target not in built:
            built[processor.target] = build_for(processor.target, program)
        if not (before := command_of(processor, emulators, program, plan)):
            continue
        shown = subprocess.run([*before, "info", plan], check=True, stdout=subprocess.PIPE, text=True).stdout
        wanted = "avx" if processor is HERE and this_processor_has("avx2") else processor.computes_with
        assert f"computes with  {wanted}" in shown, f"{processor.name}: takes another instruction set than {wanted}"
        print(f"{processor.name}: {built[processor.target] >> 10} KiB")
        pixels = collected(before, plan, folder)
        assert pixels == samples.setdefault("here", pixels), f"{processor.name}: reads other pixels of pictures"
        for name, plan_of in plans.items():
            weights = trained(before, plan_of, packed, folder / f"{processor.name}-{name}")
            print(f"  {name}: {compared(weights, here.setdefault(name, weights))}")


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


def trained(program: list[str], plan: Path, packed: Path, beside: Path) -> dict[str, np.ndarray]:
    """The arrays of a state that a program trains twice, to the same bytes."""
    states = [beside.with_name(f"{beside.name}-{number}.state") for number in (1, 2)]
    for state in states:
        state.unlink(missing_ok=True)
        command = [*program, "train", plan, "--data", packed, "--state", state, "--quiet"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert states[0].read_bytes() == states[1].read_bytes(), f"{beside.name}: two runs end in different states"
    content, compiled = states[0].read_bytes(), read_plan(plan)
    head = plan_file.State.from_buffer_copy(content)
    assert bool(head.mutations) == bool(compiled.head.weight_count), f"{beside.name}: {head.mutations} mutations"
    return held(compiled, states[0], behind_marks(compiled, head, content))


def collected(program: list[str], plan: Path, folder: Path) -> bytes:
    """The data file that a program makes of two pictures."""
    waves = np.add.outer(np.sin(np.arange(60) / 5), np.cos(np.arange(80) / 7))[..., None] * (50, 30, 20) + 128
    pictures = [folder / "waves.png", folder / "waves.jpg"]
    for picture in pictures:
        Image.fromarray(waves.astype(np.uint8)).save(picture)
    data = folder / "pictures.data"
    data.unlink(missing_ok=True)
    command = [*program, "collect", plan, *pictures, "--data", data, "--label", "0"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return data.read_bytes()


def compared(weights: Mapping[str, np.ndarray], here: Mapping[str, np.ndarray]) -> str:
    """How far apart two sets of weights are; an AssertionError where that is too far."""
    ours, theirs, same, most = [], [], 0, 0
    assert weights.keys() == here.keys()
    for name in (name for name in weights if name.endswith("/values")):
        units, wanted = units_of(weights, name), units_of(here, name)
        _, at, at_here = np.intersect1d(units, wanted, assume_unique=True, return_indices=True)
        same, most = same + len(at), most + max(len(units), len(wanted))
        ours.append(weights[name].reshape(len(units), -1)[at].ravel())
        theirs.append(here[name].reshape(len(wanted), -1)[at_here].ravel())
    one, other = np.concatenate(ours), np.concatenate(theirs)
    apart = float(np.linalg.norm(one - other) / np.linalg.norm(other))
    assert apart < BOUND, f"weights are {apart:.1e} of their norm apart"
    assert same >= SAME_UNITS * most, f"{same} of {most} units are the same ones"
    return f"weights {apart:.1e} of their norm from this machine's, {same} of {most} units the same ones"


def units_of(weights: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """A number for each unit that exists of a weight: by row and place in it, or in order where none moves."""
    weight = name.rpartition("/")[0]
    listed = next((weights[f"{weight}/{one}"] for one in LISTS if f"{weight}/{one}" in weights), None)
    if listed is None:
        return np.arange(weights[name].size)
    starts = weights[f"{weight}/row_starts"].astype(np.int64)
    return np.repeat(np.arange(len(starts) - 1), np.diff(starts)) << 32 | listed.astype(np.int64)


if __name__ == "__main__":
    main()
