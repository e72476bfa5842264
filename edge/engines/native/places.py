"""Where a program's steps find what they name: numbers of operands for slots and parameters, and for reading them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edge.engines.native.model import Model
from edge.engines.native.operands import Operands
from edge.engines.native.slots import GradSpec, Slot, ViewSpec
from edge.engines.native.weights import Tensor
from edge.libmest import program as structs
from edge.libmest import vocabulary


@dataclass(frozen=True)
class Places:
    """What a row of a table is made from. `size` counts the samples of a micro-batch."""

    model: Model
    tensors: Mapping[str, Tensor]
    operands: Operands
    update: structs.Update
    size: int

    def view(self, view: ViewSpec) -> structs.View:
        """How a stored tensor is read."""
        found = structs.View(
            self.operands.slot(view.data), 0, 0, 0, view.node.read_act, *view.image, *view.node.numbers
        )
        found.storage, found.origin = view.data.storage, self._origin(view.data)
        if view.node.norm and view.statistics is not None:
            found.mean, _, found.scale = self.operands.parts(view.statistics, vocabulary.STATISTICS)
            found.shift = self.operands.array(self.tensors[view.node.norm.shift].values)
        return found

    def grad(self, grad: GradSpec) -> structs.Grad:
        """How a gradient is read."""
        channels, height, width = grad.image
        found = structs.Grad(data=self.operands.slot(grad.data), channels=channels, height=height, width=width)
        if grad.stored is None:
            return found
        node = grad.node
        found.stored = self.operands.slot(grad.stored)
        found.storage, found.origin = grad.stored.storage, self._origin(grad.stored)
        found.act = node.act
        found.alpha, found.beta = node.numbers
        if node.norm:
            assert grad.statistics is not None
            assert grad.slopes is not None
            found.mean, _, found.scale = self.operands.parts(grad.statistics, vocabulary.STATISTICS)
            found.shift = self.operands.array(self.tensors[node.norm.shift].values)
            if self.model.batch_statistics(node, self.size):
                found.slope, found.offset = self.operands.parts(grad.slopes, vocabulary.SLOPES)
        return found

    def _origin(self, stored: Slot) -> int:
        return 0 if stored.origin is None else self.operands.parts(stored.origin, vocabulary.STATISTICS)[0]

    def channels(self, name: str) -> int:
        """The operand of a parameter that lists channels, as int32."""
        listed = np.ascontiguousarray(self.model.network.parameters[name].values, np.int32)
        return self.operands.array(listed, writable=False)
