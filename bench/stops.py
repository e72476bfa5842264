"""The way of a budget: which functions it passes between the parsed command and the first step of the C library.

One small run of `mest finetune` under a budget is watched. A stop is a visit to a function that does, or leads to, one
of the acts that a budget is for: asking, choosing, planning, limiting, allocating, opening, stepping. All visits that
one caller pays to a function are one stop. A return is a stop that is left before the step is reached: what is on the
way, but not on the chain of calls that makes the step.

python -m bench.stops ARTIFACT DATA [--engine ort] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
STEP = "train_step"
# Acts by the name of the function that does one, wherever it is defined.
ACTS = frozenset(
    {"parse_size", "request", "densest_sparsity", "pinned_request", "needs", "make_plan", "plan_arena", "build_model"}
    | {"training_listing", "prediction_listing", "footprint_of", "_items", "_buffers", "limit_private", "settle", STEP}
    | {"allocate_tensors", "load_checkpoint", "load_library", "open_artifact", "read_facts"}
)
READS = frozenset({"read_manifest", "read_network", "read_body"})  # of files, counted beside the acts
ROOMS = ("mest/cli/", "edge/run/", "edge/engines/", "edge/plan/", "edge/handover/", "edge/host/", "edge/libmest/")


@dataclass(eq=False)
class Visit:
    """A call of a function of ours, with the calls that it made."""

    file: str
    function: str
    made: list[Visit] = field(default_factory=list)
    leads: bool = False  # to an act, or is one
    open: bool = False  # not returned when the step began


class Reached(BaseException):
    """Raised where the first step would begin."""


class Watch:
    """Follows the calls of one run from `Command.run` to the first step."""

    def __init__(self) -> None:
        self.top = Visit("", "")
        self.calls = 0
        self._chain: list[tuple[Visit, FrameType | None]] = [(self.top, None)]

    def __call__(self, frame: FrameType, event: str, given: Any) -> None:
        code = frame.f_code
        if event not in ("call", "return") or not code.co_filename.startswith(f"{ROOT}/"):
            return
        file, name = code.co_filename.removeprefix(f"{ROOT}/"), code.co_name
        if name.startswith("<") or not file.startswith(("edge/", "mest/")):
            return
        if event == "return":
            if self._chain[-1][1] is frame:  # a generator that is thrown into returns without having been called
                self._chain.pop()
            return
        visit = Visit(file, code.co_qualname if sys.version_info >= (3, 11) else name)
        self.calls += 1
        self._chain[-1][0].made.append(visit)
        self._chain.append((visit, frame))
        if name in ACTS and file.startswith(ROOMS):
            for one, _ in self._chain:
                one.leads = True
        if name == STEP:
            for one, _ in self._chain:
                one.open = True
            raise Reached


def watched(arguments: list[str]) -> Watch:
    """What `mest finetune` with these arguments did before its first step."""
    from mest.cli import main
    from mest.cli.finetune import Command

    watch, run = Watch(), Command.run

    def followed(self: Command, *given: Any) -> dict[str, Any]:
        sys.setprofile(watch)
        return run(self, *given)

    Command.run = followed  # type: ignore[method-assign]
    try:
        main(["finetune", *arguments])
    except Reached:
        return watch
    finally:
        sys.setprofile(None)
        Command.run = run  # type: ignore[method-assign]
    raise SystemExit("the run ended before its first step")


def stops(visit: Visit, depth: int = 0) -> Iterator[tuple[int, Visit]]:
    """The stops below a visit, in their order, each with its depth."""
    groups: dict[tuple[str, str], list[Visit]] = {}
    for one in visit.made:
        if one.leads:
            groups.setdefault((one.file, one.function), []).append(one)
    for (file, function), visits in groups.items():
        made = [called for one in visits for called in one.made]
        merged = Visit(file, function, made, leads=True, open=any(one.open for one in visits))
        yield depth, merged
        yield from stops(merged, depth + 1)


def everything(visit: Visit) -> Iterator[Visit]:
    """All visits below one."""
    for one in visit.made:
        yield one
        yield from everything(one)


def count(watch: Watch) -> dict[str, Any]:
    """The stops of a run, their files and returns, and beside them all that the run called."""
    way = list(stops(watch.top))
    called = Counter((one.file, one.function) for one in everything(watch.top))
    acts: Counter[str] = Counter()
    for (_, name), times in called.items():
        acts[name.rpartition(".")[2]] += times
    return {
        "stops": len(way),
        "functions": len({(one.file, one.function) for _, one in way}),
        "files": len({one.file for _, one in way}),
        "returns": sum(not one.open for _, one in way),
        "all_functions": len(called),
        "all_calls": watch.calls,
        "acts": {name: acts[name] for name in sorted((ACTS | READS) & acts.keys())},
        "way": [f"{'  ' * depth}{one.file}:{one.function}" for depth, one in way],
    }


def main() -> None:
    """Watch one run and print its way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("artifact")
    parser.add_argument("data")
    parser.add_argument("--engine", default="native")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        words = [asked.artifact, "--data", asked.data, "--engine", asked.engine, "--threads", "1", "--epochs", "1"]
        words += ["--hold-out", "0", "--quiet", "--memory-budget", "2GiB", "--out", f"{folder}/state"]
        found = count(watched(words))
    if asked.json:
        print(json.dumps(found, indent=1))
        return
    print("\n".join(found.pop("way")))
    del found["acts"]
    print(", ".join(f"{name.replace('_', ' ')} {number:,}" for name, number in found.items()))


if __name__ == "__main__":
    main()
