"""A client's part of a round: weights become a state, a child fine-tunes it within the budget, its state comes back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge.errors import InputError
from edge.handover.artifact import Artifact
from edge.handover.state import is_state
from edge.weight.parameter import Parameter
from export.flower.layout import ENGINE, Layout, Weights
from export.flower.orders import Order, Place
from export.flower.states import read_weights, write_weights
from export.flower.units import unit_scores

ROOT = Path(__file__).resolve().parents[2]
_BEGIN, _END = "begin", "end"
_TASKS = ("accuracy", "metric")  # what a result's score is called, by task


@dataclass(frozen=True, eq=False)
class Trained:
    """What a round made of the weights: the new ones, scores of kept units by parameter, and the run's own figures.

    `facts` are plain numbers by name: peaks in bytes, seconds, scores; `plan` is what was planned, as JSON.
    `left_out` has a line for each board that did not take part, where the client speaks for several.
    """

    weights: Weights
    samples: int
    facts: dict[str, int | float]
    plan: str
    scores: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    left_out: tuple[str, ...] = ()


def train(
    place: Place, artifact: Artifact, layout: Layout, weights: Weights, order: Order, wants_scores: bool = False
) -> Trained:
    """Fine-tune from these weights in a process of its own and read back what it made of them.

    Raises InputError with the command's own line where it refuses, as for a budget that nothing fits.
    """
    begin, end = place.work / _BEGIN, place.work / _END
    for folder in (begin, end):
        shutil.rmtree(folder, ignore_errors=True)
    write_weights(begin, artifact, layout, weights, alone=True)
    started = time.monotonic()
    words = [str(begin), f"--out={end}", *place.words(), *order.words(), f"--engine={ENGINE}"]
    result = answer_of("finetune", words, "samples_train")
    seconds = time.monotonic() - started
    done = trained(end, artifact, result, layout, order, wants_scores)
    return replace(done, facts={**done.facts, "seconds": seconds})


def trained(
    state: Path, artifact: Artifact, result: Mapping[str, Any], layout: Layout, order: Order, wants_scores: bool
) -> Trained:
    """What a fine-tuning made, from its state and the answer that it gave.

    Raises InputError where either is missing or is not what `mest finetune` leaves, DamagedError for altered files.
    """
    if not is_state(state):
        raise InputError(f"{state}: the fine-tuning left no state")
    try:
        found, arrays = read_weights(state, layout, artifact)
        scores = _scores(layout, layout.encoded(found), arrays, order.gradient_weight) if wants_scores else {}
        plan = json.dumps(result["plan"], sort_keys=True)
        return Trained(found, int(result["samples_train"]), _facts(result), plan, scores)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{state}: its answer or its arrays are not those of a fine-tuning ({error!r:.100})") from None


def evaluate(state: Path, data: str) -> dict[str, Any]:
    """What `mest eval` says of a state, in a process of its own; raises InputError with its line where it refuses."""
    words = [str(state), f"--data={data}"]
    return answer_of("eval", words, "images")


def answer_of(name: str, words: Sequence[str], expected: str) -> dict[str, Any]:
    """The JSON answer of a command of mest in a process that dies with this one.

    Raises InputError with the command's last line where there is no answer with the `expected` field.
    """
    command = [sys.executable, "-m", "export.flower.child", str(os.getpid()), name, *words, "--json", "--quiet"]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    pipe = subprocess.PIPE
    environment = {**os.environ, "PYTHONPATH": path}
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, errors="replace", env=environment
    )
    try:
        answer, said = child.communicate()
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    try:
        result = json.loads(answer)
    except ValueError:
        result = {}
    if not isinstance(result, dict) or expected not in result:
        lines = said.strip().splitlines()
        raise InputError(lines[-1] if lines else f"mest {name} ended with {child.returncode} and said nothing")
    return result


def _facts(result: Mapping[str, Any]) -> dict[str, int | float]:
    """The figures of a run that are numbers; what was not measured is left out."""
    given: dict[str, Any] = {
        "planned-peak-bytes": result["planned_peak_bytes"],
        "measured-peak-bytes": result["measured_peak_bytes"],
        "budget-bytes": result["budget_bytes"],
        "within-budget": None if result["within_budget"] is None else int(result["within_budget"]),
        "steps": result["steps"],
        "step-ms-median": result["step_ms_median"],
        "mutations": result["mutations"],
        "sparsity": result["sparsity"],
    }
    for task in _TASKS:
        if f"{task}_before" in result:
            given |= {"score-before": result[f"{task}_before"], "score-after": result[f"{task}_after"]}
    return {name: value for name, value in given.items() if isinstance(value, int | float)}


def _scores(
    layout: Layout, parameters: Mapping[str, Parameter], arrays: Mapping[str, np.ndarray], gradient_weight: float
) -> dict[str, np.ndarray]:
    """|w| + λ·|gradient| of every kept unit; the gradient is that of the last step."""
    found = {}
    for name, stored in layout.sparse.items():
        magnitudes = np.abs(arrays[f"{name}/values"])
        if gradient_weight and f"{name}/gradient" in arrays:
            magnitudes = magnitudes + np.float32(gradient_weight) * np.abs(arrays[f"{name}/gradient"])
        if stored.target_sparsity is not None and stored.trainable:
            found[name] = unit_scores(parameters[name], magnitudes)
    return found
