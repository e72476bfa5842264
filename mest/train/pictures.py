"""Pictures of a run: accuracy, sparsity and mutation churn over the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mest.tasks.task import Metric
from mest.train.metrics import EpochRecord


def draw_pictures(folder: Path, history: Sequence[EpochRecord], metric: Metric) -> list[Path]:
    """Write accuracy.png, or that of another metric, sparsity.png and churn.png.

    Returns their paths, none where matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return []
    epochs = [record.epoch for record in history]
    validated = [record for record in history if record.validation_accuracy is not None]
    curves: dict[str, list[tuple[str, list[int], list[float]]]] = {
        metric.key: [
            ("training", epochs, [record.train_accuracy for record in history]),
            (
                "validation",
                [record.epoch for record in validated],
                [record.validation_accuracy or 0.0 for record in validated],
            ),
        ],
        "sparsity": [("weight sparsity of the sparse layers", epochs, [record.weight_sparsity for record in history])],
        "churn": [("weights removed ÷ weights kept", epochs, [record.churn for record in history])],
    }
    written = []
    for name, lines in curves.items():
        figure = Figure(figsize=(6, 3.5), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for label, x, y in lines:
            if x:
                axes.plot(x, y, marker="o" if len(x) < 30 else None, markersize=3, label=label)
        axes.set(xlabel="epoch", ylabel=metric.label if name == metric.key else name)
        axes.grid(alpha=0.3)
        axes.legend()
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=110)
        written.append(path)
    return written
