"""What a model does in training alone: frozen parts stay frozen in every engine, the rest is refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CLASSES, INPUT, make_source
from torch import nn
from torch.nn import functional

from edge.handover.artifact import open_artifact
from edge.network import BatchNorm, read_network
from edge.plan.choices import Choices
from export.artifact import build, export_artifact
from export.capture import capture
from export.checks.agreement import DisagreementError, make_batch
from export.checks.observe import native_missing
from export.checks.verify import expect
from export.options import Options
from export.ort.files import missing
from export.ort.session import Session
from export.source import Source
from export.sparse_layer import SparseLayer
from mest.errors import InputError


class Net(nn.Module):
    """Two convolutions with batch norm and a classifier, in the order stem, body."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3)
        self.bn2 = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, CLASSES)

    def stem(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.bn1(self.conv1(x)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.bn2(self.conv2(self.stem(x))))
        return self.fc(functional.dropout(x.mean((2, 3)), 0.3, training=self.training))


class Alias(Net):
    """Layers registered a second time, in containers that forward uses."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(self.conv1, self.bn1, nn.ReLU())
        self.head = nn.Sequential(nn.Dropout(0.3), self.fc)
        self.second = self.conv2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(functional.relu(self.bn2(self.second(self.first(x)))).mean((2, 3)))


class FrozenNorm(Net):
    """The first batch norm stays in evaluation mode."""

    def train(self, mode: bool = True) -> FrozenNorm:
        super().train(mode)
        self.bn1.eval()
        return self


class NoGradient(Net):
    """The stem is computed without a gradient."""

    def stem(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return super().stem(x)


def source_of(model: nn.Module, sparse: str | None = None) -> Source:
    """A source with one sparse layer of half its weights."""
    layers = {}
    if sparse:
        weight = model.get_parameter(sparse)
        mask = np.random.default_rng(0).permutation(weight.numel()).reshape(weight.shape) % 2 == 0
        with torch.no_grad():
            weight.mul_(torch.from_numpy(mask))
        layers[sparse] = SparseLayer(sparse, "irregular", None, 0.5, mask)
    names = tuple(str(number) for number in range(CLASSES))
    preprocess = {"mode": "RGB", "resize": None, "crop": None, "interpolation": "bilinear", "mean": [0.5] * 3}
    return Source(model.eval(), layers, INPUT, names, preprocess | {"std": [1.0] * 3})


def made(kind: type[nn.Module]) -> nn.Module:
    """The same model every time, its statistics away from 0 and 1."""
    torch.manual_seed(0)
    model = kind()
    for norm in (model.bn1, model.bn2):
        norm.running_mean.normal_(0, 0.2)
        norm.running_var.uniform_(0.5, 1.5)
    return model


def moved(out: Path, steps: int = 2) -> dict[str, set[str]]:
    """The parameters that a few steps move, by engine that is here."""
    network = read_network(out)
    batch = make_batch(INPUT, CLASSES, "sgd")
    found = {}
    if native_missing() is None:
        from edge.engines.native.engine import NativeEngine

        engine = NativeEngine.of(network, Choices(batch_size=8, micro_batch=8))
        before = {name: array.copy() for name, array in engine.snapshot().items() if name.endswith("/values")}
        for _ in range(steps):
            engine.train_step(batch.images, batch.labels, 0.1)
        after = engine.snapshot()
        found["native"] = {
            name.removesuffix("/values") for name, array in before.items() if not np.array_equal(after[name], array)
        }
        engine.close()
    if missing() is None:
        session = Session(out)
        held = {name: array.copy() for name, array in session.parameters().items()}
        for _ in range(steps):
            session.train_step(batch.images, batch.labels, 0.1)
        later = session.parameters()
        names = open_artifact(out).manifest.ort["parameters"]
        own = {written["values"]: name for name, written in names.items()}
        changed = [name for name in held.keys() & later.keys() if not np.array_equal(later[name], held[name])]
        found["ort"] = {own.get(name, name) for name in changed}
    return found


def test_module_registered_twice_is_trained_under_its_first_name(tmp_path: Path) -> None:
    """Parameters and statistics are matched by identity, and one step of every engine moves all of them."""
    model = made(Alias)
    manifest = export_artifact(source_of(model, "conv2.weight"), tmp_path / "art", Options(measure=False))
    assert max(manifest.reference["agreement"].values()) < 1
    network = read_network(tmp_path / "art")
    assert {n for n, p in network.parameters.items() if p.trainable} == {n for n, _ in model.named_parameters()}
    assert network.parameters["conv2.weight"].format == "csr"
    for engine, names in moved(tmp_path / "art").items():
        assert names >= {name for name, _ in model.named_parameters()}, engine


def test_sparse_layer_keeps_the_name_that_it_was_given() -> None:
    """A mask under a later name makes that the tensor's name."""
    captured = capture(made(Alias), INPUT, ["second.weight"])
    assert "second.weight" in captured.parameters
    assert "conv2.weight" not in captured.parameters
    assert "first.0.weight" not in captured.parameters


def test_frozen_parameters_stay_frozen_on_the_board(tmp_path: Path) -> None:
    """requires_grad=False is in network.json, and no engine moves such a parameter, sparse or dense."""
    model = made(Net)
    for parameter in (*model.conv1.parameters(), *model.bn1.parameters(), model.conv2.weight):
        parameter.requires_grad_(False)
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    export_artifact(source_of(model, "conv2.weight"), tmp_path / "art", Options(measure=False))
    network = read_network(tmp_path / "art")
    statistics = {name for name in network.parameters if "running" in name}
    assert {name for name, parameter in network.parameters.items() if not parameter.trainable} == frozen | statistics
    assert open_artifact(tmp_path / "art").mutation_targets() == {}
    for engine, names in moved(tmp_path / "art").items():
        assert not names & frozen, engine
        assert {"conv2.bias", "fc.weight"} <= names, engine
    assert not [p for p in model.parameters() if p.grad is not None]


def test_features_without_a_gradient_are_exported_frozen(tmp_path: Path) -> None:
    """What no_grad keeps from training in PyTorch no board trains either; its batch norm still follows the batch."""
    manifest = export_artifact(source_of(made(NoGradient)), tmp_path / "art", Options(measure=False))
    assert max(manifest.reference["agreement"].values()) < 1
    for engine, names in moved(tmp_path / "art").items():
        assert not names & {"conv1.weight", "conv1.bias", "bn1.weight", "bn1.bias"}, engine
        assert {"bn1.running_mean", "conv2.weight"} <= names, engine


def test_batch_norm_kept_in_evaluation_is_exported_frozen(tmp_path: Path) -> None:
    """Its statistics stay, its scale and shift train, in the network's own words and in every engine."""
    manifest = export_artifact(source_of(made(FrozenNorm)), tmp_path / "art", Options(measure=False))
    assert max(manifest.reference["agreement"].values()) < 1
    norms = [op for op in read_network(tmp_path / "art").operators if isinstance(op, BatchNorm)]
    assert [norm.frozen for norm in norms] == [True, False]
    assert (tmp_path / "art" / "network.json").read_text().count('"frozen": true') == 1
    for engine, names in moved(tmp_path / "art").items():
        assert not names & {"bn1.running_mean", "bn1.running_var"}, engine
        assert {"bn1.weight", "bn1.bias", "bn2.running_mean"} <= names, engine


def test_training_that_is_not_evaluation_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """Exit code 2, the place and what to do."""

    class Branching(Net):
        def stem(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * super().stem(x) if self.training else super().stem(x)

    with pytest.raises(InputError, match="the model computes something else while training than in evaluation"):
        export_artifact(source_of(made(Branching)), tmp_path / "art", Options(measure=False))
    assert not any(tmp_path.iterdir())


def test_layer_that_forward_never_uses_is_left_out(tmp_path: Path) -> None:
    """Masked or not: the run is exported without it, and it is said."""

    class Skipping(Net):
        def __init__(self) -> None:
            super().__init__()
            self.spare = nn.Conv2d(8, 8, 3)

    said: list[str] = []
    export_artifact(source_of(made(Skipping), "spare.weight"), tmp_path / "art", Options(measure=False), said.append)
    assert "left out, for forward never uses it: spare.bias, spare.weight" in said
    assert "spare.weight" not in read_network(tmp_path / "art").parameters


def test_auxiliary_classifiers_are_left_out(tmp_path: Path) -> None:
    """A model that gives a tuple while training is exported by its first logits."""

    class Auxiliary(Net):
        def __init__(self) -> None:
            super().__init__()
            self.auxiliary = nn.Linear(8, CLASSES)

        def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
            x = self.stem(x)
            logits = self.fc(functional.relu(self.bn2(self.conv2(x))).mean((2, 3)))
            return (logits, self.auxiliary(x.mean((2, 3)))) if self.training else logits

    manifest = export_artifact(source_of(made(Auxiliary)), tmp_path / "art", Options(measure=False))
    assert max(manifest.reference["agreement"].values()) < 1
    assert "auxiliary.weight" not in read_network(tmp_path / "art").parameters


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
def test_wrapped_model_is_exported_as_what_is_in_it(wrap: type[nn.Module]) -> None:
    """Data-parallel and compiled models, under the names without the wrapper's."""
    captured = capture(wrap(made(Net)), INPUT)
    assert captured.parameters == tuple(name for name, _ in made(Net).named_parameters())


def test_parameter_that_the_graph_would_not_train_is_seen(models: dict[str, nn.Module]) -> None:
    """PyTorch's own step decides what is trained, not the names that were exported."""
    source = make_source(models["resnet"], "resnet", "irregular", 0.5)
    captured = capture(source.model, INPUT)
    built = build(source, replace(captured, parameters=captured.parameters[1:]), Options())
    batch = make_batch(INPUT, CLASSES, "sgd")
    with pytest.raises(DisagreementError, match=r"conv1\.weight: has a gradient in PyTorch"):
        expect(source, built.trained, (), batch, source.optimizer, 0.0, built.captured.trainable)
