"""What a run on the board holds of its own beside interpreter and numpy: which modules, how many bytes of objects."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from finetune_example import environment
from native_artifact import write_artifact, write_images
from native_networks import resnet

from edge.engines.available import engine_available

USABLE, MISSING = engine_available("native")
pytestmark = pytest.mark.skipif(not USABLE, reason=f"needs the native engine: {MISSING}")

# Looks about after the first step: modules, and the bytes of objects (numpy's arrays aside) that our own lines made.
LOOK = """
import gc, json, os, sys, tracemalloc
import numpy
tracemalloc.start(1)
import mest.cli
import edge.run.training
step = edge.run.training.FineTuning._step

def look(self, *given):
    result = step(self, *given)
    if self.position.step == 0:
        gc.collect()
        traces = [trace for trace in tracemalloc.take_snapshot().traces if trace.domain == 0]
        places = tuple(os.sep + part + os.sep for part in ("edge", "mest"))
        ours = sum(t.size for t in traces if any(place in t.traceback[0].filename for place in places))
        json.dump({"modules": sorted(sys.modules), "bytes": ours}, open(sys.argv[1], "w"))
    return result

edge.run.training.FineTuning._step = look
sys.exit(mest.cli.main(sys.argv[2:]))
"""
BOUND_KIB = 1950  # for a network of 172 steps and 167 parameters, with a last batch and predictions: 428 steps


@pytest.fixture(scope="module")
def held(tmp_path_factory) -> dict:
    """What a native run without mutation holds after its first step."""
    folder: Path = tmp_path_factory.mktemp("held")
    network = resnet("block", 0.9, width=8, size=8)
    artifact = write_artifact(folder / "artifact", network)
    data = write_images(folder / "images.npz", network, 50)
    command = [sys.executable, "-c", LOOK, folder / "found", "finetune", artifact, "--data", data, "--threads", 1]
    command += ["--engine", "native", "--epochs", 1, "--out", folder / "state", "--memory-budget", "64MiB"]
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "found").read_text())


@pytest.mark.parametrize(
    "module",
    [
        "edge.engines.ort",
        "edge.report",
        "edge.run.recording",
        "edge.host.facts",
        "edge.weight.mutation",
        "onnxruntime",
        "PIL",
    ],
)
def test_a_native_run_does_not_hold_what_it_does_not_use(held, module: str) -> None:
    """Nothing of the other engine, of reports before there is one, of mutation without it, of Pillow for an npz."""
    assert not [name for name in held["modules"] if name == module or name.startswith(f"{module}.")]


def test_objects_of_our_own_stay_within_their_bound(held) -> None:
    """Descriptions, steps and records: what a plan counts as runtime, without the code."""
    assert held["bytes"] < BOUND_KIB << 10, held["bytes"] >> 10
