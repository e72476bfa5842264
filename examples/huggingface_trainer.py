"""Hugging Face's Trainer, sparse by one callback: python examples/huggingface_trainer.py FOLDER."""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import Trainer, TrainingArguments

import export
import mest
import mest.loops


class Net(nn.Module):
    """Any module that a Trainer takes; without labels it gives logits, which is what a board wants."""

    def __init__(self) -> None:
        super().__init__()
        body = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1, stride=2), nn.ReLU()]
        self.net = nn.Sequential(*body, nn.Conv2d(32, 32, 3, padding=1), nn.Flatten(), nn.Linear(512, 10))

    def forward(
        self, images: torch.Tensor, labels: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor] | torch.Tensor:
        logits = self.net(images)
        return logits if labels is None else {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def main(folder: Path, epochs: int = 4) -> dict[str, float]:
    with np.load(Path(mest.__file__).parent / "data" / "digits.npz") as file:
        images, labels = file["images"].reshape(-1, 1, 8, 8).astype("float32") / 255, file["labels"].astype("int64")
    rows, model = [{"images": i, "labels": n} for i, n in zip(images, labels, strict=True)], Net()
    sparse = mest.loops.trainer_callback(scheme="block", sparsity=0.8, method="em", update_every_epochs=1)
    args = TrainingArguments(folder / "run", num_train_epochs=epochs, per_device_train_batch_size=32, report_to="none",
                             learning_rate=3e-3, save_strategy="epoch", use_cpu=True)  # fmt: skip
    Trainer(model, args, train_dataset=rows, callbacks=[sparse]).train()
    said = {"example_input": (1, 8, 8), "preprocess": {"mean": 0.0, "std": 1.0}}
    export.export_model(model, folder / "artifact", sparsifier=sparse.sparsifier, **said)
    return {"weight sparsity": sparse.sparsifier.sparsity}


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
