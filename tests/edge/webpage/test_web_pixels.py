"""What the page makes of a picture is what every command makes of it, bit for bit: modes, sizes and filters."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edge.data.preprocess import Preprocess
from edge.webpage.page import APP

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="needs Node: apt install nodejs")
CASES = [
    (mode, resize, crop, interpolation, size)
    for mode, interpolation in (("RGB", "bilinear"), ("L", "bilinear"), ("RGB", "bicubic"), ("L", "nearest"))
    for resize, crop, size in (
        (None, None, (9, 7)),
        ((8, 8), None, (61, 33)),
        (8, (8, 8), (256, 256)),
        (10, (8, 9), (37, 53)),
        (24, (24, 24), (11, 5)),
        (8, None, (8, 20)),
    )
]


def test_pictures_are_prepared_as_everywhere(tmp_path: Path) -> None:
    """Larger, smaller, wide and tall ones, cut and uncut."""
    pil = pytest.importorskip("PIL.Image", reason="needs Pillow as the referee")
    (tmp_path / "package.json").write_text('{ "type": "module" }')
    for name in ("pixels.js", "resample.js"):
        shutil.copy(APP / name, tmp_path)
    rng, cases, wanted = np.random.default_rng(1), [], []
    for mode, resize, crop, interpolation, (width, height) in CASES:
        rgba = rng.integers(0, 256, (height, width, 4), dtype=np.uint8)
        rgba[: height // 2, : width // 2] = rng.integers(0, 2, 4, dtype=np.uint8) * 255  # edges, where cubics overshoot
        rgba[..., 3] = 255
        values = 3 if mode == "RGB" else 1
        preprocess = Preprocess(mode, resize, crop, interpolation, (0.5,) * values, (0.2,) * values)
        wanted.append(preprocess.pixels(pil.fromarray(rgba[..., :3])).transpose(2, 0, 1).ravel().tolist())
        said = {"mode": mode, "resize": resize, "crop": crop, "interpolation": interpolation}
        cases.append({"rgba": rgba.ravel().tolist(), "width": width, "height": height, "preprocess": said})
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    script = Path(__file__).with_name("resampled.mjs")
    words = (str(NODE), script, tmp_path / "pixels.js", tmp_path / "cases.json")
    found = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert [case for case, one, other in zip(CASES, found, wanted, strict=True) if one != other] == []
