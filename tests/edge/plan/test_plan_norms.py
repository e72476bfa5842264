"""Batch norms that see one value a channel: frozen for that piece by engine and referee alike, said, or refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from finetune_example import mest
from native_artifact import write_artifact, write_images
from native_check import assert_close, assert_step, batch, engine_tensors
from native_networks import Builder

import edge
from edge.engines.native.engine import NativeEngine
from edge.engines.native.planned import NativePlanned
from edge.engines.ort.planned import OrtPlanned
from edge.errors import InputError
from edge.libmest.library import available
from edge.network import BatchNorm, Network
from edge.plan.choices import Choices
from edge.plan.norms import lone_in_step, lone_norms
from edge.plan.process import DataNeeds
from edge.plan.search import Request, search

needs_native = pytest.mark.skipif(not available()[0], reason=f"needs the native engine: {available()[1]}")


def narrowing() -> Network:
    """Four batch norms over 4x4, 2x2, 1x1 and 1x1 cells, the last behind a linear layer, and a sum between two."""
    b = Builder((1, 8, 8), 3)
    x = b.relu(b.norm(b.conv("input", 8, stride=2)))
    x = b.relu(b.norm(b.conv(x, 8, stride=2, fmt="block")))
    y = b.norm(b.conv(x, 12, stride=2, fmt="csr"))
    x = b.relu(b.add(y, b.conv(x, 12, kernel=1, stride=2, padding=0)))
    x = b.norm(b.linear(b.flatten(x), 12, "csr"))
    b.linear(b.relu(x), 3)
    return b.network()


def norms(network: Network) -> list[BatchNorm]:
    return [operator for operator in network.operators if isinstance(operator, BatchNorm)]


LONE = tuple(norm.name for norm in norms(narrowing())[2:])


@pytest.mark.parametrize(
    ("choices", "names"),
    [
        (Choices(batch_size=2, micro_batch=2), ()),
        (Choices(batch_size=1, micro_batch=1), LONE),
        (Choices(batch_size=8, micro_batch=1), LONE),
        (Choices(batch_size=9, micro_batch=4), LONE),
        (Choices(batch_size=8, micro_batch=8, last_batch=1), LONE),
        (Choices(batch_size=8, micro_batch=4, last_batch=5), LONE),
        (Choices(batch_size=8, micro_batch=4, last_batch=6), ()),
        (Choices(batch_size=1, micro_batch=1, batch_norm="frozen"), ()),
    ],
)
def test_the_norms_with_one_value_follow_from_shapes(choices: Choices, names: tuple[str, ...]) -> None:
    """Whole batches, pieces, what a batch leaves over and the smaller batch at the end all count."""
    assert lone_norms(narrowing(), choices) == names


def test_a_single_step_is_looked_at_by_its_own_pieces() -> None:
    """Five samples in pieces of four leave one; eight do not."""
    choices = Choices(batch_size=8, micro_batch=4)
    assert lone_in_step(narrowing(), choices, 5) == LONE
    assert lone_in_step(narrowing(), choices, 8) == ()


@needs_native
@pytest.mark.parametrize("recompute", ["none", "activations", "blocks"])
@pytest.mark.parametrize(("batch_size", "micro_batch", "count"), [(1, 1, 1), (4, 1, 4), (5, 4, 5), (6, 6, 1)])
def test_engine_and_referee_freeze_the_same_norms(batch_size, micro_batch, count, recompute) -> None:
    """Three steps whose pieces of one sample leave two of four batch norms a single value."""
    choices = Choices(batch_size=batch_size, micro_batch=micro_batch, threads=2, recompute=recompute)
    assert_step(narrowing(), choices, count=count, steps=3, tolerance=2e-4)


@needs_native
def test_pytorch_with_those_norms_in_evaluation_mode_agrees() -> None:
    """Batch norms over single values, left in evaluation mode by hand in PyTorch, give the engine's step."""
    torch = pytest.importorskip("torch", reason="needs PyTorch as the referee")
    from torch import nn

    network, choices = narrowing(), Choices(batch_size=1, micro_batch=1)
    images, labels = batch(network, 1)
    values = {name: torch.from_numpy(_dense(network, name)) for name in network.parameters}
    for name in network.parameters:
        values[name].requires_grad_(network.parameters[name].trainable)
    found = {"input": torch.from_numpy(images)}
    for op in network.operators:
        x, p = found[op.inputs[0]], {role: values[name] for role, name in op.parameters().items()}
        if op.op == "conv":
            x = nn.functional.conv2d(x, p["weight"], None, op.stride, op.padding[:2])
        elif op.op == "linear":
            x = nn.functional.linear(x, p["weight"], p["bias"])
        elif op.op == "batch_norm":
            train = op.name not in LONE
            x = nn.functional.batch_norm(x, p["mean"], p["variance"], p["scale"], p["shift"], train, 0.1, 1e-5)
        elif op.op == "flatten":
            x = x.flatten(1)
        else:
            x = torch.relu(x) if op.op == "relu" else x + found[op.inputs[1]]
        found[op.name] = x
    loss = nn.functional.cross_entropy(found[network.logits], torch.from_numpy(labels))
    loss.backward()
    engine = NativeEngine.of(network, choices)
    result = engine.train_step(images, labels, 0.0)
    assert abs(result.loss - float(loss.detach())) < 1e-5
    ours = engine_tensors(network, engine.snapshot(), "gradient")
    masks = {name: _dense(network, name) != 0 for name in network.sparse_parameters()}
    truth = {name: values[name].grad.numpy() * masks.get(name, 1) for name in ours if values[name].grad is not None}
    assert_close({name: ours[name] for name in truth}, truth, 1e-4)
    statistics = engine_tensors(network, engine.snapshot())
    for norm in norms(network):
        moved = np.abs(statistics[norm.variance] - network.parameters[norm.variance].values).max()
        assert (moved > 0) == (norm.name not in LONE)
        assert_close(
            {"mean": statistics[norm.mean], "variance": statistics[norm.variance]},
            {"mean": values[norm.mean].detach().numpy(), "variance": values[norm.variance].detach().numpy()},
            1e-5,
        )


def _dense(network: Network, name: str) -> np.ndarray:
    from edge.weight.formats import decode

    return decode(network.parameters[name]).copy()


class Opened:
    """What both engines are asked through, without a library."""

    def __init__(self, network: Network) -> None:
        from edge.handover.manifest import Manifest

        self.network = network
        self.manifest = Manifest(
            tools={}, input=network.input, preprocess={}, class_names=("a", "b", "c"), optimizer={}, ort={}
        )


def test_a_plan_says_which_norms_it_freezes_and_exact_refuses() -> None:
    """In its notes, in its JSON, and as not exact; with --exact one line says what to do."""
    planned = NativePlanned(Opened(narrowing()), 0, 0)
    plan = search(planned, Request(batch_size=8, last_batch=1), DataNeeds(), None).plan
    assert (plan.exact, plan.frozen_norms, plan.chosen()["frozen_norms"]) == (False, LONE, list(LONE))
    assert any(all(name in note for name in LONE) and "changes the result" in note for note in plan.notes)
    whole = search(planned, Request(batch_size=8, last_batch=2), DataNeeds(), None).plan
    assert (whole.exact, whole.frozen_norms, whole.notes) == (True, (), ())
    with pytest.raises(InputError, match=r"single sample .*last batch of 1.*exact forbids.*leave no single sample"):
        search(planned, Request(batch_size=8, last_batch=1, exact=True), DataNeeds(), None)
    assert search(
        planned, Request(batch_size=8, last_batch=1, exact=True, batch_norm="frozen"), DataNeeds(), None
    ).plan.exact


def test_an_engine_that_cannot_freeze_single_norms_refuses() -> None:
    """onnxruntime-training always trains batch norm; for predictions alone nothing is refused."""
    planned = OrtPlanned(Opened(narrowing()), 0, 0)
    with pytest.raises(InputError, match=r"engine ort: batch norms .* its training graph cannot freeze"):
        search(planned, Request(batch_size=8, last_batch=1), DataNeeds(), None)
    assert (
        search(planned, Request(batch_size=8, last_batch=2, recompute="none"), DataNeeds(), None).plan.engine == "ort"
    )
    assert not search(planned, Request(batch_size=1, trains=False), DataNeeds(), None).plan.frozen_norms


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """The narrowing network as an artifact, and 25 images: with a tenth held out, a batch of 7 leaves one of 22."""
    folder = tmp_path_factory.mktemp("narrowing")
    return write_artifact(folder / "artifact", narrowing()), write_images(folder / "images.npz", narrowing(), 25)


@needs_native
def test_a_run_keeps_the_statistics_that_single_samples_cannot_move(artifact, tmp_path) -> None:
    """Batch 1: plan, text and record name the two norms; their running variance is as exported, the others' moved."""
    path, data = artifact
    command = (path, "--data", data, "--batch-size", 1, "--threads", 1)
    plan = json.loads(mest("plan", *command, "--json").stdout)
    assert plan["plan"]["frozen_norms"] == list(LONE)
    done = mest("finetune", *command, "--epochs", 2, "--out", tmp_path / "s", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["plan"]["frozen_norms"] == list(LONE)
    assert LONE[0] in done.stderr
    assert any(LONE[0] in note for note in json.loads((tmp_path / "s" / "record.json").read_text())["plan"]["notes"])
    with edge.load(tmp_path / "s", engine="native") as model:
        tensors = model._session.engine.snapshot()
    for norm in norms(narrowing()):
        exported = narrowing().parameters[norm.variance].values
        assert np.array_equal(tensors[f"{norm.variance}/values"], exported) == (norm.name in LONE)
    refused = mest("finetune", *command, "--exact", "--out", tmp_path / "t")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr


@needs_native
def test_a_last_batch_of_one_is_planned_for(artifact) -> None:
    """22 samples in batches of 7 end in a single one, in batches of 11 they do not."""
    path, data = artifact
    frozen = {}
    for size in (7, 11):
        done = mest("plan", path, "--data", data, "--batch-size", size, "--json")
        frozen[size] = json.loads(done.stdout)["plan"]["frozen_norms"]
    assert frozen == {7: list(LONE), 11: []}


@needs_native
def test_a_step_of_ones_own_over_one_image_says_what_it_froze(artifact) -> None:
    """`edge.load` plans for any number of samples; a step names the norms, and an exact request refuses it."""
    path, _ = artifact
    images, labels = batch(narrowing(), 4)
    with edge.load(path, engine="native", request=Request(batch_size=4)) as model:
        assert model.train_step(images, labels, 0.01).frozen_norms == ()
        assert model.train_step(images[:1], labels[:1], 0.01).frozen_norms == LONE
    with edge.load(path, engine="native", request=Request(batch_size=4, exact=True)) as model:
        before = {name: array.copy() for name, array in model._session.engine.snapshot().items()}
        with pytest.raises(InputError, match="the request was exact"):
            model.train_step(images[:1], labels[:1], 0.01)
        assert all(np.array_equal(before[name], array) for name, array in model._session.engine.snapshot().items())
