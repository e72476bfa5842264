"""How cost grows: time and memory of export, plan, step, evaluation and start-up, along one axis at a time.

    python -m bench.scale --out bench/records/scale
    python -m bench.scale --out bench/records/scale --axes size images

mobilenet_v2 at 80 % (irregular), from 64×64 images, width 1, 10 classes, batch 8 and 1,000 images on; along each axis
that one number changes. `export` is a process that sparsifies, exports and verifies for all engines that are here;
`plan`, `eval` and `start` (a plan that has looked at all of the data, as npz and as a folder of JPEG files) are the
commands of `mest`; `step` is one training step, and `PyTorch` the same network there, masked, in its default layout.
Time is of the processor: of a whole process, or of one step, one thread. Peaks are the kernel's, of the process. The
slope is that of a line through the logarithms: 1 is proportional, 0 is no growth. Each point is recorded when it is
done, and points that are there are not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.circumstances import circumstances

BASE = {"size": 64, "width": 1.0, "classes": 10, "batch": 8, "images": 1000}
AXES: dict[str, tuple[float, ...]] = {
    "size": (32, 64, 128, 224),
    "width": (0.5, 1.0, 2.0),
    "classes": (10, 100, 1000),
    "batch": (1, 8, 32),
    "images": (100, 1000, 10_000, 60_000),
}
ALONG = {  # what each axis can change; the rest is not measured again
    "size": ("export", "plan", "step", "PyTorch step", "eval", "PyTorch eval"),
    "width": ("export", "plan", "step", "PyTorch step", "eval", "PyTorch eval"),
    "classes": ("export", "plan", "step", "PyTorch step"),
    "batch": ("plan", "step", "PyTorch step"),
    "images": ("start npz", "start folder", "eval"),
}
EVALUATED = 500  # images, along the axes that are not their number
MOST_EVALUATED = 10_000
MIB = 2**20
Measured = dict[str, float]  # milliseconds and MiB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of scale.json and scale.md")
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "scale.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"points": []}
    with tempfile.TemporaryDirectory(prefix="mest-scale-") as folder:
        for axis in args.axes:
            for value in AXES[axis]:
                if any(point["axis"] == axis and point["value"] == value for point in found["points"]):
                    continue
                measured = measure({**BASE, axis: value}, ALONG[axis], Path(folder))
                found["points"].append({"axis": axis, "value": value, "measured": measured})
                found["circumstances"] = circumstances(("numpy", "torch"))
                file.write_text(json.dumps(found, indent=1) + "\n")
                print(axis, value, json.dumps(measured), file=sys.stderr, flush=True)
    text = table(found["points"])
    (args.out / "scale.md").write_text(text)
    print(text)


def measure(point: dict[str, float], wanted: Sequence[str], folder: Path) -> dict[str, Measured]:
    """Milliseconds and MiB of what is wanted of one point."""
    size, classes, batch, count = (int(point[name]) for name in ("size", "classes", "batch", "images"))
    asked = {"size": size, "classes": classes, "batch": batch, "width": point["width"], "threads": 1}
    found: dict[str, Measured] = {}
    artifact = folder / "-".join(f"{point[name]:g}" for name in ("size", "width", "classes"))
    if "export" in wanted or not artifact.exists():
        shutil.rmtree(artifact, ignore_errors=True)
        milliseconds, made, _ = run([sys.executable, "-m", "bench.scale_model", json.dumps(asked), str(artifact)])
        if "export" in wanted:
            found["export"] = {"ms": milliseconds, "MiB": made["peak_bytes"] / MIB}
    if "plan" in wanted:
        found["plan"] = mest("plan", artifact, "--batch-size", batch, "--threads", 1, "--json")
    if "step" in wanted:
        cell = {"network": str(artifact), "batch": batch, "recompute": "none", "threads": 1, "steps": 0}
        answer = run([sys.executable, "-m", "bench.step_native", json.dumps(cell)])[1]
        found["step"] = {"ms": answer["cpu_ms"]["median"], "MiB": answer["peak_bytes"] / MIB}
    if "PyTorch step" in wanted:
        answer = run([sys.executable, "-m", "bench.scale_model", json.dumps(asked)])[1]
        found["PyTorch step"] = {"ms": answer["step"]["median"], "MiB": answer["peak_bytes"] / MIB}
        if "PyTorch eval" in wanted:
            found["PyTorch eval"] = {"ms": answer["answers"]["median"] * EVALUATED / batch}
    if "start npz" not in wanted:
        count = EVALUATED
    data = folder / "data.npz"
    if "eval" in wanted:
        write_npz(data, min(count, MOST_EVALUATED), size, classes)
        if count <= MOST_EVALUATED:
            found["eval"] = mest("eval", artifact, "--data", data, "--threads", 1, "--engine", "native", "--json")
    if "start npz" in wanted:
        write_npz(data, count, size, classes)
        found["start npz"] = mest("plan", artifact, "--data", data, "--threads", 1, "--json")
        data.unlink()
        where = folder / f"files-{count}"
        write_files(where, count, size, classes)
        found["start folder"] = mest("plan", artifact, "--data", where, "--threads", 1, "--json")
    return found


def mest(*words: object) -> Measured:
    """What one command takes; it says its peak itself: what the kernel says of a child counts what its parent held."""
    milliseconds, _, said = run([sys.executable, "-m", "mest", *map(str, words), "-v"])
    found = re.search(r"peak ([0-9.]+) MiB", said)
    assert found, said
    return {"ms": milliseconds, "MiB": float(found[1])}


def run(command: Sequence[str]) -> tuple[float, Any, str]:
    """Milliseconds of the processor that a child took, the JSON that it printed, if any, and what else it said."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(command, stdout=out, stderr=errors, env=environment)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        errors.seek(0)
        printed, said = out.read().strip(), errors.read().decode()
    if child.returncode:
        raise SystemExit(f"{' '.join(command)}: exit {child.returncode}: {said.strip()[-300:]}")
    answer = json.loads(printed) if printed.startswith(b"{") else None
    return 1e3 * (used.ru_utime + used.ru_stime), answer, said


def write_npz(path: Path, count: int, size: int, classes: int) -> None:
    """Images of noise, uint8, with labels: written piece by piece, as an uncompressed npz."""
    images = np.lib.format.open_memmap(path.with_suffix(".npy"), "w+", np.uint8, (count, size, size, 3))
    chance = np.random.default_rng(0)
    for begin in range(0, count, 1000):
        piece = images[begin : begin + 1000]
        piece[...] = chance.integers(0, 256, piece.shape, np.uint8)
    np.savez(path, images=images, labels=np.arange(count) % classes)
    del images
    path.with_suffix(".npy").unlink()


def write_files(folder: Path, count: int, size: int, classes: int) -> None:
    """JPEG files in a folder for each class: links to one, since only names and headers are looked at."""
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    folder.mkdir()
    first = folder.parent / f"{folder.name}.jpg"
    Image.fromarray(pixels).save(first)
    for number in range(count):
        place = folder / str(number % classes)
        place.mkdir(exist_ok=True)
        (place / f"image-{number:06d}.jpg").hardlink_to(first)


def rows(points: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str, list[tuple[float, Measured]]]]:
    """Each axis with each thing that was measured along it: its values, in order."""
    for axis in dict.fromkeys(point["axis"] for point in points):
        along = sorted((point for point in points if point["axis"] == axis), key=lambda point: point["value"])
        for name in dict.fromkeys(name for point in along for name in point["measured"]):
            yield (
                axis,
                name,
                [(point["value"], point["measured"][name]) for point in along if name in point["measured"]],
            )


def slope(pairs: Sequence[tuple[float, float]]) -> str:
    """The exponent of the power that fits best."""
    if len(pairs) < 2:
        return ""
    x, y = (np.log([pair[side] for pair in pairs]) for side in (0, 1))
    return f"{np.polyfit(x, y, 1)[0]:.2f}"


def table(points: Sequence[dict[str, Any]]) -> str:
    """Markdown: what grows along which axis, with the slopes of time and memory."""
    lines = ["| axis | what | processor time | slope | peak MiB | slope |", "|---|---|---|---|---|---|"]
    for axis, name, values in rows(points):
        times = ", ".join(f"{value:g}: {spent(measured['ms'])}" for value, measured in values)
        peaks = [(value, measured["MiB"]) for value, measured in values if "MiB" in measured]
        held = ", ".join(f"{value:g}: {peak:.0f}" for value, peak in peaks)
        lines.append(
            f"| {axis} | {name} | {times} | {slope([(v, m['ms']) for v, m in values])} | {held} | {slope(peaks)} |"
        )
    return "\n".join(lines) + "\n"


def spent(milliseconds: float) -> str:
    """A time with its unit."""
    return f"{milliseconds / 1e3:.1f} s" if milliseconds >= 1000 else f"{milliseconds:.1f} ms"


if __name__ == "__main__":
    main()
