"""A loop of Accelerate, with its checkpoints, accumulation and clipping: python examples/accelerate_loop.py FOLDER."""

import sys
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

import export
import mest


def main(folder: Path, epochs: int = 4) -> dict[str, float]:
    with np.load(Path(mest.__file__).parent / "data" / "digits.npz") as file:
        images, labels = torch.from_numpy(file["images"]).reshape(-1, 1, 8, 8) / 255, torch.from_numpy(file["labels"])
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    body = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1, stride=2), nn.ReLU()]
    model = nn.Sequential(*body, nn.Conv2d(32, 32, 3, padding=1), nn.Flatten(), nn.Linear(512, 10))
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, labels.long()), 32, shuffle=True)
    model, optimizer, loader = accelerator.prepare(model, torch.optim.AdamW(model.parameters(), 3e-3), loader)
    sparsifier = mest.sparsify(model, optimizer, sparsity=0.8, method="em", epochs=epochs, update_every_epochs=1)
    accelerator.register_for_checkpointing(sparsifier)  # now save_state and load_state hold its masks too
    for epoch in range(epochs):
        sparsifier.start_epoch(epoch)
        for batch, wanted in loader:
            with accelerator.accumulate(model):
                accelerator.backward(nn.functional.cross_entropy(model(batch), wanted))
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step(), optimizer.zero_grad()
    sparsifier.finish()
    accelerator.save_state(folder / "checkpoint")
    said = {"example_input": (1, 8, 8), "preprocess": {"mean": 0.0, "std": 1.0}}
    export.export_model(accelerator.unwrap_model(model), folder / "artifact", sparsifier=sparsifier, **said)
    return {"weight sparsity": sparsifier.sparsity}


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
