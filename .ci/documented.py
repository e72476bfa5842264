"""Runs the shell blocks of README.md, CONTRIBUTING.md, pkl/ and docs/ as they are printed, in a scratch folder.

usage: documented.py WORK     with the environment that README's first command made on the path

Commands run one after another, as a reader would type them, on a few small images in the place of photos and of a data
set that would have to be fetched. What is left out is named with its reason; whatever is in no table runs. That the
commands within sentences, and those left out here, have the options they are shown with is held by
tests/test_documented_commands.py.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# What cannot be had without a network, or takes hours, and what stands for it.
REPLACED = {"--data cifar10 --download": "--data imagefolder:pictures --epochs 1"}
# Blocks with these words are left out, and why.
LEFT_OUT = {
    "pip install -e": "left to the environment of this very run",
    "python -m venv": "left to the environment of this very run",
    "python3 -m venv": "left to the environment of this very run",
    "ruff check": "left to the step for lint and types",
    "mest export mine.pt": "not run: it takes a reader's own checkpoint; test_export_checkpoint.py walks it",
    "mest deploy artifact pi lab": "not run: it takes boards; test_deploy_boards.py and .ci/deploy.py walk it",
    "mest boards boards.yaml": "not run: it takes boards; test_deploy_boards.py walks it",
    "mest eval boards/": "not run: it takes what a board sent home",
    "mest runner --target linux-x86_64": "not run: it compiles for a minute; .ci/without_python.py builds and runs it",
    "bench.budget": "not run: it takes CIFAR-10 images and minutes of a machine with nothing else to do",
}
CHECKOUT = "pip wheel"  # a block with these words is typed in the checkout, in an environment of its own


def images(folder: Path, each: int) -> None:
    """A folder of small JPEG files for each class."""
    generator = np.random.default_rng(0)
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for number in range(each):
            pixels = generator.integers(0, 256, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.jpg")


def stock_environment(folder: Path) -> dict[str, str]:
    """A fresh virtual environment with that Python's own pip and setuptools, as the environment of a process."""
    venv.create(folder, with_pip=True)
    around = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return {**around, "VIRTUAL_ENV": str(folder), "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def run(block: str, place: Path, around: dict[str, str]) -> None:
    """One block by bash, which stops at the first command that fails."""
    for words, instead in REPLACED.items():
        block = block.replace(words, instead)
    print(block, flush=True)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", block], cwd=place, env=around, check=False)
    if done.returncode:
        sys.exit(f"a documented command failed with exit code {done.returncode}")


def main() -> None:
    """Run every block of every page."""
    work = Path(sys.argv[1]).resolve()
    place, ran = work / "reader", 0
    parts = {"pictures/train": 8, "pictures/test": 2, "photos/train": 4, "photos/test": 2, "more-photos": 4}
    for part, each in parts.items():
        images(place / part, each)
    first = (ROOT / name for name in ("README.md", "CONTRIBUTING.md", "pkl/README.md"))
    for page in (*first, *sorted((ROOT / "docs").glob("*.md"))):
        for block in BLOCK.findall(page.read_text(encoding="utf-8")):
            reason = next((why for words, why in LEFT_OUT.items() if words in block), None)
            print(f"\n-- {page.relative_to(ROOT)}" + (f": {reason}" if reason else ""), flush=True)
            if reason is not None:
                continue
            if CHECKOUT in block:
                checkout = work / f"checkout{ran}"
                ignored = shutil.ignore_patterns(".git", ".venv", "build", "dist", "*.egg-info", "*.so")
                shutil.copytree(ROOT, checkout, ignore=ignored)
                run(block, checkout, stock_environment(work / f"stock{ran}"))
            else:
                run(block, place, dict(os.environ))
            ran += 1
    print(f"\n{ran} documented blocks ran")


if __name__ == "__main__":
    main()
