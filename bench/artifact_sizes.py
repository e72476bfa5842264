"""What an artifact weighs, whole, cut and zipped, and what decoding a photo of 12 megapixels takes.

The digits network at 80 % in blocks, pruned and not trained: all sizes but the zip's are those of a trained one. Each
photo is decoded in a process of its own, whose growth of resident memory the kernel counts. Takes half a minute:

    python -m bench.artifact_sizes [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.circumstances import circumstances

TRAIN = "train -q --model digits --data digits --scheme block --sparsity 0.8 --epochs 0 --device cpu --out run"
PHOTO, SHORT_SIDE = (3000, 4000), 224
KINDS = {"baseline": {"quality": 90}, "progressive": {"quality": 90, "progressive": True}}
# Reads a photo as an artifact's preprocessing says, after a small one that loads Pillow; prints the growth in bytes.
READ = """
import sys
from pathlib import Path
from edge.data.image import read_image
from edge.data.preprocess import Preprocess
from edge.host.counters import read_counters, reset_peak
preprocess = Preprocess("RGB", int(sys.argv[3]), (int(sys.argv[3]),) * 2, "bilinear", (0.5,) * 3, (0.5,) * 3)
read_image(Path(sys.argv[1]), preprocess)
if not reset_peak():
    sys.exit("the kernel here resets no peak")
before = read_counters().resident
read_image(Path(sys.argv[2]), preprocess)
print(read_counters().peak - before)
"""


def mest(words: str, folder: Path) -> None:
    """Run one command in `folder`."""
    subprocess.run([sys.executable, "-m", "mest", *words.split()], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def nbytes(folder: Path) -> int:
    """Bytes of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def artifact_sizes(folder: Path) -> dict[str, int]:
    """Bytes of the artifact, of what the native engine needs of it, of inference.onnx and of that in a zip."""
    for words in (TRAIN, "export -q run --out whole", "export -q whole --for native --out native"):
        mest(words, folder)
    inference = folder / "whole" / "inference.onnx"
    with zipfile.ZipFile(folder / "inference.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(inference, inference.name)
    sizes = json.loads((folder / "whole" / "manifest.json").read_text(encoding="utf-8"))["layers"]
    return {
        "whole": nbytes(folder / "whole"),
        "for native": nbytes(folder / "native"),
        "inference.onnx": inference.stat().st_size,
        "inference.onnx in a zip": (folder / "inference.zip").stat().st_size,
        "non-zero weights": sum(layer["nonzeros"] for layer in sizes),
    }


def decoded_bytes(folder: Path) -> dict[str, int]:
    """Growth of resident memory by the decoding of a photo, by the kind of JPEG; and the bytes of its whole picture."""
    height, width = PHOTO
    small = np.random.default_rng(0).integers(0, 256, (height // 20, width // 20, 3), np.uint8)
    photo = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    photo.resize((64, 64)).save(folder / "first.jpg")
    found = {"whole picture, 4 bytes a pixel": 4 * height * width}
    for kind, options in KINDS.items():
        photo.save(folder / f"{kind}.jpg", **options)
        command = [sys.executable, "-c", READ, "first.jpg", f"{kind}.jpg", str(SHORT_SIDE)]
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        found[kind] = int(done.stdout)
    return found


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the record here as well")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        record: dict[str, Any] = {
            "circumstances": circumstances(("numpy", "torch", "onnx", "Pillow")),
            "artifact": artifact_sizes(Path(folder)),
            "photo": decoded_bytes(Path(folder)),
        }
    for name, value in record["artifact"].items():
        print(f"{name:<32}{value:>12,}")
    for name, value in record["photo"].items():
        print(f"{name:<32}{value / 2**20:>8.1f} MiB")
    if args.json is not None:
        args.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
