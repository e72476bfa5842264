"""inference.onnx in other people's runtimes, each in a process of its own: the logits are PyTorch's.

A client runs where its packages are importable, or where a variable names an interpreter that has them:

    MEST_CLIENT_ONNXRUNTIME=venv/bin/python   # onnxruntime, such as the oldest that installs
    MEST_CLIENT_OPENVINO=venv/bin/python      # openvino
    MEST_CLIENT_NCNN=venv/bin/python          # pnnx and ncnn
    MEST_CLIENT_ONNX2TORCH=venv/bin/python    # onnx2torch
    MEST_CLIENT_NODE=folder                   # in which npm installed onnxruntime-node and onnxruntime-web
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import foreign_source, make_source
from torch import nn

from export.artifact import build
from export.capture import Captured, capture
from export.inference import MODEL, write_inference
from export.options import Options
from export.source import Source

# Each reads inference.onnx and images.npy (one image after the other where a runtime has no batch) in the folder that
# it runs in, and writes logits.npy or logits.f32.
ONNXRUNTIME = """
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(open("inference.onnx", "rb").read(), providers=["CPUExecutionProvider"])
np.save("logits.npy", session.run(None, {"input": np.load("images.npy")})[0])
"""
OPENVINO = """
import numpy as np, openvino
model = openvino.Core().read_model("inference.onnx")
compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
np.save("logits.npy", compiled(np.load("images.npy"))[0])
"""
ONNX2TORCH = """
import numpy as np, onnx, torch, onnx2torch
model = onnx2torch.convert("inference.onnx").eval()
np.save("logits.npy", model(torch.from_numpy(np.load("images.npy"))).detach().numpy())
"""
NCNN = """
import subprocess, sys, numpy as np, ncnn
from pathlib import Path
images = np.load("images.npy")
shape = ",".join(map(str, (1, *images.shape[1:])))
pnnx = Path(sys.executable).parent / "pnnx"
subprocess.run([str(pnnx), "inference.onnx", f"inputshape=[{shape}]", "fp16=0"], check=True, stdout=subprocess.DEVNULL)
net = ncnn.Net()
net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
net.opt.use_winograd_convolution = False
assert not net.load_param("inference.ncnn.param") and not net.load_model("inference.ncnn.bin")
logits = []
for image in images:
    extractor = net.create_extractor()
    extractor.input("in0", ncnn.Mat(np.ascontiguousarray(image)).clone())
    logits.append(np.array(extractor.extract("out0")[1]).reshape(-1))
np.save("logits.npy", np.stack(logits))
"""
NODE = """
const [place, shape] = process.argv.slice(-2), fs = require("fs"), runtime = require(place);
(async () => {
  const session = await runtime.InferenceSession.create(new Uint8Array(fs.readFileSync("inference.onnx")));
  const raw = fs.readFileSync("images.f32");
  const images = new Float32Array(raw.buffer, raw.byteOffset, raw.length / 4);
  const { logits } = await session.run({ input: new runtime.Tensor("float32", images, JSON.parse(shape)) });
  fs.writeFileSync("logits.f32", Buffer.from(logits.data.buffer, logits.data.byteOffset, logits.data.byteLength));
})();
"""


@dataclass(frozen=True)
class Client:
    """A runtime: its program, and the Python packages or the npm package that it takes."""

    program: str
    packages: tuple[str, ...] = ()
    npm: str | None = None


CLIENTS = {
    "onnxruntime": Client(ONNXRUNTIME, ("onnxruntime",)),
    "openvino": Client(OPENVINO, ("openvino",)),
    "onnx2torch": Client(ONNX2TORCH, ("onnx2torch",)),
    "ncnn": Client(NCNN, ("pnnx", "ncnn")),
    "node": Client(NODE, npm="onnxruntime-node"),
    "web": Client(NODE, npm="onnxruntime-web"),
}
BEYOND = {  # each says so itself, rather than answering something else
    ("ncnn", "vit-block"): "ncnn has no tensor of the rank that attention takes",
    ("onnx2torch", "vit-block"): "onnx2torch knows no Reshape with allowzero, which PyTorch's exporter writes",
}
CASES = ("resnet-block", "mobilenet-irregular", "vgg-pattern", "vgg-channel", "resnet-channel", "vit-block")


@pytest.fixture(scope="module")
def exported(
    models: dict[str, nn.Module], captures: Callable[[str, Source], Captured], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Path, np.ndarray, np.ndarray]]:
    """A function from a case to the folder of its inference.onnx, images, and PyTorch's logits; each made once."""
    made: dict[str, tuple[Path, np.ndarray, np.ndarray]] = {}

    def export(case: str) -> tuple[Path, np.ndarray, np.ndarray]:
        if case not in made:
            family, scheme = case.split("-")
            own = family in models
            source = make_source(models[family], family, scheme, 0.5) if own else foreign_source(family, scheme)
            captured = captures(family, source) if own else capture(source.model, source.input)
            folder = tmp_path_factory.mktemp(case)
            write_inference(build(source, captured, Options()).forward, source, folder)
            images = np.random.default_rng(0).standard_normal((3, *source.input)).astype(np.float32)
            with torch.no_grad():
                made[case] = folder, images, source.model(torch.from_numpy(images)).numpy()
        return made[case]

    return export


def command(name: str, client: Client) -> list[str]:
    """The client as a command, to which the shape of the images is added; skips, saying what is missing."""
    if client.npm is not None:
        place, node = os.environ.get("MEST_CLIENT_NODE"), shutil.which("node")
        package = Path(place or ".").resolve() / "node_modules" / client.npm
        if place is None or node is None or not package.is_dir():
            pytest.skip(f"needs node, and MEST_CLIENT_NODE to name a folder in which npm installed {client.npm}")
        return [node, "-e", client.program, "--", str(package)]
    interpreter = os.environ.get(f"MEST_CLIENT_{name.upper()}")
    missing = [package for package in client.packages if importlib.util.find_spec(package) is None]
    if interpreter is None and missing:
        pytest.skip(f"needs {' and '.join(missing)}, here or in the Python that MEST_CLIENT_{name.upper()} names")
    return [interpreter or sys.executable, "-c", client.program]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", CLIENTS)
def test_other_runtimes_answer_as_pytorch_does(
    exported: Callable[[str], tuple[Path, np.ndarray, np.ndarray]], tmp_path: Path, name: str, case: str
) -> None:
    """To 1e-5 of the largest logit, or a little more where a runtime transforms its convolutions."""
    if (name, case) in BEYOND:
        pytest.skip(BEYOND[name, case])
    words = command(name, CLIENTS[name])
    folder, images, wanted = exported(case)
    shutil.copy(folder / MODEL, tmp_path / MODEL)
    np.save(tmp_path / "images.npy", images)
    images.tofile(tmp_path / "images.f32")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [*words, str(list(images.shape))],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    if (tmp_path / "logits.npy").is_file():
        found = np.load(tmp_path / "logits.npy")
    else:
        found = np.fromfile(tmp_path / "logits.f32", np.float32)
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, atol=2e-5 * np.abs(wanted).max(), rtol=1e-5)
