"""The README's road with photos of mixed sizes and formats: the same images and the same accuracy for everyone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps, features

from edge.engines.available import engine_available
from edge.host.counters import untrusted_reason
from mest.cli import main
from mest.data import Preprocess
from mest.packaged import DATA_SETS
from mest.train.run import load_run

CLASSES = ("caf\u00e9", "one", "two")
TRAINED, TESTED = 30, 10  # of each class
needs_native = pytest.mark.skipif(not engine_available("native")[0], reason="needs the native engine")


def save_photo(digit: np.ndarray, folder: Path, number: int) -> None:
    """A digit as some device would save it: one of nine formats and sizes in turn."""
    width, height = ((40, 30), (64, 64), (31, 57), (120, 80))[number % 4]
    side = min(width, height)
    image = Image.new("RGB", (width, height))
    picture = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC).convert("RGB")
    image.paste(picture, ((width - side) // 2, (height - side) // 2))
    exif = Image.Exif()
    exif[0x0112] = 6
    save = [
        lambda: image.save(folder / f"{number}.jpg", quality=95),
        lambda: image.transpose(Image.Transpose.ROTATE_90).save(folder / f"{number}.JPEG", exif=exif, quality=95),
        lambda: image.resize((width * 12, height * 12)).save(folder / f"{number}.jfif", progressive=True),
        lambda: image.convert("RGBA").save(folder / f"{number}.png"),
        lambda: image.convert("P").save(folder / f"{number}.gif"),
        lambda: image.convert("CMYK").save(folder / f"{number}.tif"),
        lambda: image.save(folder / f"{number}.bmp"),
        lambda: Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(folder / f"{number}.png"),
        lambda: image.save(folder / f"{number}.webp" if features.check("webp") else folder / f"{number}.ppm"),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    save[number % len(save)]()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train/ and test/ of three classes, one of which is spelt in another Unicode form in test/."""
    root = tmp_path_factory.mktemp("photos")
    with np.load(DATA_SETS["digits"]) as file:
        images, labels = file["images"], file["labels"]
    for label, name in enumerate(CLASSES):
        members = images[labels == label]
        for number in range(TRAINED + TESTED):
            part, shown = ("train", name) if number < TRAINED else ("test", name.replace("\u00e9", "e\u0301"))
            save_photo(members[number], root / part / shown, number)
    (root / "train" / "one" / "Thumbs.db").touch()
    return root


@pytest.fixture(scope="module")
def road(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run and the artifact of a small network trained on the photos."""
    out = tmp_path_factory.mktemp("road")
    words = ["--model", "digits", "--data", str(photos), "--sparsity", "0.5", "--epochs", "6", "--device", "cpu"]
    words += ["--lr", "0.05", "--batch-size", "16", "--out", str(out / "run")]
    assert main(["train", *words]) == 0
    assert main(["export", str(out / "run"), "--out", str(out / "artifact")]) == 0
    return out


def answer(capsys: pytest.CaptureFixture[str], *words: object) -> dict:
    """The JSON of a command that ends well."""
    capsys.readouterr()
    assert main([*map(str, words), "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def by_hand(file: Path, plan: dict) -> np.ndarray:
    """The network's input of a file, in the steps that docs/artifact.md names, with Pillow's own functions."""
    with Image.open(file) as image:
        side, (width, height) = plan["resize"], image.size
        if image.getexif().get(0x0112, 1) > 4 and image.format != "TIFF":
            width, height = height, width
        target = max(side, side * width // min(width, height)), max(side, side * height // min(width, height))
        if image.format == "JPEG":
            turned = (width, height) != image.size
            image.draft(None, (2 * target[turned], 2 * target[not turned]))
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        image = image.convert(plan["mode"]).resize(target, Image.Resampling[plan["interpolation"].upper()])
        crop_height, crop_width = plan["crop"]
        left, top = (image.width - crop_width) // 2, (image.height - crop_height) // 2
        image = image.crop((left, top, left + crop_width, top + crop_height))
        scaled = np.asarray(image).astype(np.float32).transpose(2, 0, 1) / 255
    mean, std = (np.array(plan[name], np.float32)[:, None, None] for name in ("mean", "std"))
    return (scaled - mean) / std


def test_the_run_keeps_how_photos_become_its_input(road: Path, photos: Path) -> None:
    """The usual size of the model, for photos of many sizes; all of them colour, for one is."""
    manifest = json.loads((road / "artifact" / "manifest.json").read_text())
    plan = manifest["preprocess"]
    assert (plan["mode"], plan["resize"], plan["crop"]) == ("RGB", 8, [8, 8])
    assert manifest["class_names"] == list(CLASSES)
    summary = json.loads((road / "run" / "summary.json").read_text())
    assert summary["images"] == {"training": 81, "validation": 9, "test": 30, "skipped": 0}


def test_everyone_sees_the_same_photos_and_says_the_same(road: Path, photos: Path, capsys) -> None:
    """`mest eval` of run and artifact, PyTorch and ONNX Runtime by hand: one count and one accuracy."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="no ONNX Runtime is installed")
    plan = json.loads((road / "artifact" / "manifest.json").read_text())["preprocess"]
    files = sorted(file for file in (photos / "test").rglob("*") if file.is_file())
    images = np.stack([by_hand(file, plan) for file in files])
    ours = [Preprocess.from_dict(plan).pixels(Image.open(file)) for file in files]
    mean, std = (np.array(plan[name]).reshape(3, 1, 1) for name in ("mean", "std"))
    np.testing.assert_array_equal(np.rint((images * std + mean) * 255), np.stack(ours).transpose(0, 3, 1, 2))
    labels = np.array([0 if "caf" in file.parent.name else CLASSES.index(file.parent.name) for file in files])
    with torch.no_grad():
        torch_logits = load_run(road / "run").model(torch.from_numpy(images)).numpy()
    session = onnxruntime.InferenceSession(
        str(road / "artifact" / "inference.onnx"), providers=["CPUExecutionProvider"]
    )
    (onnx_logits,) = session.run(None, {session.get_inputs()[0].name: images})
    expected = float((torch_logits.argmax(1) == labels).mean())
    assert float((onnx_logits.argmax(1) == labels).mean()) == expected > 0.5
    for model in ("run", "artifact"):
        for data in (photos, photos / "test", f"imagefolder:{photos / 'test'}"):
            found = answer(capsys, "eval", road / model, "--data", data)
            assert (found["images"], found["samples"]) == (len(files), len(files)) == (30, 30)
            assert found["accuracy"] == pytest.approx(expected, abs=1e-9)
    whole = answer(capsys, "eval", road / "run", "--data", photos / "train")
    assert whole["images"] == answer(capsys, "eval", road / "artifact", "--data", photos / "train")["images"] == 90


@needs_native
def test_the_road_is_walked_with_photos(road: Path, photos: Path, tmp_path: Path, capsys) -> None:
    """Fine-tune on train/ within a budget, evaluate and predict, and go back: state and run agree on every photo."""
    state = tmp_path / "state"
    words = ["finetune", road / "artifact", "--data", photos / "train", "--memory-budget", "64MiB", "--mutate", "em"]
    words += ["--epochs", "2", "--lr", "0.01", "--out", state, "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "mest", *map(str, words)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    tuned = json.loads(done.stdout)
    assert (tuned["samples_train"] + tuned["samples_held_out"], tuned["samples_skipped"]) == (90, 0)
    assert "left out are 1 files that are not read as images (1 .db)" in done.stderr
    if untrusted_reason() is None:
        assert tuned["within_budget"]
    assert main(["export", str(state), "--out", str(tmp_path / "run2")]) == 0
    board = answer(capsys, "eval", state, "--data", photos / "test")
    workstation = answer(capsys, "eval", tmp_path / "run2", "--data", photos / "test")
    assert board["images"] == workstation["images"] == 30
    assert board["accuracy"] == pytest.approx(workstation["accuracy"], abs=1e-9)
    found = answer(capsys, "predict", state, *sorted((photos / "test" / "two").iterdir()))
    assert len(found["predictions"]) == TESTED


@needs_native
def test_photos_of_twelve_megapixels_stay_within_their_plan(road: Path, tmp_path: Path) -> None:
    """Decoding a JPEG of a phone takes about a megabyte, a PNG its whole picture, and the plan knows both."""
    image = Image.linear_gradient("L").resize((4000, 3000)).convert("RGB")
    planned = {}
    for suffix, options in (("jpg", {}), ("png", {"compress_level": 1})):
        for name in CLASSES[1:]:
            (tmp_path / suffix / name).mkdir(parents=True)
            image.save(tmp_path / suffix / name / f"0.{suffix}", **options)
        words = [
            "eval",
            road / "artifact",
            "--data",
            tmp_path / suffix,
            "--memory-budget",
            "96MiB",
            "--engine",
            "native",
        ]
        command = [sys.executable, "-m", "mest", *map(str, words), "--json", "--threads", "1", "--engine", "native"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        planned[suffix] = found["planned_peak_bytes"]
        if untrusted_reason() is None:
            assert found["measured_peak_bytes"] < found["planned_peak_bytes"] + (2 << 20)
    assert planned["png"] - planned["jpg"] > 40 << 20
