"""Lightning's Trainer, sparse by one callback: python examples/lightning_trainer.py FOLDER."""

import sys
from pathlib import Path

import lightning
import numpy as np
import torch
from torch import nn

import export
import mest
import mest.loops


class Module(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        body = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1, stride=2), nn.ReLU()]
        self.net = nn.Sequential(*body, nn.Conv2d(32, 32, 3, padding=1), nn.Flatten(), nn.Linear(512, 10))

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.net(images)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


def main(folder: Path, epochs: int = 4) -> dict[str, float]:
    with np.load(Path(mest.__file__).parent / "data" / "digits.npz") as file:
        images, labels = torch.from_numpy(file["images"]).reshape(-1, 1, 8, 8) / 255, torch.from_numpy(file["labels"])
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, labels.long()), 32, shuffle=True)
    sparse, module = mest.loops.lightning_callback(sparsity=0.8, method="em", update_every_epochs=1), Module()
    trainer = lightning.Trainer(max_epochs=epochs, callbacks=[sparse], default_root_dir=folder, accelerator="cpu",
                                logger=False, enable_progress_bar=False, gradient_clip_val=1.0)  # fmt: skip
    trainer.fit(module, loader)
    said = {"example_input": (1, 8, 8), "preprocess": {"mean": 0.0, "std": 1.0}}
    export.export_model(module, folder / "artifact", sparsifier=sparse.sparsifier, **said)
    return {"weight sparsity": sparse.sparsifier.sparsity}


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
