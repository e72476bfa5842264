"""What a user may choose about an export."""

from __future__ import annotations

from dataclasses import dataclass

from edge.plan.choices import OptimizerChoice

RECOMPUTE = ("none", "blocks")


@dataclass(frozen=True)
class Options:
    """What a user may choose; None takes what the run was trained with.

    `room`: "none", "em" or "ems", the mutation that onnxruntime-training's tensors leave room for on the board; by
    default em, and none where a layer has a scheme that no board knows.
    `recompute`: "none" or "blocks", what the backward pass of its training graph recomputes.
    `contents`: "all", or the engine whose files alone are written. `external_data`: weights beside inference.onnx.
    """

    format: str = "auto"
    trainable: str = "all"
    optimizer: OptimizerChoice | None = None
    label_smoothing: float | None = None
    room: str | None = None
    recompute: str = "none"
    contents: str = "all"
    external_data: bool = False
    measure: bool = True
