"""The road, one real command after another; what each left is all that the report and the checks are made from."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mest.demo import script
from mest.demo.commands import Commands, Done, read
from mest.demo.script import Settings, Step
from mest.errors import DamagedError

MIB = 1 << 20
COMMANDS = "commands.sh"
MARGIN = 1.1  # of the least budget that the plan names
REFUSED_BELOW = MIB  # so much below it nothing starts, though a process's baseline varies by a few tenths
Run = Callable[[Step], Done]


@dataclass(frozen=True)
class Walk:
    """Every command of the road with what it said; `commands` in the order in which they run."""

    folder: Path
    settings: Settings
    least_bytes: int  # the smallest budget of a plan with the same result
    refused_bytes: int  # a budget just below it
    budget_bytes: int
    done: Mapping[str, Done]
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def commands(self) -> tuple[Step, ...]:
        """All commands in the order in which they ran."""
        return tuple(done.step for done in self.done.values())

    def result(self, name: str) -> dict[str, Any]:
        """The JSON object of a step."""
        return self.done[name].result

    @property
    def ort(self) -> dict[str, Any] | None:
        """What onnxruntime-training said of the same fine-tuning; None where it was not to be had."""
        return self.result("ort") if "ort" in self.done else None

    @property
    def by_hand(self) -> str:
        """The page that is trained in a browser, from the folder of the demo; empty where none was written."""
        return f"{script.BY_HAND}.html" if script.BY_HAND in self.done else ""

    @property
    def refusal(self) -> str:
        """What fine-tuning said of a budget that is a little too small."""
        return self.done["refused"].said.strip().rpartition("\n")[2]

    def path(self, name: str) -> Path:
        """A file or folder of the demo."""
        return self.folder / name


def walk(folder: Path, settings: Settings, commands: Commands, say: Callable[[str], None]) -> Walk:
    """Walk the road; raises CommandFailed where a command fails, Interrupted where the user stops it."""
    scenario = settings.scenario
    sparse = f"{100 * scenario.sparsity:.0f} % sparse"
    texts = {
        "train": f"1/5 training the {scenario.model} network {sparse} from the first step",
        "export": "2/5 exporting it for the board",
        "least": "3/5 asking for the least budget",
        "read_before": f"4/5 fine-tuning within it and a tenth, on {scenario.new}: {scenario.change}",
        "pytorch": "5/5 the same in other tools, for comparison",
        script.BY_HAND: "and a page that learns from drawings",
    }
    seconds: dict[str, float] = {}

    def run(step: Step) -> Done:
        if step.name in texts:
            say(texts[step.name])
        done = commands.run(step)
        seconds[step.name] = done.seconds or 0.0
        return done

    drawn = scenario.by_hand and find_spec("ziglang") is not None
    walked = _walk(folder, settings, run, seconds, drawn)
    lines = ["#!/bin/sh", "# In an empty folder these commands make the page.", f"mkdir -p {script.SAID}"]
    lines += [step.line + (f" || [ $? = {step.exit_code} ]" if step.exit_code else "") for step in walked.commands]
    (folder / COMMANDS).write_text("\n".join([*lines, script.page(settings), ""]), encoding="utf-8")
    return walked


def read_walk(folder: Path, settings: Settings) -> Walk:
    """The walk whose commands somebody ran in a folder; raises InputError if one is missing."""
    drawn = (folder / script.by_hand(settings).output).is_file()
    return _walk(folder, settings, lambda step: read(folder, step), {}, drawn)


def _walk(folder: Path, settings: Settings, run: Run, seconds: Mapping[str, float], drawn: bool) -> Walk:
    done: dict[str, Done] = {}

    def follow(steps: tuple[Step, ...]) -> None:
        for step in steps:
            done[step.name] = run(step)

    follow(script.workstation(settings))
    follow((script.least(settings),))
    least = least_budget(done["least"].result)
    refused, budget = _typed(least - REFUSED_BELOW, math.floor), _typed(MARGIN * least, math.ceil)
    follow(script.tuning(settings, f"{refused:g}MiB", f"{budget:g}MiB"))
    engine = done["finetune"].result["engine"]
    follow(script.after(settings, f"{budget:g}MiB", engine))
    follow(script.others(settings, ort=engine != "ort" and ort_available(folder)))
    if drawn:
        follow((script.by_hand(settings),))
    return Walk(folder, settings, least, round(refused * MIB), done["finetune"].result["budget_bytes"], done, seconds)


def _typed(nbytes: float, towards: Callable[[float], int]) -> float:
    """MiB with one decimal, as a person types a budget."""
    return towards(10 * nbytes / MIB) / 10


def least_budget(refused: Mapping[str, Any]) -> int:
    """Bytes of the budget that a refused plan advises; raises DamagedError if it advises none."""
    advised = refused.get("smallest_budget_bytes")
    if not isinstance(advised, int):
        raise DamagedError(f"the plan names no budget that would do: {refused.get('refused')}")
    return advised


def ort_available(folder: Path) -> bool:
    """True if the export of the demo wrote files that onnxruntime-training trains."""
    manifest = json.loads((folder / script.ARTIFACT / "manifest.json").read_text(encoding="utf-8"))
    return bool(manifest["ort"]["available"])
