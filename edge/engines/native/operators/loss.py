"""The ends of a program: the loss with its gradient, or the logits."""

from __future__ import annotations

from math import prod

from edge.engines.native.forward import Forward
from edge.engines.native.gradients import Backward
from edge.engines.native.steps import Spec


def emit_loss(backward: Backward) -> None:
    """The loss, and the gradient of the logits if anything is trained by it."""
    last = backward.model.nodes[-1]
    out = backward.new(last) if last in backward.model.needs else None
    numbers = {"classes": prod(last.image), "smoothing": backward.model.choices.label_smoothing}
    backward.steps.emit(Spec("loss", "loss", last, a=backward.forward.view(last), out=out, numbers=numbers))


def emit_logits(forward: Forward) -> None:
    """The logits as the caller reads them."""
    last = forward.model.nodes[-1]
    forward.steps.emit(Spec("output", "logits", a=forward.view(last), numbers={"classes": prod(last.image)}))
