"""The torch optimizers in what a training loop calls its optimizer."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from mest.errors import InputError


def optimizers_in(given: object) -> tuple[torch.optim.Optimizer, ...]:
    """The optimizers that take a step when `given` does: itself and those that it wraps, the outermost first.

    So an AcceleratedOptimizer is its inner optimizer, and ZeroRedundancyOptimizer, SAM or Lookahead are two: state is
    in both. Raises InputError if there is none.
    """
    found: list[torch.optim.Optimizer] = []
    seen: set[int] = set()
    queue = [given]
    while queue:
        one = queue.pop(0)
        if id(one) not in seen:
            seen.add(id(one))
            # A wrapper that never called Optimizer.__init__ has the class without its hooks.
            if isinstance(one, torch.optim.Optimizer) and "_optimizer_step_pre_hooks" in vars(one):
                found.append(one)
            queue += _held_by(one)
    if not found:
        raise InputError(
            f"a {type(given).__name__} is no torch.optim.Optimizer and holds none; give the optimizer that it uses"
        )
    return tuple(found)


def _held_by(one: object) -> Iterator[torch.optim.Optimizer]:
    for value in list(getattr(one, "__dict__", {}).values()):
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else (value,)
        yield from (part for part in parts if isinstance(part, torch.optim.Optimizer))
