"""Recomputed blocks: the same training up to rounding, no copy before its time, less memory, a plan that says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import CLASSES, INPUT, make_source
from foreign_models import TinyGated, TinyVit
from test_export_foreign import foreign_source
from torch import nn

from edge.engines.ort.footprint import estimate
from edge.engines.ort.planned import OrtPlanned
from edge.handover.artifact import open_artifact
from edge.handover.manifest import read_manifest
from edge.plan.choices import Choices, OptimizerChoice
from export.artifact import Built, build, export_artifact, write_ort
from export.capture import Captured, capture
from export.checks.check import check_artifact
from export.graph import producers
from export.options import Options
from export.ort.files import TRAINING, missing
from export.ort.memory import measured_memory
from export.ort.session import Session
from export.source import Source
from mest.errors import InputError
from mest.models import ModelSpec, build_model

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))
OPTIMIZER = OptimizerChoice(momentum=0.9, weight_decay=0.01)


NUDGE, FLOOR_FACTOR, SHARE = 2**-22, 20.0, 1e-6


def both(built: Built, folder: Path, smoothing: float = 0.1) -> None:
    """The same network with all activations kept, in `none`, and with its blocks recomputed, in `blocks`."""
    for recompute in ("none", "blocks"):
        place = folder / recompute
        place.mkdir()
        assert write_ort(built, OPTIMIZER, smoothing, "em", place, recompute).reason is None


def three_steps(folder: Path, input: tuple[int, int, int], nudge: float = 0.0) -> list[dict[str, np.ndarray]]:
    """Loss and logits of three steps over batches of changing size, and every parameter and statistic afterwards."""
    session, generator, seen = Session(folder), np.random.default_rng(0), []
    before = session.parameters()
    for count in (8, 3, 5):
        images = generator.standard_normal((count, *input)).astype(np.float32)
        labels = generator.integers(0, CLASSES, count)
        loss, logits = session.train_step(images * np.float32(1 + nudge), labels, 0.05)
        seen.append({"loss": np.array(loss), "logits": logits})
    after = session.parameters()
    assert any(not np.array_equal(after[name], before[name]) for name in after)
    return [*seen, after]


def assert_same_training(folder: Path, input: tuple[int, int, int]) -> None:
    """Recomputing moves nothing by more than rounding does: the floor is how far two units in the last place of the
    images move the same graph that keeps everything."""
    kept = three_steps(folder / "none", input)
    again = three_steps(folder / "blocks", input)
    nudged = three_steps(folder / "none", input, NUDGE)
    for wanted, found, moved in zip(kept, again, nudged, strict=True):
        for name, value in wanted.items():
            floor = np.abs(moved[name] - value).max(initial=0)
            allowed = FLOOR_FACTOR * floor + SHARE * np.abs(value).max(initial=0)
            assert np.abs(found[name] - value).max(initial=0) <= allowed, name


@pytest.mark.parametrize(
    ("family", "scheme", "trainable"),
    [
        ("resnet", "irregular", "all"),
        ("resnet", "block", "last:4"),
        ("resnet", "channel", "all"),
        ("mobilenet", "pattern", "all"),
        ("mobilenet", "channel", "bias"),
        ("vgg", "irregular", "all"),
        ("vgg", "channel", r"features\.[04].*"),
    ],
)
def test_training_is_the_same_up_to_rounding(
    models: dict[str, nn.Module],
    captures: Callable[[str, Source], Captured],
    tmp_path: Path,
    family: str,
    scheme: str,
    trainable: str,
) -> None:
    """Weights, statistics, loss and logits, for each scheme and whatever is trained."""
    source = make_source(models[family], family, scheme, 0.5)
    built = build(source, captures(family, source), Options(trainable=trainable))
    both(built, tmp_path)
    assert_same_training(tmp_path, INPUT)


@pytest.mark.parametrize("kind", [TinyVit, TinyGated])
def test_operators_of_today_are_recomputed_too(kind: type, tmp_path: Path) -> None:
    """Layer norm, attention and gates: their copies give what the first pass gave."""
    family = {TinyVit: "vit", TinyGated: "gated"}[kind]
    source = foreign_source(family, "irregular")
    built = build(source, capture(source.model, (1, 8, 8)), Options())
    both(built, tmp_path)
    assert_same_training(tmp_path, (1, 8, 8))


def test_nothing_is_normalised_twice_and_no_copy_runs_early(
    models: dict[str, nn.Module], captures: Callable[[str, Source], Captured], tmp_path: Path
) -> None:
    """As many training batch norms as before, and every copy depends on the gradient at the end of its own block."""
    source = make_source(models["resnet"], "resnet", "irregular", 0.5)
    built = build(source, captures("resnet", source), Options())
    both(built, tmp_path)
    plain, recomputed = (onnx.load(tmp_path / name / TRAINING).graph for name in ("none", "blocks"))
    blocks = write_ort(built, OPTIMIZER, 0.1, "em", tmp_path / "blocks", "blocks").blocks
    count = [sum(node.op_type == "BatchNormInternal" for node in graph.node) for graph in (plain, recomputed)]
    assert count[0] == count[1] == 6
    makers = producers(recomputed)
    gates = {node.output[0]: node.input[1] for node in recomputed.node if node.op_type == "PassThrough"}
    assert gates == {f"{start}.held": f"{end}_grad" for start, end in blocks}
    copies = [node for node in recomputed.node if node.op_type in ("Conv", "Relu") and node.name.endswith(".again")]
    assert copies
    for copy in copies:
        value = copy.input[0]
        while value not in gates:
            value = makers[value].input[0]
        start = value.removesuffix(".held")
        assert dict(blocks)[start]
    wide = {"Conv", "Relu", "Add"}
    kept = {name for node in recomputed.node for name in node.input if "_grad" in "".join(node.input)}
    inside = {
        node.output[0] for node in recomputed.node if node.op_type in wide and f"{node.output[0]}.again" in makers
    }
    assert inside
    assert not inside & kept


def test_copies_of_batch_norms_only_multiply_and_add(
    models: dict[str, nn.Module], captures: Callable[[str, Source], Captured], tmp_path: Path
) -> None:
    """Those two round alike on every processor; a root or a quotient in a kernel of onnxruntime does not."""
    source = make_source(models["mobilenet"], "mobilenet", "irregular", 0.5)
    both(build(source, captures("mobilenet", source), Options()), tmp_path)
    plain, recomputed = (onnx.load(tmp_path / name / TRAINING).graph for name in ("none", "blocks"))
    norms = {node.output[0] for node in plain.node if node.op_type == "BatchNormInternal"}
    added = [
        node for node in recomputed.node if ".again" in node.output[0] and node.output[0].split(".again")[0] in norms
    ]
    assert {node.op_type for node in added} == {"Mul", "Sub", "Reshape", "Add"}


def test_blocks_end_where_residual_blocks_do(
    models: dict[str, nn.Module], captures: Callable[[str, Source], Captured], tmp_path: Path
) -> None:
    """No block begins or ends inside a shortcut."""
    source = make_source(models["resnet"], "resnet", "irregular", 0.5)
    built = build(source, captures("resnet", source), Options())
    blocks = write_ort(built, OPTIMIZER, 0.0, "em", tmp_path, "blocks").blocks
    ends = {value for block in blocks for value in block} - {"input"}
    assert ends
    assert ends <= {"conv1", "bn1", "relu", "layers.0.add", "layers.0.relu_2", "layers.1.add", "layers.1.relu_2"}


def test_where_nothing_can_be_recomputed_is_said(models: dict[str, nn.Module], tmp_path: Path) -> None:
    """Training the classifier alone keeps no activations; Nesterov has no graph at all; an unknown word is refused."""
    source = make_source(models["resnet"], "resnet", "irregular", 0.5)
    for options, message in (
        (
            Options(recompute="blocks", trainable="last:1"),
            "recompute blocks.* no part of the trained model.*use none",
        ),
        (Options(recompute="blocks", optimizer=OptimizerChoice(nesterov=True)), "recompute blocks .*Nesterov"),
        (Options(recompute="all"), "recompute all: allowed are none, blocks"),
    ):
        with pytest.raises(InputError, match=message):
            export_artifact(source, tmp_path / "art", options)
    assert not any(tmp_path.iterdir())


def test_plan_takes_the_exported_choice(models: dict[str, nn.Module], tmp_path: Path) -> None:
    """The manifest names the blocks, the estimate is smaller for them, and another choice is refused with both ways."""
    source = make_source(models["vgg"], "vgg", "irregular", 0.5)
    manifest = export_artifact(source, tmp_path / "art", Options(recompute="blocks"))
    assert manifest.ort["recompute"] == "blocks"
    assert check_artifact(tmp_path / "art")["agreement"]["ort"] < 1
    artifact = open_artifact(tmp_path / "art")
    engine = OrtPlanned(artifact, 0, 0)
    choices = Choices(batch_size=64, micro_batch=64, recompute="blocks", optimizer=artifact.optimizer)
    assert engine.refuses(choices) is None
    refused = engine.refuses(Choices(optimizer=artifact.optimizer))
    assert refused is not None
    assert "use recompute blocks or engine native" in refused
    assert engine.time_cost(choices) > engine.time_cost(Choices(batch_size=64, micro_batch=64))
    with_blocks = estimate(artifact.network, choices, blocks=manifest.ort["blocks"])
    assert with_blocks.arena.nbytes < 0.9 * estimate(artifact.network, choices).arena.nbytes
    assert any(buffer.name.endswith(" again") for buffer in with_blocks.buffers)


def test_board_fine_tunes_with_recomputed_blocks(tmp_path: Path) -> None:
    """The command line exports, plans, trains and reports the choice."""
    from mest.cli import main

    run, art = tmp_path / "run", tmp_path / "art"
    options = ["--data", "digits", "--sparsity", "0.8", "--epochs", "1", "--out", str(run), "--json"]
    assert main(["train", "--model", "digits", *options]) == 0
    assert main(["export", str(run), "--out", str(art), "--recompute", "blocks", "--json"]) == 0
    assert read_manifest(art).ort["blocks"]
    command = [sys.executable, "-m", "mest", "finetune", str(art), "--data", "digits", "--epochs", "1", "--json"]
    command += ["--engine", "ort", "--out", str(tmp_path / "state"), "--mutate", "em", "--mutate-every", "20"]
    around = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=around, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["plan"]["recompute"] == "blocks"
    assert told["zeros_kept"]
    assert told["plan"]["exact"]
    assert any("recomputed in the backward pass: exact" in note for note in told["plan"]["notes"])


@pytest.mark.slow
def test_a_third_less_memory_on_resnet32(tmp_path: Path) -> None:
    """The kernel's count at batch 32, by the measured line, is a third below keeping everything; so are the plans."""
    model = build_model(ModelSpec("resnet32", 10, (3, 32, 32)), seed=0).eval()
    source = Source(model, {}, (3, 32, 32), tuple(map(str, range(10))), {})
    built = build(source, capture(model, (3, 32, 32)), Options())
    peaks = {}
    for recompute in ("none", "blocks"):
        folder = tmp_path / recompute
        folder.mkdir()
        files = write_ort(built, OPTIMIZER, 0.0, "em", folder, recompute)
        found = measured_memory(folder, (3, 32, 32))
        assert found is not None
        peaks[recompute] = found["fixed_bytes"] + 32 * found["bytes_per_sample"]
        choices = Choices(recompute=recompute, optimizer=OPTIMIZER)  # type: ignore[arg-type]
        planned = estimate(built.network, choices, found, files.blocks).nbytes
        assert peaks[recompute] <= planned < 1.25 * peaks[recompute]
    assert peaks["blocks"] < 0.67 * peaks["none"]
