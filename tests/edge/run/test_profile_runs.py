"""Profiling: what is taken apart is what was planned, and the numbers add up."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from network_example import example_network

from edge.engines.available import engine_available
from edge.handover.manifest import Manifest, write_manifest
from edge.network import write_network
from edge.plan.choices import OptimizerChoice
from edge.plan.footprint import Buffer
from edge.report.files import FILES
from edge.report.record import Plan, read_record
from edge.report.steps import direction_of, layer_of
from edge.run.profile import noise, operator_costs
from edge.tasks.registry import CLASSIFICATION
from mest.cli import main

USABLE, MISSING = engine_available("native")
needs_native = pytest.mark.skipif(not USABLE, reason=f"needs the native engine: {MISSING}")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact for the native engine alone, written without any workstation library."""
    folder = tmp_path_factory.mktemp("profile") / "artifact"
    folder.mkdir()
    network = example_network()
    write_network(network, folder)
    preprocess = {"mode": "RGB", "resize": None, "crop": None, "interpolation": "bilinear"}
    manifest = Manifest(
        tools={},
        input=network.input,
        preprocess={**preprocess, "mean": [0.5] * 3, "std": [0.25] * 3},
        class_names=("a", "b", "c", "d", "e"),
        optimizer=asdict(OptimizerChoice()),
    )
    write_manifest(manifest, folder)
    return folder


def times(**seconds: float) -> SimpleNamespace:
    """Two operators and an update, as an engine tells of them."""
    names = ("conv1", "conv1 gradient", "update")
    return SimpleNamespace(names=names, operators=("conv", "conv_grad", "update"), seconds=tuple(seconds.values()))


def test_operators_get_their_median_time_and_the_bytes_that_begin_with_them() -> None:
    """Three steps of 1, 5 and 2 ms are 2 ms; a buffer counts where it first lives."""
    buffers = (Buffer("a", "workspace", 8, 0, 2), Buffer("b", "workspace", 4, 0, 0), Buffer("c", "workspace", 2, 1, 1))
    taken = [times(a=ms / 1e3, b=0.003, c=0.001) for ms in (1, 5, 2)]
    first, second, third = operator_costs(taken, buffers)
    assert (first.name, first.direction, first.milliseconds, first.nbytes) == ("conv1", "forward", 2.0, 12)
    assert (second.name, second.direction, second.milliseconds, second.nbytes) == ("conv1", "backward", 3.0, 2)
    assert (third.name, third.direction, third.nbytes) == ("update", "update", 0)


def test_steps_of_a_layer_are_told_by_their_names() -> None:
    """Statistics and gradients belong to the layer whose name they carry."""
    for step in (
        "bn.1",
        "bn.1 statistics",
        "bn.1 gradient",
        "bn.1 gradient slopes",
        "bn.1 gradient in place",
        "bn.1 again",
        "bn.1 again narrowed",
        "bn.1 widened",
    ):
        assert layer_of(step) == "bn.1"
    assert layer_of("zero gradients") == "zero gradients"
    steps = {
        "a": "conv",
        "a again": "conv",
        "a narrowed": "narrow",
        "a again narrowed": "narrow",
        "a widened": "widen",
        "a gradient": "push_grad",
        "b gradient": "norm_grad_sums",
        "update": "update",
    }
    directions = [direction_of(step, op) for step, op in steps.items()]
    narrow = ["forward", "recomputed", "backward"]
    assert directions == ["forward", "recomputed", *narrow, "backward", "backward", "update"]


def test_noise_is_normalised_reproducible_and_of_every_class() -> None:
    """Mean 0, variance 1, the same for a seed, another for another."""
    images, labels = noise((3, 16, 16), 12, seed=1), CLASSIFICATION.noise(12, (5,))
    assert images.dtype == np.float32
    assert abs(float(images.mean())) < 0.05
    assert abs(float(images.var()) - 1) < 0.05
    assert len({image.tobytes() for image in images}) == 12
    assert set(labels.tolist()) == set(range(5))
    np.testing.assert_array_equal(images, noise((3, 16, 16), 12, seed=1))
    assert (images != noise((3, 16, 16), 12, seed=2)).any()


@needs_native
def test_a_profile_times_every_step_of_the_plan_and_leaves_the_artifact_alone(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The record has one time per planned step, the files parse, and nothing else is left behind."""
    before = {path.name: path.read_bytes() for path in artifact.iterdir()}
    out = tmp_path / "out"
    words = ["profile", str(artifact), "--out", str(out), "--engine", "native", "--threads", "1", "--steps", "3"]
    assert main([*words, "--batch-size", "4", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    record = read_record(out / "record.json")
    assert record.profile is not None
    assert record.training is None
    assert result["operators_timed"] == len(record.profile.operators) == len(record.plan.steps)
    assert {"evaluate", "train", "save"} <= set(record.measured.phases)
    assert sum(result["peak_by_kind"].values()) <= record.plan.peak_bytes
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    ET.fromstring((out / "memory.svg").read_text())
    assert {path.name: path.read_bytes() for path in artifact.iterdir()} == before


@needs_native
def test_a_profile_says_who_uses_each_tensor_and_what_would_shrink_the_peak(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lifetimes are those of the uses, and an alternative that is asked for saves what was said of it."""

    def plan_of(*pins: str) -> Plan:
        words = ["profile", str(artifact), "--out", str(tmp_path), "--engine", "native", "--steps", "1", *pins]
        assert main([*words, "--batch-size", "512", "--threads", "1"]) == 0
        capsys.readouterr()
        return read_record(tmp_path / "record.json").plan

    def own(plan: Plan) -> int:  # what a process happens to hold already is no part of the choice
        held = sum(item.nbytes for item in plan.items if item.name == "artifact and data index")
        return plan.peak_bytes - plan.baseline_bytes - held

    taken = plan_of()
    assert [(use[0], use[-1]) for use in taken.uses] == [(buffer.first, buffer.last) for buffer in taken.buffers]
    saved = {(other.choice, other.value): other for other in taken.alternatives}
    assert [other.saved_bytes for other in taken.alternatives] == sorted(
        (other.saved_bytes for other in taken.alternatives), reverse=True
    )
    for choice in (("micro_batch", "256"), ("saved", "bfloat16")):
        option = "--" + choice[0].replace("_", "-")
        assert own(taken) - own(plan_of(option, choice[1])) == saved[choice].saved_bytes > 0
    assert not saved["saved", "bfloat16"].exact


@needs_native
def test_a_record_is_drawn_again_without_running_anything(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From one recorded JSON come the same picture and the same page."""
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["profile", str(artifact), "--out", str(first), "--engine", "native", "--steps", "1"]) == 0
    assert main(["profile", str(first / "record.json"), "--out", str(second)]) == 0
    for name in FILES:
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert "Where did the memory go?" in capsys.readouterr().out
    pair = [str(folder / "record.json") for folder in (first, second)]
    assert main(["profile", *pair, "--out", str(tmp_path / "both"), "--json"]) == 0
    compared = json.loads(capsys.readouterr().out)
    assert compared["compared"]["planned_peak_bytes"]["difference"] == 0
    assert [path.name for path in (tmp_path / "both").iterdir()] == ["comparison.html"]
    assert main(["profile", str(first), pair[1], "--out", str(tmp_path / "both")]) == 2
    assert "a folder; two runs are compared by their record.json files" in capsys.readouterr().err
    assert main(["profile", *pair, "--out", str(tmp_path / "both"), "--steps", "3"]) == 2
    assert "--steps: two records are compared and nothing runs" in capsys.readouterr().err


@needs_native
def test_a_profile_obeys_the_budget_in_a_process_of_its_own(artifact: Path, tmp_path: Path) -> None:
    """What cannot fit is refused with exit code 3 and the smallest budget that would do."""
    words = ["profile", artifact, "--out", tmp_path / "out", "--engine", "native", "--memory-budget", "8MiB"]
    command = [sys.executable, "-m", "mest", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "give --memory-budget" in done.stderr
    assert "Traceback" not in done.stderr


def test_steps_must_be_one_or_more(artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Zero steps are refused with one line."""
    assert main(["profile", str(artifact), "--out", str(tmp_path), "--steps", "0"]) == 2
    assert "--steps 0: must be 1 or more" in capsys.readouterr().err
