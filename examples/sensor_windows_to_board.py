"""Windows of a sensor through a one-dimensional network: trained sparse, exported, answered by the board's engine."""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

import edge
import export
import mest


def main(folder: Path) -> dict[str, float]:
    """Return the board's accuracy on windows that were not trained on; the artifact lies in `folder` then."""
    torch.manual_seed(0)
    generator, labels = np.random.default_rng(0), np.arange(600) % 3  # waves of three lengths on two axes, and noise
    phase = np.arange(50) * (0.15 + 0.2 * labels[:, None]) + generator.uniform(0, 6, (600, 1))
    windows = np.stack([np.sin(phase), np.cos(phase)], 1) + generator.normal(0, 0.4, (600, 2, 50))
    inputs, answers = torch.tensor(windows, dtype=torch.float32), torch.tensor(labels)
    body = [nn.Conv1d(2, 16, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(16, 32, 5), nn.ReLU()]
    model = nn.Sequential(*body, nn.Conv1d(32, 32, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(32, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    sparsifier = mest.sparsify(model, optimizer, scheme="block", sparsity=0.8, method="em", epochs=12)
    for epoch in range(12):
        sparsifier.start_epoch(epoch)
        for batch in torch.randperm(500).split(50):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs[batch]), answers[batch]).backward()
            optimizer.step()
    sparsifier.finish()
    said = {"preprocess": {"mean": 0.0, "std": 1.0}, "class_names": ["slow", "middle", "fast"]}
    export.export_model(model, folder / "artifact", example_input=(2, 50), sparsifier=sparsifier, **said)
    with edge.load(folder / "artifact", engine="native") as board:  # on a board: memory_budget="40MiB"
        return {"accuracy": float((board.predict(windows[500:]).argmax(axis=1) == labels[500:]).mean())}


if __name__ == "__main__":
    print(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
