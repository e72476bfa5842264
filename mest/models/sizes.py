"""The size of images that a model usually takes."""

from __future__ import annotations

from mest.models.build import MODELS, OF_WINDOWS
from mest.torchvision import load_torchvision

PHOTOS = 224  # of nearly all classifiers of photos, and the guess for a model of one's own
_OURS = {**dict.fromkeys(MODELS.keys() - OF_WINDOWS, 32), "digits": 8}


def usual_size(model: str) -> int:
    """Return the side in pixels that the model called `model` was published with, 224 where that is not known."""
    kind, _, name = model.partition(":")
    if kind != "torchvision":
        return _OURS.get(model, PHOTOS)
    try:
        weights = load_torchvision("models", f"--model {model}", "").get_model_weights(name)
        return int(weights.DEFAULT.transforms().crop_size[0])
    except (ValueError, AttributeError, TypeError, IndexError, ImportError):  # refused by name when it is built
        return PHOTOS
