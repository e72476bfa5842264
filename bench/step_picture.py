"""The picture of a step record: speed and memory as ratios to PyTorch.

python -m bench.step_picture bench/records/step
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SHOWN = (  # label, engine, scheme, colour
    ("onnxruntime-training, dense", "ort", "dense", "0.7"),
    ("SparseProp, irregular", "sparseprop", "irregular", "0.45"),
    ("native, irregular", "native", "irregular", "C0"),
    ("native, block", "native", "block", "C1"),
    ("native, pattern", "native", "pattern", "C2"),
    ("native, channel", "native", "channel", "C3"),
)
PANELS = (
    ("speed_of_torch", "training speed, PyTorch's masked dense = 1", "%.1f"),
    ("memory_of_torch", "peak memory of the process, PyTorch's = 1", "%.2f"),
)


def picture(cells: Sequence[dict[str, Any]], path: Path, sparsity: float = 0.9) -> None:
    """Write a bar for each engine and scheme at a sparsity, nothing recomputed, in groups by batch size."""
    from matplotlib.figure import Figure

    batches = sorted({cell["batch"] for cell in cells}, reverse=True)
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    for panel, (ratio, title, form) in zip(figure.subplots(1, 2), PANELS, strict=True):
        for place, (label, engine, scheme, colour) in enumerate(SHOWN):
            found = [
                (group, cell[ratio])
                for group, batch in enumerate(batches)
                for cell in cells
                if (cell["engine"], cell["scheme"], cell["batch"], cell["recompute"]) == (engine, scheme, batch, "none")
                and cell["sparsity"] in (0.0, sparsity)
                and ratio in cell
            ]
            at = [group + (place - (len(SHOWN) - 1) / 2) * 0.14 for group, _ in found]
            bars = panel.bar(at, [value for _, value in found], 0.13, color=colour, label=label)
            panel.bar_label(bars, fmt=form, fontsize=7, padding=2, rotation=90)
        panel.axhline(1, color="black", linewidth=0.8, linestyle="--", zorder=0)
        panel.margins(y=0.12)
        panel.set_xticks(range(len(batches)), [f"batch {batch}" for batch in batches])
        panel.set_title(title, fontsize=10)
        panel.spines[["top", "right"]].set_visible(False)
    figure.legend(*panel.get_legend_handles_labels(), loc="outside lower center", ncols=len(SHOWN) // 2, fontsize=8)
    figure.suptitle(f"One training step of resnet32, {100 * sparsity:g} % of the weights zero", fontsize=11)
    figure.savefig(path, dpi=150)


def main() -> None:
    folder = Path(sys.argv[1])
    picture(json.loads((folder / "step.json").read_text())["cells"], folder / "step.png")


if __name__ == "__main__":
    main()
