"""The ends of a program: the loss with its gradient, or the answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from edge.engines.native.forward import Forward
from edge.engines.native.gradients import Backward
from edge.engines.native.node import Image
from edge.engines.native.slots import Slot
from edge.engines.native.steps import Spec
from edge.tasks.segmentation import IGNORED


@dataclass(frozen=True)
class Loss:
    """The step of a task's loss. `targets` is the field of a call that leads to what is wanted.

    `rows` of an answer are added up on their own, 8 bytes each; none by a loss that one thread computes.
    """

    op: str
    targets: str
    rows: Callable[[Image], int] = lambda image: 0


def _of_each(image: Image) -> int:
    return image[0] * image[1]


LOSSES = {
    "classification": Loss("loss", "labels"),
    "multilabel": Loss("loss_marks", "marks", _of_each),
    "regression": Loss("loss_values", "values", _of_each),
    "reconstruction": Loss("loss_values", "values", _of_each),
    "segmentation": Loss("loss_pixels", "marks", lambda image: image[1]),
}


def emit_loss(backward: Backward) -> None:
    """The loss, and the gradient of the answers if anything is trained by it."""
    model, forward = backward.model, backward.forward
    last, loss = model.nodes[-1], LOSSES[model.network.task.name]
    out = backward.new(last) if last in model.needs else None
    rows = forward.groups * loss.rows(last.image)
    scratch = Slot("loss rows", "workspace", 8 * rows) if rows else None
    numbers = {"classes": prod(last.image), "smoothing": model.choices.label_smoothing, "ignored": IGNORED}
    backward.steps.emit(Spec(loss.op, "loss", last, a=forward.view(last), out=out, scratch=scratch, numbers=numbers))


def emit_logits(forward: Forward) -> None:
    """The answers as the caller reads them."""
    last = forward.model.nodes[-1]
    forward.steps.emit(Spec("output", "logits", a=forward.view(last), numbers={"classes": prod(last.image)}))
