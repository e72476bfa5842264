"""What a model gives for images, tried on zeros in both modes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from mest.errors import InputError
from mest.tasks.registry import CLASSIFICATION
from mest.tasks.task import Task


def answer_of(model: nn.Module, input: tuple[int, ...], task: Task = CLASSIFICATION) -> tuple[int, ...]:
    """The shape of what a model gives for an image `(channels, height, width)`, or for another input.

    It is run on zeros, one image as in evaluation and two as in training; modes, running statistics and the global
    generator are left as they were. Raises InputError, without the model's name, if it does not take such images or
    gives anything but what the task needs for each: one row of logits, say.
    """
    with _as_before(model):
        model.eval()
        found = _answer(model, input, 1, "", task)
        model.train()
        training = _answer(model, input, 2, " in training", task)
    if training != found:
        shown = [shape[0] if len(shape) == 1 else f"{shape} of" for shape in (training, found)]
        raise InputError(f"gives {shown[0]} logits in training and {shown[1]} otherwise; return the same in both")
    return found


def _answer(model: nn.Module, input: tuple[int, ...], images: int, mode: str, task: Task) -> tuple[int, ...]:
    like = next((weight for weight in model.parameters() if weight.is_floating_point()), torch.zeros(0))
    try:
        with torch.no_grad():
            logits = model(torch.zeros(images, *input, device=like.device, dtype=like.dtype))
    except Exception as failed:  # it is the user's code: whatever it raises is said in one line
        reason = (str(failed).strip() or type(failed).__name__).splitlines()[0]
        what = "images" if len(input) == 3 else "inputs"
        raise InputError(f"does not take {what} of {'x'.join(map(str, input))}{mode} ({reason})") from failed
    if mode and isinstance(logits, tuple) and logits:
        logits = logits[0]  # before those of auxiliary classifiers
    if not isinstance(logits, torch.Tensor):
        raise InputError(f"gives a {type(logits).__name__}{mode}; return the logits alone, one row for each image")
    batch, *answer = (int(side) for side in logits.shape) if logits.ndim else (0,)
    classes = answer[0] if answer else 0
    if batch != images or not classes or tuple(answer) != task.output(classes, input):
        raise InputError(
            f"gives {tuple(logits.shape)} for {images} image(s){mode}, expected {task.form(images, input)}"
        )
    return tuple(answer)


@contextmanager
def _as_before(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for buffer, content in buffers:
                buffer.copy_(content)
