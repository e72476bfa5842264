"""Windows of sensor samples and vectors walk the road by its commands, on both engines, and come back."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from export.checks.observe import native_missing
from export.ort.files import missing
from mest.cli import main

pytestmark = pytest.mark.skipif(native_missing() is not None or missing() is not None, reason="needs both engines")
MODELS = """
from torch import nn


def cnn(num_classes, in_channels):
    return nn.Sequential(
        nn.Conv1d(in_channels, 8, 5, padding=2), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(2),
        nn.Conv1d(8, 16, 3, padding=1), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Conv1d(16, 16, 3, 2),
        nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(16, num_classes))


def mlp(num_classes, in_features):
    return nn.Sequential(nn.Linear(in_features, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, num_classes))


def words(num_classes, in_channels):
    return nn.Sequential(
        nn.Conv2d(in_channels, 8, (5, 3), (2, 1), (2, 1)), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.Conv2d(8, 12, 1), nn.BatchNorm2d(12),
        nn.ReLU(), nn.Flatten(), nn.Linear(12 * 9 * 6, num_classes))
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with models of one's own and three sets: waves of three lengths, vectors, and spectrograms."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sensors", raising=False)
    (tmp_path / "sensors.py").write_text(MODELS, encoding="utf-8")
    generator = np.random.default_rng(0)
    labels = np.arange(240) % 3
    waves = np.sin(np.arange(37) * (0.2 + 0.4 * labels[:, None]) + generator.uniform(0, 6, (240, 1)))
    windows = np.stack([1000 * waves + 300, 5 * waves], 1) + generator.normal(0, 2, (240, 2, 37))
    np.savez("plain.npz", inputs=windows.astype(np.float32), labels=labels)
    np.savez("cnn.npz", inputs=windows.round().astype(np.int16), labels=labels, class_names=np.array(["a", "b", "c"]))
    vectors = generator.normal(0, 1, (240, 11)) + 3 * np.eye(3, 11)[labels] + np.arange(11)
    np.savez("mlp.npz", inputs=vectors.astype(np.float32), labels=labels)
    sounds = generator.normal(0, 1, (240, 1, 17, 6)) + 2 * np.eye(3).repeat([6, 6, 5], 1)[labels][:, None, :, None]
    np.savez_compressed("words.npz", inputs=sounds.astype(np.float32), labels=labels)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    """What a command answers as JSON."""
    capsys.readouterr()
    assert main([*words, "-q", "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


ROADS = [("cnn", "irregular"), ("cnn", "channel"), ("mlp", "block"), ("words", "channel")]


@pytest.mark.parametrize(("model", "scheme"), ROADS)
def test_the_road(model: str, scheme: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Train, export, verify, plan, fine-tune, predict, evaluate, profile, and back into a run."""
    data = f"{model}.npz"
    options = ["--scheme", scheme, "--sparsity", "0.5", "--epochs", "4", "--batch-size", "16", "--device", "cpu"]
    run = said(capsys, "train", "--data", data, "--model", f"sensors:{model}", *options, "--out", "run")
    assert run["accuracy"] > 0.6
    manifest = said(capsys, "export", "run", "--out", "art")
    assert set(manifest["reference"]["agreement"]) == {"reference", "native", "ort"}
    assert manifest["preprocess"]["mode"] == "array"
    assert list(np.load(data)["inputs"].shape[1:]) == manifest["input"]
    said(capsys, "verify", "art")
    on_run = said(capsys, "eval", "run", "--data", data)
    for engine in ("native", "ort"):
        assert said(capsys, "plan", "art", "--engine", engine, "--data", data)["engine"] == engine
        assert said(capsys, "eval", "art", "--engine", engine, "--data", data)["accuracy"] == on_run["accuracy"]
        mutate = ["--mutate", "em", "--mutate-every", "3"] if scheme != "channel" else []
        options = ["--engine", engine, "--epochs", "1", "--lr", "0.001", *mutate]
        state = said(capsys, "finetune", "art", "--data", data, *options, "--out", engine)
        assert state["zeros_kept"]
        predicted = said(capsys, "predict", engine, data)["predictions"]
        assert [one["image"] for one in predicted[:2]] == [f"{data}[0]", f"{data}[1]"]
        right = np.mean([one["class"] for one in predicted] == _names(data))
        assert said(capsys, "eval", engine, "--data", data)["accuracy"] == pytest.approx(right)
        said(capsys, "export", engine, "--out", f"{engine}-run")
        assert said(capsys, "eval", f"{engine}-run", "--data", data)["accuracy"] == pytest.approx(right, abs=0.01)
        assert main(["profile", "art", "-q", "--engine", engine, "--steps", "1", "--out", f"{engine}-report"]) == 0


def _names(data: str) -> np.ndarray:
    """The class name of every entry."""
    with np.load(data) as file:
        names = file["class_names"] if "class_names" in file.files else np.array(["0", "1", "2"])
        return np.asarray(names[file["labels"]])


def test_a_checkpoint_of_ones_own(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its input shape says that it takes windows, or vectors."""
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("sensors")
    for name, shape in (("cnn", "2x37"), ("mlp", "11")):
        model = getattr(models, name)(3, int(shape.partition("x")[0]))
        torch.save(model.state_dict(), f"{name}.pt")
        told = ["--model", f"sensors:{name}", "--input-shape", shape, "--class-names", "3", "--mean", "1", "--std", "2"]
        manifest = said(capsys, "export", f"{name}.pt", *told, "--out", name)
        assert "x".join(map(str, manifest["input"])) == shape
        assert manifest["preprocess"]["mode"] == "array"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train --data cnn.npz --model sensors:cnn --augment crop --out x", "--augment crop: is for images"),
        ("train --data cnn.npz --model sensors:cnn --image-size 8 --out x", "--image-size: is for images"),
        ("train --data cnn.npz --model sensors:cnn --unreadable skip --out x", "--unreadable skip: is for image"),
        (
            "train --data cnn.npz --model digits --out x",
            "takes images, the data hold windows (channels, length) of 2x37",
        ),
        ("train --data cnn.npz --model torchvision:resnet18 --out x", "takes images, the data hold windows"),
        ("train --data mlp.npz --model digits --out x", "takes images, the data hold vectors (features,) of 11"),
        ("train --data bad.npz --model sensors:mlp --out x", "1 of the inputs' numbers are not finite"),
        ("train --data cnn.npz --model sensors:cnn --scheme pattern --out x", "it has kernels of length 3"),
        ("eval run --data digits", "holds images; give an npz file with 'inputs' and 'labels'"),
        ("eval run --data plain.npz", "of 2x37 where the run takes 11"),
        ("train --from run --data plain.npz --out x", "mlp needs in_features"),
        ("finetune art --data mlp.npz --augment flip --out x", "--augment flip: is for images"),
        ("finetune art --data plain.npz --out x", "an input of 2x37 numbers, the model takes 11"),
        ("eval art --data .", "is a folder, and the model takes windows or vectors"),
        ("predict art -", "give npz files that hold them as 'inputs'"),
        ("predict art cnn.npz", "cnn.npz[0]: an input of 2x37 numbers, the model takes 11"),
    ],
)
def test_what_is_of_images_is_refused(
    words: str, message: str, place: Path, walked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, with exit code 2."""
    vectors = np.load("mlp.npz")["inputs"].copy()
    vectors[3, 5] = np.nan
    np.savez("bad.npz", inputs=vectors, labels=np.arange(240) % 3)
    for name in ("run", "art"):
        (place / name).symlink_to(walked / name)
    capsys.readouterr()
    assert main([*words.split(), "-q"]) == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert message in err[-1]


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over vectors and its artifact."""
    folder = tmp_path_factory.mktemp("walked")
    generator = np.random.default_rng(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        patch.delitem(sys.modules, "sensors", raising=False)
        (folder / "sensors.py").write_text(MODELS, encoding="utf-8")
        inputs = generator.normal(0, 1, (60, 11)).astype(np.float32)
        np.savez("mlp.npz", inputs=inputs, labels=np.arange(60) % 3)
        options = ["--epochs", "1", "--sparsity", "0.5", "--device", "cpu"]
        assert main(["train", "-q", "--data", "mlp.npz", "--model", "sensors:mlp", *options, "--out", "run"]) == 0
        assert main(["export", "-q", "run", "--out", "art"]) == 0
    return folder
