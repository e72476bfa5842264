"""Values that follow one another: features, positions, and stored tokens in front. A handler of `channels_first`."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import onnx

from export.graph import attributes
from export.operators.tokens import PREPEND
from export.passes.broadcasting import broadcast, spread
from export.passes.layout import BATCH, FEATURES, POSITIONS, Atom, Layout, LayoutError, merged
from export.passes.rewriting import Rewriting, plainly


def concat(self: Rewriting, node: onnx.NodeProto) -> None:
    """Features of several values one behind the other."""
    if self.all_plain(node):
        plainly(self, node)
        return
    if any(name not in self.layouts for name in node.input):
        _prepend(self, node)
        return
    layouts = [self.layout(name) for name in node.input]
    axis = int(attributes(node)["axis"]) % len(layouts[0].axes)
    if (turned := _positions_joined(layouts, axis)) is not None:
        self.moved(node, turned)
        return
    made = [f"{node.output[0]}.input{number or ''}" for number in range(len(node.input))]
    found = [self.whole(layout, node, own) for layout, own in zip(layouts, made, strict=True)]
    rank = len(found[0].axes)
    if not all(layout.all_of(axis, FEATURES) and len(layout.axes) == rank for layout in found):
        raise LayoutError("it joins something else than features")
    result = broadcast([Layout("", (*layout.axes[:axis], (), *layout.axes[axis + 1 :])) for layout in found])
    sources = [spread(self, layout, result, node, f"{own}.positions") for layout, own in zip(found, made, strict=True)]
    channels = sum(self.natives[source][0] for source in sources)
    output, positions = node.output[0], self.natives[sources[0]][1:]
    self.emit("Concat", sources, output, (channels, *positions), node, axis=1)
    joined = (*result.axes[:axis], merged([Atom(FEATURES, channels)]), *result.axes[axis + 1 :])
    self.layouts[output] = Layout(output, joined).over(output)


def _prepend(self: Rewriting, node: onnx.NodeProto) -> None:
    """Tokens that are parameters, repeated for each image, in front of a sequence."""
    *front, last = node.input
    if last not in self.layouts or any(name in self.layouts for name in front):
        raise LayoutError("it joins stored numbers with a value elsewhere than in front of it")
    found = self.whole(self.layout(last), node, f"{node.output[0]}.input")
    axis = int(attributes(node)["axis"]) % len(found.axes)
    if len(found.axes) != 3 or axis != 1 or not found.batch_first or not found.all_of(2, FEATURES):
        raise LayoutError("it joins stored numbers with something else than a sequence of features")
    source = found.source
    for number, name in reversed(list(enumerate(front))):
        maker = self.makers.get(name)
        tokens = maker.input[0] if maker is not None and maker.op_type == "Expand" else name
        stored = self.constants.get(tokens)
        if stored is None or tokens not in self.trained or stored.ndim not in (2, 3):
            raise LayoutError(f"the tokens {name} are no parameter of the model")
        channels, *positions = self.natives[source]
        output = f"{node.output[0]}.tokens{number}" if number else node.output[0]
        shape = (channels, 1, prod(positions) + stored.shape[-2])
        source = self.emit(PREPEND, [source, tokens], output, shape, node)
    self.layouts[source] = Layout(
        source, (BATCH, merged([Atom(POSITIONS, self.natives[source][2])]), found.axes[2])
    ).over(source)


def _positions_joined(layouts: Sequence[Layout], axis: int) -> Layout | None:
    """Positions of one value behind one another, as a cyclic shift joins them; None for anything else."""
    first = layouts[0]
    if len({(layout.source, layout.factor, len(layout.axes)) for layout in layouts}) != 1:
        return None
    if any(atom.kind != POSITIONS for layout in layouts for atom in layout.axes[axis]):
        return None
    if any(not np.array_equal(layout.places(FEATURES), first.places(FEATURES)) for layout in layouts):
        return None
    places = [layout.positions() for layout in layouts]
    if len({(*one.shape[:axis], *one.shape[axis + 1 :]) for one in places}) != 1:
        return None
    return first.reordered(np.concatenate(places, axis))
