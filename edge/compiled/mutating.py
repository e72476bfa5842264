"""What a compiled plan holds so that its weights mutate: which, in which phases of the run, and to how many units."""

from __future__ import annotations

from collections.abc import Mapping
from ctypes import c_void_p, sizeof
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from edge.compiled.places import Places
from edge.engines.native.engine import NativeEngine
from edge.engines.native.mutation import counted
from edge.engines.native.weights import Weight
from edge.libmest import plan_file, program
from edge.run.rate import PHASES, mutation_bounds, mutation_ratio

WEIGHT_BYTES = sizeof(program.Weight) + (len(PHASES) + 1) * sizeof(plan_file.PlanUnits)  # of a weight, in the program
_STARTS = (0.0, *(until for until, _ in PHASES))
_ENDS = (*_STARTS[1:], np.inf)


@dataclass(frozen=True)
class Mutating:
    """The weights that mutate, in the order in which they do, and `counts`, the number of values of each."""

    weights: tuple[Weight, ...]
    counts: np.ndarray
    phases: tuple[plan_file.PlanPhase, ...]
    units: tuple[plan_file.PlanUnits, ...]  # [phase][weight]

    @classmethod
    def of(cls, engine: NativeEngine, kind: str, targets: Mapping[str, float]) -> Mutating:
        """EM or EM&S between target sparsities by weight; raises InputError for a format that cannot mutate."""
        names = [name for name in engine.tensors if name in targets] if kind != "none" else []
        weights = tuple(weight for name in names if isinstance(weight := engine.tensors[name], Weight))
        phases, units = [], []
        for start, until in zip(_STARTS, _ENDS, strict=True) if weights else ():
            bounds = mutation_bounds(kind, targets, start)
            at_target = kind == "em" or bounds.at_target
            phases.append(plan_file.PlanPhase(until, int(mutation_ratio(start) > 0), int(at_target)))
            for weight in weights:
                wanted = counted(weight, bounds.prune_to[weight.name], bounds.grow_to[weight.name])
                units.append(plan_file.PlanUnits(wanted.left, wanted.grown))
        return cls(weights, np.array([one.count for one in weights], np.int64), tuple(phases), tuple(units))

    def lists(self) -> list[np.ndarray]:
        """All that a mutation writes of what steps only read, the counts first."""
        return [self.counts, *(array for weight in self.weights for array in weight.indices.values())]

    def rows(self, places: Places) -> list[plan_file.PlanWeight]:
        """The weights, whose parts lie in the blocks."""
        return [_row(weight, places) for weight in self.weights]

    def place(self, name: str, array: np.ndarray) -> np.ndarray:
        """The array that lies in memory where a snapshot has a copy of another form."""
        weight_name, _, part = name.rpartition("/")
        weight = next((one for one in self.weights if one.name == weight_name), None)
        return array if weight is None or part != "row_starts" else weight.indices["starts"]

    def entry(self, name: str) -> dict[str, Any]:
        """What the size of an array of a snapshot follows from: which count, and values for each of its items.

        Nothing for an array that keeps its size. Starts of a pattern are counted in kernels.
        """
        weight_name, _, part = name.rpartition("/")
        number = next((n for n, weight in enumerate(self.weights) if weight.name == weight_name), None)
        if number is None:
            return {}
        layout = self.weights[number].layout
        kernels = 4 if layout.parameter.format == "pattern" else 1
        if part == "row_starts":
            return {"of_each": kernels}
        parameter = layout.parameter
        per = {"columns": layout.height, "kernels": kernels, "patterns": kernels}
        per["channels"] = parameter.rows * prod(parameter.shape[2:])
        return {"count": number, "values": per.get(part, 1)}


def _row(weight: Weight, places: Places) -> plan_file.PlanWeight:
    described, parts = weight.described(), weight.parts()
    row = plan_file.PlanWeight()
    for name, kind in program.Weight._fields_:  # type: ignore[misc]
        if kind is c_void_p:
            part = parts.get(name)
            found = places.find(part.ctypes.data, part.nbytes) if part is not None and part.size else None
            setattr(row, name, -1 if found is None else found[1])
        else:
            setattr(row, name, getattr(described, name))
    return row
