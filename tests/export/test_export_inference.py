"""inference.onnx: one file that loads from bytes, in an old format version, and says by itself how it is fed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import CLASSES, INPUT, foreign_source, make_source
from PIL import Image
from torch import nn

import export.inference
from edge.data.preprocess import Preprocess
from export.artifact import build, export_artifact
from export.capture import Captured, capture
from export.inference import MODEL, WEIGHTS, refuse_too_large, write_inference
from export.options import Options
from export.ort.files import missing
from export.source import Source
from mest.errors import InputError


@pytest.fixture(scope="module")
def source(models: dict[str, nn.Module]) -> Source:
    """The residual network in blocks, with a resize and a crop."""
    found = make_source(models["resnet"], "resnet", "block", 0.75)
    found.preprocess.update(resize=12, crop=[9, 7], mean=[0.5, 0.25, 0.125], std=[0.25, 0.5, 1.0])
    return found


@pytest.fixture
def forward(source: Source, captures: object) -> onnx.ModelProto:
    """Its forward graph."""
    captured: Captured = captures("resnet", source)  # type: ignore[operator]
    return build(source, captured, Options()).forward


def run(model: str | bytes, images: np.ndarray) -> np.ndarray:
    """The logits of the installed ONNX Runtime, which is the training one or the stock one."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="no ONNX Runtime is installed")
    return np.asarray(onnxruntime.InferenceSession(model).run(None, {"input": images})[0])


def test_one_file_is_all_that_a_runtime_needs(source: Source, forward: onnx.ModelProto, tmp_path: Path) -> None:
    """Its bytes alone give the masked model's logits, for one image and for three."""
    write_inference(forward, source, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [MODEL]
    images = torch.randn(3, *INPUT)
    for count in (1, 3):
        found = run((tmp_path / MODEL).read_bytes(), images[:count].numpy())
        with torch.no_grad():
            np.testing.assert_allclose(found, source.model(images[:count]).numpy(), atol=1e-5)


def test_the_format_version_is_the_lowest_of_its_opset(
    source: Source, forward: onnx.ModelProto, tmp_path: Path
) -> None:
    """IR 8 for opset 18, with no field that a later version brought, and nothing of the machine that wrote it."""
    write_inference(forward, source, tmp_path)
    model = onnx.load(tmp_path / MODEL)
    assert (model.ir_version, model.opset_import[0].version) == (8, 18)
    assert not [part for part in (*model.graph.node, *model.graph.input, *model.graph.output) if part.metadata_props]
    assert not model.graph.metadata_props
    assert str(Path(torch.__file__).parent).encode() not in (tmp_path / MODEL).read_bytes()


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_no_graph_holds_paths_or_versions_of_who_wrote_it(models: dict[str, nn.Module], tmp_path: Path) -> None:
    """Stack traces of the exporter and the version of torch would make equal graphs different files."""
    export_artifact(make_source(models["vgg"], "vgg", "block", 0.5), tmp_path / "art", Options(measure=False))
    for file in (tmp_path / "art").glob("*.onnx"):
        content = file.read_bytes()
        assert str(Path(torch.__file__).parents[1]).encode() not in content, file.name
        assert b"name_scopes" not in content, file.name
        assert torch.__version__.encode() not in content, file.name


def test_metadata_is_enough_to_feed_it(source: Source, forward: onnx.ModelProto, tmp_path: Path) -> None:
    """An image prepared by what the file says is the image that the board prepares, to the last bit or nearly."""
    write_inference(forward, source, tmp_path)
    model = onnx.load(tmp_path / MODEL)
    said = {entry.key: entry.value for entry in model.metadata_props}
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 20, 3), dtype=np.uint8))
    ours = Preprocess.from_json(source.preprocess)
    wanted = np.empty(INPUT, np.float32)
    ours.normalise(ours.pixels(photo), wanted)

    side, (height, width) = json.loads(said["resize"]), json.loads(said["crop"])
    assert (said["mode"], said["interpolation"], said["input_layout"]) == ("RGB", "bilinear", "NCHW")
    resized = photo.convert(said["mode"]).resize((side, side * 30 // 20), Image.Resampling.BILINEAR)
    left, top = (resized.width - width) // 2, (resized.height - height) // 2
    pixels = np.asarray(resized.crop((left, top, left + width, top + height)), np.float64)
    scaled = pixels * json.loads(said["pixel_scale"])
    found = ((scaled - json.loads(said["mean"])) / json.loads(said["std"])).transpose(2, 0, 1)
    assert list(found.shape) == json.loads(said["input_shape"])
    np.testing.assert_allclose(found, wanted, atol=1e-6)

    assert json.loads(said["class_names"]) == [str(number) for number in range(CLASSES)]
    masks = [layer.mask for layer in source.layers.values()]
    zeros = sum(int((~mask).sum()) for mask in masks) / sum(mask.size for mask in masks)
    assert json.loads(said["sparsity"]) == pytest.approx(zeros)
    assert set(json.loads(said["schemes"]).values()) == {"block"}
    assert "short side to 12 (bilinear)" in model.doc_string
    assert "centre 9x7" in model.doc_string


@pytest.mark.parametrize("how", ["asked", "large"])
def test_weights_lie_beside_it_on_request_or_near_two_gigabytes(
    source: Source, forward: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Readable by everybody, and small constants stay in the graph, so that the file passes onnx's full check."""
    monkeypatch.setattr(export.inference, "SMALL_BYTES", 512)
    if how == "large":
        monkeypatch.setattr(export.inference, "OWN_FILE_BYTES", 1000)
    write_inference(forward, source, tmp_path, external_data=how == "asked")
    assert (tmp_path / WEIGHTS).stat().st_mode & 0o044
    assert (tmp_path / WEIGHTS).stat().st_size > (tmp_path / MODEL).stat().st_size
    onnx.checker.check_model(str(tmp_path / MODEL), full_check=True)
    images = torch.randn(2, *INPUT)
    with torch.no_grad():
        np.testing.assert_allclose(run(str(tmp_path / MODEL), images.numpy()), source.model(images).numpy(), atol=1e-5)


@pytest.mark.parametrize("external_data", [False, True])
def test_a_transformer_passes_the_full_check(tmp_path: Path, external_data: bool) -> None:
    """Shapes that a Reshape reads are in the graph, where shape inference finds them."""
    found = foreign_source("vit", "block")
    forward = build(found, capture(found.model, found.input), Options()).forward
    assert any(tensor.data_type == onnx.TensorProto.INT64 for tensor in forward.graph.initializer)
    write_inference(forward, found, tmp_path, external_data)
    onnx.checker.check_model(str(tmp_path / MODEL), full_check=True)


def test_a_model_that_no_graph_holds_is_refused(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """In words, before anything is captured, rather than by protobuf."""
    refuse_too_large(source)
    monkeypatch.setattr(export.inference, "MOST_BYTES", 1000)
    with pytest.raises(InputError, match=r"holds 0\.0 GiB of weights; a graph holds less than 2 GiB"):
        refuse_too_large(source)


def test_external_weights_are_part_of_the_artifact(
    models: dict[str, nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listed with their hash, and gone with the file when another artifact takes the place."""
    monkeypatch.setattr(export.inference, "SMALL_BYTES", 512)
    source = make_source(models["vgg"], "vgg", "irregular", 0.5)
    manifest = export_artifact(source, tmp_path / "art", Options(external_data=True, measure=False))
    assert {MODEL, WEIGHTS} <= set(manifest.files)
    again = export_artifact(source, tmp_path / "art", Options(measure=False), overwrite=True)
    assert WEIGHTS not in again.files
    assert not (tmp_path / "art" / WEIGHTS).exists()
