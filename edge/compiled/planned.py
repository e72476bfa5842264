"""The native engine as a planner asks it that plans for a process without Python."""

from __future__ import annotations

from collections.abc import Iterable
from ctypes import sizeof
from dataclasses import replace

from edge.compiled.mutating import WEIGHT_BYTES
from edge.engines.native.blueprint import Blueprint, draw
from edge.engines.native.footprint import Planned, plan_listing
from edge.engines.native.listing import training_listing
from edge.engines.native.planned import NativeOpening, NativePlanned
from edge.handover.artifact import Artifact
from edge.libmest.program import Operand, Step
from edge.plan.choices import Choices
from edge.plan.footprint import Footprint, Item
from edge.plan.process import Surroundings

PROGRAM_BYTES = 512 << 10  # resident of the program itself: its code for one instruction set, its stack
DECODER_BYTES = 128 << 10  # code and tables of the decoders of pictures
SURROUNDINGS = Surroundings(code_bytes=64 << 10, margin_bytes=128 << 10)  # what pages and heads of files scatter by
# Of a step: its row, and what it has at the most of operands and rows of tables, all of them mapped from the file.
STEP_BYTES = sizeof(Step) + 12 * sizeof(Operand)
SAMPLE_BYTES = 4 + 4 + 4 + 1  # of a sample of the data: label, split, order, mark of what is held out
_HELD = ("weights", "indices", "gradients", "optimizer")


class CompiledPlanned(NativePlanned):
    """Our own sparse kernels in a static program.

    `samples` are those of the data, 0 where they are not known; of each it is noted whether it was forgotten where some
    are `dropped`. A picture may take the arena to decode, or `picture_bytes` where that is more.
    """

    surroundings = SURROUNDINGS

    def __init__(self, artifact: Artifact, samples: int, dropped: bool = False, picture_bytes: int = 0) -> None:
        super().__init__(artifact, PROGRAM_BYTES, 0)
        self._picture_bytes = picture_bytes
        self._of_samples = samples * (SAMPLE_BYTES + dropped)

    def prepare(self, choices: Choices) -> NativeOpening:
        """All that the program will hold for these choices; allocates nothing."""
        blueprint = draw(self.network, choices)
        return NativeOpening(replace(blueprint, footprint=self._footprint(blueprint)))

    def _footprint(self, blueprint: Blueprint) -> Footprint:
        choices = blueprint.model.choices
        channels, height, width = self.network.input
        numbers = channels * height * width
        steps = sum(len(one.listing.specs) for one in (*blueprint.training.values(), blueprint.predict))
        items = [item for item in blueprint.footprint.items if item.kind in _HELD]
        items.append(Item("runtime", "step list", steps * STEP_BYTES))
        if choices.densest_sparsity:
            items.append(Item("runtime", "mutation", len(choices.densest_sparsity) * WEIGHT_BYTES))
        piece = choices.micro_batch * (4 * numbers + 8 + 4 * self.network.classes) + 4 * numbers
        items.append(Item("data", "piece", piece))
        items.append(Item("data", "labels and order", self._of_samples))
        if self._picture_bytes:
            beyond = max(0, self._picture_bytes - blueprint.footprint.arena.nbytes)
            items.append(Item("data", "pictures beyond the arena", beyond + DECODER_BYTES))
        return replace(blueprint.footprint, items=tuple(items))


def with_pieces(blueprint: Blueprint, sizes: Iterable[int]) -> Blueprint:
    """The blueprint with programs for pieces of more sizes, in an arena that has room for all of them."""
    training: dict[int, Planned] = dict(blueprint.training)
    for size in sizes:
        if size not in training:
            training[size] = plan_listing(training_listing(blueprint.model, size))
    arena = blueprint.footprint.arena
    largest = max(arena.nbytes, *(one.arena.nbytes for one in training.values()))
    footprint = replace(blueprint.footprint, arena=replace(arena, nbytes=largest))
    return replace(blueprint, training=training, footprint=footprint)
