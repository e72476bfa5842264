"""An artifact for the native engine alone and data for it, written without any workstation library."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from edge.handover.manifest import Manifest, write_manifest
from edge.network import Network, write_network
from edge.plan.choices import OptimizerChoice


def write_artifact(folder: Path, network: Network) -> Path:
    """The folder, made and filled with the network and a manifest that vouches for it."""
    folder.mkdir(parents=True)
    write_network(network, folder)
    bands = network.input[0]
    preprocess = {"mode": "L" if bands == 1 else "RGB", "resize": None, "crop": None, "interpolation": "bilinear"}
    manifest = Manifest(
        tools={},
        input=network.input,
        preprocess={**preprocess, "mean": [0.5] * bands, "std": [0.25] * bands},
        class_names=tuple(f"class {number}" for number in range(network.classes)),
        optimizer=asdict(OptimizerChoice()),
    )
    write_manifest(manifest, folder)
    return folder


def write_images(path: Path, network: Network, count: int, seed: int = 0) -> Path:
    """An npz of random images, all classes in turn."""
    random = np.random.default_rng(seed)
    bands, height, width = network.input
    images = random.integers(0, 256, (count, height, width, bands), dtype=np.uint8)
    np.savez(path, images=images if bands > 1 else images[..., 0], labels=np.arange(count) % network.classes)
    return path


def write_folder(folder: Path, network: Network, count: int, seed: int = 0) -> Path:
    """The same images as PNG files in one folder per class."""
    from PIL import Image

    random = np.random.default_rng(seed)
    bands, height, width = network.input
    for number in range(count):
        place = folder / f"class {number % network.classes}"
        place.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (height, width, bands), dtype=np.uint8)
        Image.fromarray(pixels if bands > 1 else pixels[..., 0]).save(place / f"{number}.png")
    return folder
