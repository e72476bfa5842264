"""The board: plan, fine-tune, mutate, predict and measure within a memory budget, on numpy and one shared library.

import edge

with edge.load("artifact", memory_budget="64MiB") as model:
    for images, labels in my_batches:  # float32 (n, c, h, w) as the manifest normalises them, int64 (n,)
        model.train_step(images, labels, learning_rate=0.01)
    logits = model.predict(images)
    model.save("state")

Threads may share a model: what needs the engine is done for one of them at a time. A closed model says so.

What a program may use is named in `__all__`; docs/python-api.md says more. Every other module is internal and may
change without notice. Names are loaded on first use: the commands of the board need not hold them.

Part of the distribution `mest`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.engines.engine import MutationResult, StepResult
    from edge.errors import BudgetError, ClosedError, DamagedError, EdgeError, InputError
    from edge.plan.choices import OptimizerChoice
    from edge.plan.process import MemoryPlan
    from edge.plan.search import Request
    from edge.run.model import Model, load
    from edge.run.predict import Prediction

__all__ = [
    "BudgetError",
    "ClosedError",
    "DamagedError",
    "EdgeError",
    "InputError",
    "MemoryPlan",
    "Model",
    "MutationResult",
    "OptimizerChoice",
    "Prediction",
    "Request",
    "StepResult",
    "load",
]

_HOMES = {
    **dict.fromkeys(("BudgetError", "ClosedError", "DamagedError", "EdgeError", "InputError"), "edge.errors"),
    **dict.fromkeys(("Model", "load"), "edge.run.model"),
    **dict.fromkeys(("MutationResult", "StepResult"), "edge.engines.engine"),
    "MemoryPlan": "edge.plan.process",
    "OptimizerChoice": "edge.plan.choices",
    "Prediction": "edge.run.predict",
    "Request": "edge.plan.search",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'edge' has no attribute {name!r}; it offers {', '.join(__all__)}")
