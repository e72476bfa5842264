"""The board: plan, fine-tune, mutate, predict and measure within a memory budget, on numpy and one shared library.

import edge

with edge.load("artifact", memory_budget="64MiB") as model:
    for images, labels in my_batches:  # float32 (n, c, h, w) as the manifest normalises them, int64 (n,)
        model.train_step(images, labels, learning_rate=0.01)
    logits = model.predict(images)
    model.save("state")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.model import Model as Model
    from edge.model import load as load

__all__ = ["Model", "load"]


def __getattr__(name: str) -> Any:
    """Load the small Python API when it is asked for: the commands of the board need not hold it."""
    if name in __all__:
        from edge import model

        return getattr(model, name)
    raise AttributeError(f"module 'edge' has no attribute {name!r}; it offers {', '.join(__all__)}")
