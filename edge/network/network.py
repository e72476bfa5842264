"""The native network as frozen values, and the questions that planners, engines and reports ask of it."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from edge.network.operators import Operator, Shape
from edge.tasks.registry import CLASSIFICATION
from edge.tasks.task import Task
from edge.weight.parameter import Parameter

INPUT = "input"  # the name of the network's own input among the values


@dataclass(frozen=True, eq=False)
class Network:
    """Operators in topological order over named values, and their parameters.

    `classes` are the channels of what the last operator writes, whatever `task` makes of them. Tensors of a network
    that was read are read-only views of the mapped file.
    """

    input: tuple[int, int, int]
    classes: int
    operators: tuple[Operator, ...]
    parameters: Mapping[str, Parameter]
    mapping: mmap.mmap | None = field(default=None, repr=False)
    task: Task = CLASSIFICATION

    @property
    def logits(self) -> str:
        """Name of the value that the last operator writes."""
        return self.operators[-1].name

    @property
    def output(self) -> Shape:
        """Shape of an answer: what the last operator writes for one sample."""
        return self.operators[-1].shape

    def shapes(self) -> dict[str, Shape]:
        """Shape of every value without the batch, `"input"` included."""
        return {INPUT: self.input} | {operator.name: operator.shape for operator in self.operators}

    def operator(self, name: str) -> Operator:
        """The operator of that name; raises KeyError."""
        for operator in self.operators:
            if operator.name == name:
                return operator
        raise KeyError(name)

    def consumers(self) -> dict[str, tuple[Operator, ...]]:
        """The operators that read each value, in order; `()` for the logits."""
        readers: dict[str, list[Operator]] = {name: [] for name in self.shapes()}
        for operator in self.operators:
            for name in dict.fromkeys(operator.inputs):
                readers[name].append(operator)
        return {name: tuple(found) for name, found in readers.items()}

    def foreign(self) -> tuple[Operator, ...]:
        """The operators that only onnxruntime computes, in order: none in a network that our own engines can run."""
        return tuple(operator for operator in self.operators if operator.foreign)

    def layers(self) -> tuple[Operator, ...]:
        """The operators with a weight, in order, foreign ones included."""
        return tuple(operator for operator in self.operators if operator.layer_weight)

    def constants(self) -> set[str]:
        """Names of the tensors that the source model has no parameter for: lists of channels, numbers in its code."""
        return {
            name
            for operator in self.operators
            for role, name in operator.parameters().items()
            if not operator.role(role).of_model
        }

    def sparse_parameters(self) -> dict[str, Parameter]:
        """The parameters that a scheme makes sparse, in the order of the file."""
        return {name: parameter for name, parameter in self.parameters.items() if parameter.sparse}

    def sparsity(self) -> float:
        """Zeros over weights of the sparse parameters; 0 if there are none."""
        sparse = self.sparse_parameters().values()
        total = sum(parameter.size for parameter in sparse)
        return 1.0 - sum(parameter.nonzeros for parameter in sparse) / total if total else 0.0

    def multiply_accumulates(self) -> dict[str, int]:
        """Multiply-accumulates of one sample's forward pass by operator, counting kept weights only."""
        return self._multiply_accumulates({name: each.nonzeros for name, each in self.parameters.items()})

    def dense_multiply_accumulates(self) -> dict[str, int]:
        """What `multiply_accumulates` would be with every weight there."""
        return self._multiply_accumulates({name: each.size for name, each in self.parameters.items()})

    def _multiply_accumulates(self, weights: Mapping[str, int]) -> dict[str, int]:
        shapes = self.shapes()
        counts = {
            operator.name: operator.multiply_accumulates(
                [shapes[name] for name in operator.inputs],
                weights[operator.layer_weight] if operator.layer_weight else 0,
            )
            for operator in self.operators
        }
        return {name: count for name, count in counts.items() if count is not None}

    def with_parameters(self, changed: Mapping[str, Parameter]) -> Network:
        """The same network with some parameters replaced."""
        return replace(self, parameters={**self.parameters, **changed})

    def release(self) -> None:
        """Hand the resident pages of the mapped file back to the system; tensors stay readable, for a read."""
        release_pages(self.mapping)


def release_pages(mapping: mmap.mmap | None) -> None:
    """Give up the resident pages of a mapped file, where the system can; a later access reads them again."""
    if mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)
