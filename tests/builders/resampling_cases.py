"""What PyTorch makes of padding and resizing, and random cases of them."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from edge.network.operators.resampling import Pad, Resample, Resize, ResizeLinear, ResizeNearest

MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate"}
# Those of ONNX's ways to resize that PyTorch has: coordinates and rounding, and the mode of `interpolate`.
NEAREST = {("asymmetric", "floor"): "nearest", ("half_pixel", "round_prefer_ceil"): "nearest-exact"}


def resampled(op: Resample, x: torch.Tensor) -> torch.Tensor:
    """The operator's value of x `(n, c, h, w)`."""
    if isinstance(op, Pad):
        top, left, bottom, right = op.padding
        return F.pad(x, (left, right, top, bottom), MODES[op.fill])
    assert isinstance(op, Resize)
    sizes = {"size": op.size} if op.scale is None else {"scale_factor": op.scale}
    if isinstance(op, ResizeNearest):
        return F.interpolate(x, **sizes, mode=NEAREST[op.coordinates, op.rounding])
    assert isinstance(op, ResizeLinear)
    return F.interpolate(x, **sizes, mode="bilinear", align_corners=op.coordinates == "align_corners")
