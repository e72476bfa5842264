"""Models over windows (channels x length) and vectors: both engines agree with PyTorch, whatever the shapes."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import edge
import export
import mest
from edge.engines.native.engine import NativeEngine
from edge.engines.reference import Reference
from edge.handover.manifest import Manifest
from edge.network import read_network
from edge.plan.choices import Choices, OptimizerChoice
from export.checks.check import check_artifact
from export.checks.observe import native_missing
from export.ort.files import missing
from mest.errors import InputError

pytestmark = pytest.mark.skipif(native_missing() is not None or missing() is not None, reason="needs both engines")
ARRAY = {"mode": "array", "mean": 0.0, "std": 1.0}


class Gated(nn.Module):
    """Norms of every kind, a gate, branches that are joined, and parameters in arithmetic."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv1d(3, 8, 5, stride=2, padding=2)
        self.norms = nn.Sequential(nn.GroupNorm(2, 8), nn.SiLU(), nn.InstanceNorm1d(8, affine=True))
        self.gate = nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Conv1d(8, 8, 1), nn.Sigmoid())
        self.left, self.right = nn.Conv1d(8, 4, 1), nn.Conv1d(8, 4, 3, padding=1)
        self.norm, self.scale = nn.LayerNorm(8), nn.Parameter(torch.ones(8, 1))
        self.whole = nn.LayerNorm([8, 21])
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norms(self.stem(x))
        x = x * self.gate(x) * self.scale
        x = torch.cat([self.left(x), self.right(x)], 1)
        x = self.norm(x.transpose(1, 2)).transpose(1, 2) + self.whole(x)
        return self.head(torch.relu(x).mean(-1))


class AsImage(nn.Module):
    """Windows that the model itself makes images of height 1."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(2, 4, 3), nn.Conv2d(4, 6, (1, 3))
        self.third, self.head = nn.Conv1d(6, 6, 3), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.second(self.first(x).unsqueeze(2))).squeeze(2)
        return self.head(self.third(x).mean(2))


def mean(channels: int, classes: int = 3) -> list[nn.Module]:
    """A head over the mean of each channel."""
    return [nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(channels, classes)]


MODELS = {
    "strides": lambda: nn.Sequential(nn.Conv1d(2, 6, 7, 3, 1), nn.ReLU(), nn.Conv1d(6, 5, 2, 2), nn.ReLU(), *mean(5)),
    "dilation": lambda: nn.Sequential(
        nn.Conv1d(2, 6, 3, padding=4, dilation=4), nn.Tanh(), nn.Conv1d(6, 4, 4), *mean(4)
    ),
    "groups": lambda: nn.Sequential(
        nn.Conv1d(2, 6, 3, groups=2), nn.ReLU(), nn.Conv1d(6, 6, 3, padding=1, groups=6), nn.Hardswish(), *mean(6)
    ),
    "max": lambda: nn.Sequential(
        nn.Conv1d(2, 4, 3), nn.MaxPool1d(3, 2, 1, ceil_mode=True), nn.Conv1d(4, 4, 1), *mean(4)
    ),
    "average": lambda: nn.Sequential(
        nn.Conv1d(2, 4, 3), nn.AvgPool1d(4, 3, 1, count_include_pad=False), nn.Flatten(), nn.LazyLinear(3)
    ),
    "batch norm": lambda: nn.Sequential(
        nn.Conv1d(2, 4, 3, bias=False), nn.BatchNorm1d(4), nn.ReLU6(), nn.Dropout(0.3), nn.Conv1d(4, 4, 3), *mean(4)
    ),
    "image": AsImage,
}


def exported(model: nn.Module, shape: tuple[int, ...], folder: Path, **more: object) -> Manifest:
    """The artifact, which was verified on every engine."""
    model(torch.zeros(2, *shape))  # lazy layers take their shapes
    manifest = export.export_model(model, folder, example_input=shape, **{"preprocess": ARRAY, **more})
    assert set(manifest.reference["agreement"]) == {"reference", "native", "ort"}
    return manifest


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("length", [23, 32])
def test_layers_over_windows(kind: str, length: int, tmp_path: Path) -> None:
    """The files keep the model's dimensions, and the network has windows of height 1."""
    torch.manual_seed(length)
    model = MODELS[kind]()
    manifest = exported(model, (2, length), tmp_path / "a")
    assert manifest.input == (2, length)
    assert manifest.preprocess["mode"] == "array"
    assert read_network(tmp_path / "a").input == (2, 1, length)
    kept = {tensor.name: list(tensor.dims) for tensor in onnx.load(tmp_path / "a" / "inference.onnx").graph.initializer}
    assert all(kept[name] == list(value.shape) for name, value in model.state_dict().items() if name in kept)
    session = onnxruntime.InferenceSession(tmp_path / "a" / "inference.onnx")
    inputs = torch.randn(3, 2, length)
    answers = session.run(None, {"input": inputs.numpy()})[0]
    np.testing.assert_allclose(answers, model.eval()(inputs).detach().numpy(), atol=1e-5)
    assert session.get_modelmeta().custom_metadata_map["input_layout"] == "NCL"


def test_norms_gates_and_parameters(tmp_path: Path) -> None:
    """Group, instance and layer norm, squeeze and excitation, joined branches, and the checks once more."""
    torch.manual_seed(1)
    exported(Gated(), (3, 41), tmp_path / "a")
    ops = [one.op for one in read_network(tmp_path / "a").operators]
    assert ops.count("layer_norm") == 1
    assert ops.count("group_norm") == 3
    assert set(check_artifact(tmp_path / "a")["agreement"]) == {"reference", "native", "ort"}


@pytest.mark.parametrize("shape", [(7,), (1,), (40,)])
def test_vectors(shape: tuple[int, ...], tmp_path: Path) -> None:
    """A perceptron over vectors, its input flattened from one pixel of many channels."""
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(*shape, 9), nn.BatchNorm1d(9), nn.GELU(), nn.Linear(9, 4))
    manifest = exported(model, shape, tmp_path / "a")
    network = read_network(tmp_path / "a")
    assert manifest.input == shape
    assert network.input == (*shape, 1, 1)
    assert network.operators[0].op == "flatten"


def test_spectrograms_are_numbers(tmp_path: Path) -> None:
    """Three dimensions of two channels: none of an image, which is said unless the mode says that they are numbers."""
    model = nn.Sequential(nn.Conv2d(2, 4, (5, 3), padding=(2, 1)), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert exported(model, (2, 13, 10), tmp_path / "a").input == (2, 13, 10)
    with pytest.raises(InputError, match=r"allowed are 1 \(grey\) and 3.*mode 'array'"):
        exported(model, (2, 13, 10), tmp_path / "b", preprocess={"mean": 0.0, "std": 1.0})


@pytest.mark.parametrize(("scheme", "sparsity"), [("irregular", 0.6), ("block:2", 0.5), ("channel", 0.5)])
@pytest.mark.parametrize("format", ["auto", "masked"])
def test_sparse_windows_go_there_and_back(scheme: str, sparsity: float, format: str, tmp_path: Path) -> None:
    """Own loop, artifact, a step on each engine, and back: zeros stay, shapes are the model's own."""
    torch.manual_seed(3)
    model = nn.Sequential(
        nn.Conv1d(2, 8, 5, padding=2), nn.ReLU(), nn.Conv1d(8, 12, 3, padding=1), nn.BatchNorm1d(12), nn.ReLU(),
        nn.Conv1d(12, 12, 3, 2), nn.ReLU(), nn.MaxPool1d(2), *mean(12),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    sparsifier = mest.sparsify(model, optimizer, scheme=scheme, sparsity=sparsity, method="em", epochs=1)
    sparsifier.start_epoch(0)
    inputs, labels = torch.randn(16, 2, 27), torch.arange(16) % 3
    nn.functional.cross_entropy(model(inputs), labels).backward()
    optimizer.step()
    exported(model, (2, 27), tmp_path / "a", sparsifier=sparsifier, format=format)
    for engine in ("native", "ort"):
        with edge.load(tmp_path / "a", engine=engine) as board:
            before = board.predict(inputs.numpy())
            np.testing.assert_allclose(before, model.eval()(inputs).detach().numpy(), atol=1e-4)
            board.train_step(inputs.numpy(), labels.numpy(), 0.1)
            assert board.zeros_kept
            after = board.predict(inputs.numpy())
            board.save(tmp_path / engine)
            (found,) = board.classify([np.zeros((2, 27), np.int16)], top=1)
            assert found.image == "image 0"
        restored = export.restore_state(tmp_path / engine, fresh := deepcopy(model))
        assert restored.engine == engine
        np.testing.assert_allclose(fresh.eval()(inputs).detach().numpy(), after, atol=1e-4)
        weights = fresh.state_dict()
        assert all(not weights[name][~mask].any() for name, mask in restored.masks.items())
        assert {name: value.shape for name, value in weights.items()} == {
            name: value.shape for name, value in model.state_dict().items()
        }


def random_model(seed: int) -> tuple[nn.Sequential, int]:
    """A model of a few layers over windows of two channels, and their length."""
    generator = np.random.default_rng(seed)
    channels, length, layers = 2, int(generator.integers(24, 60)), []
    left = length
    for _ in range(3):
        groups = int(generator.choice([1, 1, 2]))
        out, kernel = 2 * int(generator.integers(1, 6)), int(generator.integers(1, 6))
        stride, dilation, padding = (int(generator.integers(low, high)) for low, high in ((1, 3), (1, 3), (0, 4)))
        after = (left + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        if after < 3:
            break
        layers += [nn.Conv1d(channels, out, kernel, stride, padding, dilation, groups)]
        behind = [[nn.BatchNorm1d(out), nn.Tanh()], [nn.GroupNorm(2, out), nn.SiLU()], [nn.Tanh()]]
        layers += behind[generator.integers(3)]
        channels, left = out, after
    pool = [nn.AvgPool1d(2, 2), nn.MaxPool1d(3, 2, 1), nn.Identity()][generator.integers(3)]
    return nn.Sequential(*layers, pool, nn.Flatten(), nn.LazyLinear(3)), length


@pytest.mark.parametrize("seed", range(6))
def test_the_native_engine_follows_the_referee(seed: int, tmp_path: Path) -> None:
    """Random shapes: five steps with momentum, loss by loss, in pieces smaller than the batch."""
    torch.manual_seed(seed)
    model, length = random_model(seed)
    exported(model, (2, length), tmp_path / "a")
    network = read_network(tmp_path / "a")
    choices = Choices(batch_size=6, micro_batch=6, optimizer=OptimizerChoice(momentum=0.9))
    referee, engine = Reference(network, choices), NativeEngine.of(network, choices)
    generator = np.random.default_rng(seed)
    for _ in range(5):
        images = generator.standard_normal((6, 2, 1, length)).astype(np.float32)
        labels = generator.integers(0, 3, 6)
        wanted, found = (each.train_step(images, labels, 0.02).loss for each in (referee, engine))
        assert found == pytest.approx(wanted, abs=1e-4)
    np.testing.assert_allclose(engine.predict(images), referee.predict(images), atol=2e-3)
    engine.close()


@pytest.mark.parametrize(
    ("shape", "preprocess", "message"),
    [
        ((2, 27), {"mean": 0, "std": 1, "resize": 8}, "resize is for images"),
        ((2, 27), {"mean": [0, 0, 0], "std": 1}, r"one for each of the 2 channel\(s\)"),
        ((2, 27), {"mean": 0, "std": 0}, "give numbers above 0"),
        ((2, 27), {"mode": "RGB", "mean": 0, "std": 1}, "allowed is 'array'"),
        ((2, 0), {"mean": 0, "std": 1}, r"a board takes images \(channels, height, width\), windows"),
        ((1, 2, 3, 4, 5), {"mean": 0, "std": 1}, "a board takes images"),
    ],
)
def test_what_does_not_fit_is_refused(
    shape: tuple[int, ...], preprocess: dict[str, object], message: str, tmp_path: Path
) -> None:
    """In one line, with what is allowed."""
    model = nn.Sequential(nn.Conv1d(2, 4, 3), *mean(4))
    with pytest.raises(InputError, match=message):
        export.export_model(model, tmp_path / "a", example_input=shape, preprocess=preprocess)


def test_a_batch_of_windows_is_one_with_the_mode_alone(tmp_path: Path) -> None:
    """Three dimensions are one image's otherwise, whose channels are refused."""
    model = nn.Sequential(nn.Conv1d(2, 4, 3), *mean(4))
    batch = torch.zeros(5, 2, 27)
    export.export_model(model, tmp_path / "a", example_input=batch, preprocess=ARRAY)
    with pytest.raises(InputError, match="of windows"):
        export.export_model(model, tmp_path / "b", example_input=batch, preprocess={"mean": 0, "std": 1})
