"""From a plain PyTorch loop to a board and back, on one machine, in half a minute.

    python examples/own_loop_to_board.py FOLDER

A model that mest knows nothing of learns the packaged handwritten digits, sparse from its first step. Its artifact goes
to "the board", which sees the digits of another sensor: darker, and one pixel to the right. The board fine-tunes and
mutates. Its state comes back into the same model and the same loop, which trains on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import edge
import export
import mest

EPOCHS_BEFORE, EPOCHS = 6, 9
MEAN, STD = 0.3, 0.4


class Net(nn.Module):
    """Four convolutions and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.Conv2d(16, 32, 3, padding=1, stride=2), nn.BatchNorm2d(32), nn.ReLU()),
            *(nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
            *(nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
        )
        self.classifier = nn.Linear(32, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(n, 10)` of images `(n, 1, 8, 8)`."""
        return self.classifier(self.features(images).mean((2, 3)))


def train_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
    """One epoch of the loop: nothing in it knows of sparsity."""
    model.train()
    for batch in torch.randperm(len(images)).split(32):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The share of the images that are classified correctly."""
    return float((model.eval()(images).argmax(1) == labels).float().mean())


def digits() -> tuple[Tensor, Tensor]:
    """Images `(n, 1, 8, 8)`, normalised, and labels `(n,)`."""
    with np.load(Path(mest.__file__).parent / "data" / "digits.npz") as file:
        pixels, labels = torch.from_numpy(file["images"]), torch.from_numpy(file["labels"]).long()
    return (pixels.reshape(-1, 1, 8, 8).float() / 255 - MEAN) / STD, labels


def other_sensor(images: Tensor) -> Tensor:
    """The same digits as another camera sees them."""
    return (images * STD + MEAN).roll(1, dims=3).mul(0.6).sub(MEAN).div(STD)


def fine_tune_on_the_board(artifact: Path, state: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """What runs on the board: no torch, numpy arrays in, a state directory out."""
    order = np.random.default_rng(0)
    # A process of its own would add memory_budget="64MiB"; in this one torch alone takes several times as much.
    with edge.load(artifact, mutate="em") as board:
        for epoch in range(4):
            for batch in np.array_split(order.permutation(len(images)), len(images) // 32 + 1):
                board.train_step(images[batch], labels[batch], learning_rate=0.02)
            if epoch == 1:
                board.mutate(progress=0.4, seed=epoch)
        board.save(state)


def main(folder: Path) -> dict[str, float]:
    """Walk the road, leaving `artifact` and `state` in the folder; return the accuracies on the way."""
    torch.manual_seed(0)
    images, labels = digits()
    train, test = slice(0, 1400), slice(1400, None)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)

    # The loop, with the three lines that make it sparse.
    sparsifier = mest.sparsify(model, optimizer, scheme="block", sparsity=0.8, method="em", epochs=EPOCHS)
    for epoch in range(EPOCHS_BEFORE):
        sparsifier.start_epoch(epoch)
        train_epoch(model, optimizer, images[train], labels[train])

    # To the board: verified against PyTorch before it is written.
    export.export_model(
        model,
        folder / "artifact",
        example_input=images[:1],
        sparsifier=sparsifier,
        optimizer=optimizer,
        class_names=[str(digit) for digit in range(10)],
        preprocess={"mean": MEAN, "std": STD},
    )
    new = other_sensor(images)
    found = {"before the board, new sensor": accuracy(model, new[test], labels[test])}
    fine_tune_on_the_board(folder / "artifact", folder / "state", new[train].numpy(), labels[train].numpy())

    # And back into the same loop, which goes on where it was.
    export.restore_state(folder / "state", model, sparsifier)
    found["after the board, new sensor"] = accuracy(model, new[test], labels[test])
    optimizer.state.clear()  # its momentum is of weights from before the board
    for epoch in range(EPOCHS_BEFORE, EPOCHS):
        sparsifier.start_epoch(epoch)
        train_epoch(model, optimizer, torch.cat([images[train], new[train]]), labels[train].repeat(2))
    sparsifier.finish()
    found["trained on, new sensor"] = accuracy(model, new[test], labels[test])
    found["trained on, old sensor"] = accuracy(model, images[test], labels[test])
    found["weight sparsity"] = sparsifier.sparsity
    if not (sparsifier.zeros_kept and sparsifier.at_target):
        raise SystemExit("zeros were lost on the way")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a new or empty folder for the artifact and the state")
    for what, share in main(parser.parse_args().folder).items():
        print(f"{what}: {share:.1%}")
