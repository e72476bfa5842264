"""What a server makes of a round's updates: one mask for all that it mutates itself, or the masks of the clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from edge.chance import mix
from edge.errors import InputError
from edge.run.rate import mutation_bounds, mutation_ratio
from edge.weight.formats.csr import absolute_columns
from edge.weight.mutation import Slots, mutate
from edge.weight.parameter import Parameter
from edge.weight.units import kept_units, mutation_counts, unit_weights
from export.flower.averaging import Update, averaged, joined, mean, shares_of
from export.flower.layout import Layout, Weights, weights_of
from export.rebuild import rebuilt


@dataclass(frozen=True)
class Course:
    """Where a run stands: round `number` of `rounds`, from 1, and the seed of all that is random."""

    number: int
    rounds: int
    seed: int = 0

    @property
    def progress(self) -> float:
        """The share of the rounds that are done when this one is."""
        return self.number / self.rounds


class Merging(Protocol):
    """How a round's updates become the next round's weights."""

    @property
    def client_mutates(self) -> bool:
        """True if clients move their own masks."""

    def wants_scores(self, course: Course) -> bool:
        """True if clients send their units' scores in this round."""

    def merge(self, layout: Layout, updates: Sequence[Update], course: Course) -> Weights:
        """The next weights; raises InputError where the updates do not allow any."""


@dataclass(frozen=True)
class SharedMask:
    """All clients train under the server's mask; every so many rounds the server moves it by their scores.

    EM with the published decay: the share that moves follows from the progress of the rounds, none in the last part.
    """

    every_rounds: int = 1
    client_mutates: bool = False

    def wants_scores(self, course: Course) -> bool:
        """In the rounds after which the mask moves; `every_rounds` 0 leaves it for ever."""
        due = self.every_rounds > 0 and course.number % self.every_rounds == 0
        return due and mutation_ratio(course.progress) > 0

    def merge(self, layout: Layout, updates: Sequence[Update], course: Course) -> Weights:
        """The mean, and in due rounds the units with the lowest mean score exchanged for random ones at zero."""
        weights = averaged(layout, updates)
        targets = mutable(layout)
        if not self.wants_scores(course) or not targets:
            return weights
        shares = shares_of(updates)
        bounds = mutation_bounds("em", targets, course.progress)
        parameters = layout.encoded(weights)
        for number, name in enumerate(targets):
            scores = mean([update.scores[name] for update in updates], shares)
            seed = mix(course.seed, course.number, number)
            prune_to, grow_to = bounds.prune_to[name], bounds.grow_to[name]
            parameters[name] = moved(parameters[name], scores, prune_to, grow_to, seed)
        return weights_of(layout, parameters)


@dataclass(frozen=True)
class ClientMasks:
    """Every client moves its own mask; the server joins by position and prunes back to the target."""

    client_mutates: bool = True

    def wants_scores(self, course: Course) -> bool:
        """Never: the joined weights are what is judged."""
        return False

    def merge(self, layout: Layout, updates: Sequence[Update], course: Course) -> Weights:
        """The joined weights with as many units as the target keeps."""
        return joined(layout, updates, {name: target_units(each) for name, each in layout.sparse.items()})


def together(layout: Layout, client: str, updates: Sequence[Update]) -> Update:
    """Several updates as one with the samples of all.

    Under one mask a mean over it and others is that over all of them, up to rounding: means weighted by samples, and
    variances pooled, may be taken in parts. Masks that differ are joined and pruned back to the target here, so there a
    server sees what one client with all the samples would have kept.
    """
    first = updates[0].weights.masks
    same = all((update.weights.masks[name] == first[name]).all() for update in updates for name in first)
    counts = {name: target_units(each) for name, each in layout.sparse.items()}
    weights = averaged(layout, updates) if same else joined(layout, updates, counts)
    shares = shares_of(updates)
    scores = {name: mean([update.scores[name] for update in updates], shares) for name in updates[0].scores}
    return Update(client, sum(update.samples for update in updates), weights, scores)


def mutable(layout: Layout) -> dict[str, float]:
    """The target weight sparsity of every parameter whose mask may move."""
    return {
        name: parameter.target_sparsity
        for name, parameter in layout.sparse.items()
        if parameter.target_sparsity is not None and parameter.trainable
    }


def target_units(parameter: Parameter) -> int:
    """Units that a sparse parameter keeps at its target; as many as the artifact has where there is no target."""
    if parameter.target_sparsity is None:
        return stored_units(parameter)
    return kept_units(parameter, parameter.target_sparsity)


def stored_units(parameter: Parameter) -> int:
    """Units that a sparse parameter keeps now."""
    return parameter.nonzeros // unit_weights(parameter)


def moved(parameter: Parameter, scores: np.ndarray, prune_to: float, grow_to: float, seed: int) -> Parameter:
    """The parameter pruned by `scores` `(units,)` of its kept units, then grown at random; the board's own rule.

    Survivors keep their values, grown units are zero. Raises InputError for other numbers of scores than of units.
    """
    units, weights = stored_units(parameter), unit_weights(parameter)
    if scores.shape != (units,):
        raise InputError(f"{parameter.name}: {scores.size} scores for {units} units")
    room = max(units, *mutation_counts(parameter, prune_to, grow_to)) * weights
    indices = _indices(parameter, room // weights)
    judged, values = _judged(parameter, scores, room), _with_room(parameter.values, room)
    slots = Slots(judged, indices, units, (values,))
    done = mutate(parameter, slots, prune_to, grow_to, seed)
    used = parameter.size if parameter.format == "masked" else done.units * weights
    lists = {name: array if name in ("row_starts", "mask") else array[: done.units] for name, array in indices.items()}
    coding = "absolute" if parameter.format == "csr" else parameter.coding
    return rebuilt(replace(parameter, coding=coding), {**lists, "values": values[:used]})


def _indices(parameter: Parameter, units: int) -> dict[str, np.ndarray]:
    """The index lists that `mutate` changes in place, with room for so many units."""
    if parameter.format == "masked":
        bits = np.unpackbits(parameter.tensors["mask"], count=parameter.size, bitorder="little")
        return {"mask": bits}
    found = {}
    for name, tensor in parameter.tensors.items():
        if name == "row_starts":
            found[name] = tensor.astype(np.uint32)
        elif name != "values":
            array = absolute_columns(parameter) if name == "columns" and parameter.format == "csr" else tensor
            found[name] = _with_room(array, units, np.uint8 if name == "patterns" else np.uint32)
    return found


def _judged(parameter: Parameter, scores: np.ndarray, room: int) -> np.ndarray:
    """Values whose units have these scores: of a weight its magnitude, of several the sum of their squares."""
    if parameter.format == "masked":
        judged = np.zeros(parameter.size, np.float32)
        judged[np.unpackbits(parameter.tensors["mask"], count=parameter.size, bitorder="little").astype(bool)] = scores
        return judged
    if parameter.format == "csr":
        return _with_room(scores, room)
    shape = parameter.values.shape
    of_units = np.zeros(shape, np.float32)
    if parameter.format == "channel":
        of_units.reshape(shape[0], shape[1], -1)[0, :, 0] = np.sqrt(scores)
    else:
        of_units.reshape(shape[0], -1)[:, 0] = np.sqrt(scores)
    return _with_room(of_units, room)


def _with_room(array: np.ndarray, room: int, dtype: type = np.float32) -> np.ndarray:
    """A flat copy of at least so many entries, zeros behind those that there are."""
    copy: np.ndarray = np.zeros(max(room, array.size), dtype)
    copy[: array.size] = array.reshape(-1)
    return copy


MERGINGS: Mapping[str, Callable[[int], Merging]] = {
    "shared": SharedMask,
    "clients": lambda every_rounds: ClientMasks(),
}
