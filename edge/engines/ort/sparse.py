"""A sparse layer inside onnxruntime-training's memory: its values and indices as numpy views, free slots at the end.

The tensors are those of the native network with absolute columns, rows cut into spans where that makes the columns
bytes (see `spans.py`, and export/ort/represent.py for the graph). Slots after the last row's end are free, hold zeros,
and get no gradient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.engines.engine import MutationResult
from edge.engines.ort.spans import in_spans, stored_spans
from edge.errors import DamagedError
from edge.weight.mutation import Slots, mutate
from edge.weight.parameter import Parameter


@dataclass(frozen=True)
class Described:
    """A sparse layer as the artifact describes it: its parameter, and the checkpoint's names of its tensors by role."""

    parameter: Parameter
    names: Mapping[str, str]  # values, and row_starts, columns, kernels, patterns or mask


class SparseLayer:
    """One layer's views. `values_name` is the trained parameter that the optimizer state belongs to."""

    def __init__(self, described: Described, views: Mapping[str, np.ndarray]) -> None:
        missing = [name for name in described.names.values() if name not in views]
        if missing:
            raise DamagedError(f"checkpoint: has no parameter {missing[0]}; export the artifact again")
        self.parameter = described.parameter
        self.name = described.parameter.name
        self.values_name = described.names["values"]
        self.tensors = {role: views[name] for role, name in described.names.items()}
        self._listed = self.parameter
        if "columns" in self.tensors:
            try:
                spans = stored_spans(self.parameter, len(self.tensors["row_starts"]))
            except ValueError as unfit:
                raise DamagedError(f"checkpoint: {self.name}: {unfit}; export the artifact again") from None
            self._listed = in_spans(self.parameter, spans)
        # A weight exported dense has nothing that keeps its zeros; what was zero is remembered, so that it can be said.
        self._zeros = np.packbits(self.tensors["values"] == 0) if self.parameter.format == "dense" else None

    @property
    def weights(self) -> int:
        """Number of weights, zeros included."""
        return self.parameter.size

    @property
    def units(self) -> int:
        """Number of kept units: rows of `values` in use."""
        return int(self.tensors["row_starts"][-1])

    def nonzeros(self) -> int:
        """Number of weights inside the mask."""
        if "mask" in self.tensors:
            return int(np.count_nonzero(self.tensors["mask"]))
        if "row_starts" in self.tensors:
            return self.units * (self.tensors["values"].size // max(len(self.tensors["values"]), 1))
        if self._zeros is not None:
            return int(np.count_nonzero(self.tensors["values"]))
        return self.parameter.nonzeros

    def zeros_kept(self) -> bool:
        """True if every weight outside the mask, and every free slot, is exactly zero."""
        values = self.tensors["values"]
        if "mask" in self.tensors:
            return not np.any(values[self.tensors["mask"] == 0])
        if "row_starts" in self.tensors:
            return not np.any(values[self.units :])
        if self._zeros is not None:
            return not np.any(values.reshape(-1)[np.unpackbits(self._zeros, count=values.size).astype(bool)])
        return True

    def mutate(
        self,
        prune_to: float,
        grow_to: float,
        seed: int,
        gradient_weight: float,
        gradient: np.ndarray | None,
        state: Sequence[np.ndarray],
    ) -> MutationResult:
        """Prune and grow in place, optimizer state included; see `edge.weight.mutation`."""
        indices = {role: array for role, array in self.tensors.items() if role != "values"}
        units = self.parameter.size if "mask" in indices else self.units
        slots = Slots(self.tensors["values"], indices, units, state, gradient)
        done = mutate(self._listed, slots, prune_to, grow_to, seed, gradient_weight)
        return MutationResult(done.removed_weights, done.grown_weights)
