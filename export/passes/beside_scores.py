"""What models add to the scores of attention: a learned bias, however its numbers are picked, and stored masks.

Relative positions pick each score's number from a table. Whatever nodes do that, they only move numbers: run over the
places of the table instead of its values, they say which place each score gets.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from export.graph import OPSET
from export.operators.foreign import LAYOUT
from export.passes.layout import FEATURES, IMAGES, KEYS, POSITIONS, QUERIES, Atom, Layout, LayoutError
from export.passes.rewriting import Rewriting, Scores

MOVING = LAYOUT | {"GatherND", "GatherElements", "Identity"}
ORDER = (POSITIONS, FEATURES, QUERIES, KEYS)  # of the axes: windows, heads, queries, keys
LOWEST = -1e30  # what stands for minus infinity


def added(self: Rewriting, node: onnx.NodeProto, scores: Scores) -> Scores:
    """The scores with what an Add puts beside them; raises LayoutError."""
    others = [name for name in node.input if name not in self.scores]
    if len(others) != 1 or others[0] in self.layouts:
        raise LayoutError("attention has something beside its scores that follows from the images")
    parameter, numbers = _moved(self, others[0])
    spread = _per_score(numbers, scores.layout)
    if parameter is None:
        if (spread != spread[:, :1]).any():
            raise LayoutError("attention has a mask that differs from head to head")
        mask = np.maximum(spread[:, 0], LOWEST)
        mask = mask if (mask != mask[:1]).any() else mask[:1]
        return replace(scores, mask=mask if scores.mask is None else scores.mask + mask)
    if scores.bias is not None:
        raise LayoutError("attention has two learned biases beside its scores")
    if (spread != spread[:1]).any():
        raise LayoutError("attention has a bias beside its scores that differs from window to window")
    return replace(scores, bias=(parameter, spread[0]))


def _moved(self: Rewriting, name: str) -> tuple[str | None, np.ndarray]:
    """The parameter that a stored value is made of and the place in it of each number; or no parameter, and numbers."""
    nodes: list[onnx.NodeProto] = []
    needed, parameters = [name], set[str]()
    for value in needed:
        maker = self.makers.get(value)
        if maker is not None and maker not in nodes:
            nodes.append(maker)
            needed.extend(one for one in maker.input if one)
        elif maker is None and value in self.trained:
            parameters.add(value)
    if len(parameters) > 1 or any(node.op_type not in MOVING for node in nodes if parameters):
        raise LayoutError("attention has a bias beside its scores that is computed from parameters")
    if any(value not in self.makers and value not in self.constants for value in needed):
        raise LayoutError("attention has something beside its scores that depends on the number of images")
    stored = {value: self.constants[value] for value in needed if value in self.constants}
    for value in parameters:
        stored[value] = np.arange(stored[value].size).reshape(stored[value].shape)
    parameter = next(iter(parameters), None)
    if not nodes:
        return parameter, stored[name]
    graph = helper.make_graph(
        [node for node in self.graph.node if node in nodes],
        "beside",
        [],
        [helper.make_tensor_value_info(name, onnx.TensorProto.UNDEFINED, None)],
        [numpy_helper.from_array(np.asarray(array), value) for value, array in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    (found,) = ReferenceEvaluator(model).run(None, {})
    return parameter, np.asarray(found)


def _per_score(numbers: np.ndarray, layout: Layout) -> np.ndarray:
    """Numbers that are added to scores, for each: (windows, heads, queries, keys); raises LayoutError."""
    sizes = [prod(atom.size or 1 for atom in axis) for axis in layout.axes]
    wide = numbers.reshape((1,) * (len(sizes) - numbers.ndim) + numbers.shape)
    found: tuple[int, ...] = wide.shape
    if len(found) != len(sizes) or any(have not in (1, size) for have, size in zip(found, sizes, strict=True)):
        raise LayoutError(
            f"attention has something of shape {list(numbers.shape)} beside its scores, which does not fit"
        )
    atoms: list[Atom] = [atom for axis in layout.axes for atom in axis if atom.kind != IMAGES]
    cut = np.broadcast_to(wide, sizes).reshape([atom.size or 1 for atom in atoms])
    turned = sorted(range(len(atoms)), key=lambda place: ORDER.index(atoms[place].kind))
    counts = [prod(atom.size or 1 for atom in atoms if atom.kind == kind) for kind in ORDER]
    return cut.transpose(turned).reshape(counts)
