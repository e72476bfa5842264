"""The parts of timm's training script around a sparse model: python examples/timm_loop.py FOLDER."""

import sys
from pathlib import Path

import numpy as np
import timm
import torch
from timm.optim import create_optimizer_v2
from timm.utils import CheckpointSaver, ModelEmaV3, NativeScaler

import export
import mest


def main(folder: Path, epochs: int = 2) -> dict[str, float]:
    with np.load(Path(mest.__file__).parent / "data" / "digits.npz") as file:
        images, labels = torch.from_numpy(file["images"]).reshape(-1, 1, 8, 8) / 255, torch.from_numpy(file["labels"])
    small = {"layers": (1, 1, 1, 1), "channels": (8, 16, 16, 32)}
    model = timm.create_model("resnet18", in_chans=1, num_classes=10, **small)
    optimizer = create_optimizer_v2(model, opt="adamw", lr=3e-3, weight_decay=0.05)
    sparsifier = mest.sparsify(model, optimizer, sparsity=0.8, method="em", epochs=epochs, update_every_epochs=1)
    average = ModelEmaV3(model, decay=0.9)
    sparsifier.save_with(optimizer).attach_average(average)  # timm's checkpoints have no other place for masks
    scaler = NativeScaler(device="cpu")
    saver = CheckpointSaver(model, optimizer, model_ema=average, amp_scaler=scaler, checkpoint_dir=str(folder))
    for epoch in range(epochs):
        sparsifier.start_epoch(epoch)
        for batch in torch.randperm(len(images)).split(64):
            with torch.autocast("cpu", torch.bfloat16):
                loss = torch.nn.functional.cross_entropy(model(images[batch]), labels[batch].long())
            optimizer.zero_grad()
            scaler(loss, optimizer, clip_grad=1.0, parameters=model.parameters())
            average.update(model)
        saver.save_checkpoint(epoch, metric=float(loss))
    sparsifier.finish()
    said = {"example_input": (1, 8, 8), "preprocess": {"mean": 0.0, "std": 1.0}}
    export.export_model(average.module, folder / "artifact", sparsifier=sparsifier, **said)
    return {"weight sparsity": sparsifier.sparsity}


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
