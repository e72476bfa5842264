"""Writes the layer profiles in profiles/: python -m mest.sparse.generate_profiles [DIRECTORY]."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from torch import nn

from mest.models.resnet import resnet32
from mest.models.vgg import vgg19
from mest.sparse.layers import select_targets
from mest.sparse.schemes.scheme import SCHEMES

#: folder of each scheme, the published names where there are any
FOLDERS = {"irregular": "irr", "block": "blk", "pattern": "pattern", "channel": "channel"}
SPARSITIES = ("0.5", "0.6", "0.7", "0.8", "0.9", "0.95", "0.98")
MODELS: dict[str, Callable[..., nn.Module]] = {"resnet32": resnet32, "vgg19": vgg19}


def profiles() -> Iterator[tuple[str, str]]:
    """Path below `profiles/` and text of every profile; pattern begins at 0.6, since it cannot be below 5/9."""
    for model_name, make in MODELS.items():
        model = make(classes=10)
        for scheme, folder in FOLDERS.items():
            for sparsity in SPARSITIES:
                if float(sparsity) >= SCHEMES.make(scheme).densest:
                    names = list(select_targets(model, scheme, sparsity=sparsity))
                    yield f"{model_name}_cifar/{folder}/{model_name}_{sparsity}.yaml", profile_text(names, sparsity)


def profile_text(names: list[str], sparsity: str) -> str:
    """YAML that gives every named parameter the same weight sparsity."""
    return "prune_ratios:\n" + "".join(f"  {name}: {sparsity}\n" for name in names)


def main(arguments: list[str]) -> None:
    """Writes all profiles below the given directory, `profiles` by default."""
    root = Path(arguments[0]) if arguments else Path("profiles")
    for path, text in profiles():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
