"""The native engine: a planned step of sparse training in one call of the C library."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edge.engines.engine import MutationResult, StepResult
from edge.engines.native import snapshots
from edge.engines.native.addresses import Lowered
from edge.engines.native.blueprint import Blueprint, draw
from edge.engines.native.footprint import Planned, plan_listing
from edge.engines.native.listing import training_listing
from edge.engines.native.mutation import counted, mutate_weight
from edge.engines.native.operators.loss import LOSSES
from edge.engines.native.pieces import filled_up
from edge.engines.native.tensors import allocate_tensors, describe_update, trained_tensors
from edge.engines.native.weights import Weight, aligned
from edge.errors import BudgetError, ClosedError, DamagedError, InputError
from edge.libmest import library
from edge.libmest import program as structs
from edge.network import Network
from edge.plan.choices import Choices
from edge.plan.footprint import Footprint
from edge.plan.process import STACK_BYTES

STEPS = "optimizer/steps"  # in a snapshot


@dataclass(frozen=True)
class StepProfile:
    """Seconds of each step of the planned list, in order, with its name and operator."""

    names: tuple[str, ...]
    operators: tuple[str, ...]
    seconds: tuple[float, ...]
    result: StepResult


class NativeEngine:
    """`edge.engines.engine.Engine` over our own kernels. `snapshot` returns views of the living arrays.

    `arena`: the block that all buffers lie in (bytes); `training`: the program of a step, by samples of a
    piece; `prediction`: that of a prediction; `tensors`: what is trained, by name.
    """

    name = "native"

    def __init__(self, blueprint: Blueprint, instruction_set: str = "") -> None:
        """Allocate what the blueprint says; nothing is planned again.

        `instruction_set` is one of `edge.libmest.library.instruction_sets()`; empty takes the best. Raises InputError
        where the library, the set or the threads are not to be had.
        """
        self._model, self.footprint = blueprint.model, blueprint.footprint
        self._task = self._model.network.task
        self.choices = choices = self._model.choices
        try:
            self._library = library.load_library()
        except library.LibraryError as error:
            raise InputError(f"engine native: {error}") from None
        ctypes.set_errno(0)
        self._handle = self._library.mest_open(choices.threads, STACK_BYTES, instruction_set.encode())
        if not self._handle and ctypes.get_errno() == errno.ENOMEM:
            raise MemoryError(f"stacks of {choices.threads - 1} threads")
        if not self._handle:
            known = ", ".join(library.instruction_sets())
            raise InputError(
                f"engine native: {choices.threads} threads of instruction set {instruction_set or 'auto'!r} cannot be "
                f"started; sets that run here: {known}"
            )
        self.arena = aligned(self.footprint.arena.nbytes, np.uint8)
        self._gradients, self.tensors = allocate_tensors(self._model)
        self._update, self._params = describe_update(choices), trained_tensors(self.tensors)
        self._steps_done = 0
        self.training = {size: self._lower(planned) for size, planned in blueprint.training.items()}
        self._unplanned: tuple[int, Lowered] | None = None  # the last piece of a size that was not planned
        self.prediction = self._lower(blueprint.predict)

    @classmethod
    def of(cls, network: Network, choices: Choices, instruction_set: str = "") -> NativeEngine:
        """An engine that is planned and opened in one; raises InputError for impossible choices too."""
        return cls(draw(network, choices), instruction_set)

    @staticmethod
    def available() -> tuple[bool, str]:
        """Whether the library is there and loads, and the instruction set it will use or what is missing."""
        return library.available()

    @staticmethod
    def estimate(network: Network, choices: Choices) -> Footprint:
        """All memory that an engine with these choices holds; allocates nothing and needs no library."""
        return draw(network, choices).footprint

    @property
    def instruction_set(self) -> str:
        """Name of the instruction set in use."""
        name: bytes = self._library.mest_isa_name(self._handle)
        return name.decode()

    def train_step(self, images: np.ndarray, labels: np.ndarray, learning_rate: float) -> StepResult:
        """One optimizer step; the last micro-batch may be smaller. A loss that is not finite changes no weight.

        Raises BudgetError, before anything is changed, for a rest that no plan counted with and the arena cannot hold.
        """
        self._refuse_closed()
        images, labels = self._checked(images, labels)
        terms = self._task.terms(labels, self._model.network.output)
        call = structs.Call(batch=terms, learning_rate=learning_rate, update_count=self._steps_done)
        size = self.choices.micro_batch
        whole, rest = divmod(len(images), size)
        if rest:
            self._program(rest)
        if whole:
            self._train(size, images, labels, call, whole, first=True, last=not rest)
        if rest:
            self._train(rest, images[whole * size :], labels[whole * size :], call, 1, first=not whole, last=True)
        if np.isfinite(call.loss):
            self._steps_done += 1
        return self._result(call)

    def _result(self, call: structs.Call) -> StepResult:
        return StepResult(call.loss / call.batch, call.correct if self._task.of_classes else None)

    def _train(
        self,
        size: int,
        images: np.ndarray,
        labels: np.ndarray,
        call: structs.Call,
        pieces: int,
        first: bool,
        last: bool,
    ) -> None:
        program = self._program(size)
        call.images = images.ctypes.data
        targets = self._task.against(images, labels)
        setattr(call, LOSSES[self._task.name].targets, targets.ctypes.data)
        call.targets = targets[0].size
        call.micro_batches = pieces
        call.begin, call.start = 0 if first else program.start, program.start
        call.body, call.end = program.body, program.end if last else program.body
        self._run(program, call)

    def _refuse_closed(self) -> None:
        """Raise ClosedError where the C library would be handed nothing, or a snapshot would hold nothing."""
        if not self._handle:
            raise ClosedError

    def _run(self, program: Lowered, call: structs.Call) -> None:
        if self._library.mest_run(self._handle, ctypes.byref(program.program), ctypes.byref(call)):
            raise ValueError("a call outside its program")

    def _program(self, micro_batch: int) -> Lowered:
        """The training program for a size of piece; for one that was not planned, if it fits the same arena."""
        if micro_batch in self.training:
            return self.training[micro_batch]
        if self._unplanned is None or self._unplanned[0] != micro_batch:
            self._unplanned = None  # one at a time is held
            planned = plan_listing(training_listing(self._model, micro_batch))
            if planned.arena.nbytes > self.arena.size:
                raise BudgetError(
                    f"a micro-batch of {micro_batch} samples needs {planned.arena.nbytes} bytes, the plan for "
                    f"micro-batches of {', '.join(map(str, self.choices.pieces))} holds {self.arena.size}; "
                    "plan with the size of the smaller batch (last_batch), or give a batch size that "
                    "divides the samples"
                )
            self._unplanned = micro_batch, self._lower(planned)
        return self._unplanned[1]

    def _programs(self) -> tuple[Lowered, ...]:
        unplanned = () if self._unplanned is None else (self._unplanned[1],)
        return (*self.training.values(), *unplanned, self.prediction)

    def _lower(self, planned: Planned) -> Lowered:
        lowered = Lowered(
            self._model,
            planned.listing,
            self.tensors,
            self._gradients,
            self._update,
            self._params,
            self.arena,
            planned.arena.offsets,
        )
        self.verify(lowered)
        return lowered

    def verify(self, lowered: Lowered) -> None:
        """Raise DamagedError naming the first step of a program whose numbers do not fit its memory."""
        wrong = self._library.mest_check(ctypes.byref(lowered.program), self.choices.threads)
        if wrong:
            name = lowered.names[wrong - 1]
            raise DamagedError(f"network: step {name!r} has sizes or indices out of range; export the artifact again")

    def profile_step(self, images: np.ndarray, labels: np.ndarray, learning_rate: float) -> StepProfile:
        """One training step over one micro-batch at most, with the time of every step of the list."""
        self._refuse_closed()
        images, labels = self._checked(images, labels)
        if len(images) > self.choices.micro_batch:
            raise InputError(f"{len(images)} samples: a profiled step takes at most {self.choices.micro_batch}")
        program = self._program(len(images))
        seconds = np.zeros(program.end)
        terms = self._task.terms(labels, self._model.network.output)
        call = structs.Call(batch=terms, learning_rate=learning_rate, update_count=self._steps_done)
        call.seconds = seconds.ctypes.data
        self._train(len(images), images, labels, call, 1, first=True, last=True)
        self._steps_done += 1
        return StepProfile(
            program.names,
            program.operators,
            tuple(seconds.tolist()),
            self._result(call),
        )

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Logits `(n, classes)`, or answers of the task's other shape, in evaluation mode.

        The last piece is filled up with what lies behind the images in their own buffer, or with zeros.
        """
        self._refuse_closed()
        images = self._checked_images(images)
        size, count = self.choices.micro_batch, len(images)
        logits = np.empty((count, *self._model.network.output), np.float32)
        whole = count // size
        call = structs.Call(micro_batches=whole, end=self.prediction.end)
        call.body = call.end
        if whole:
            call.images, call.logits = images.ctypes.data, logits.ctypes.data
            self._run(self.prediction, call)
        if count % size:
            filled = filled_up(images, whole * size, size)
            rest = np.empty((size, *logits.shape[1:]), np.float32)
            call.micro_batches, call.images, call.logits = 1, filled.ctypes.data, rest.ctypes.data
            self._run(self.prediction, call)
            logits[whole * size :] = rest[: count % size]
        return logits

    def mutate(
        self, prune_to: Mapping[str, float], grow_to: Mapping[str, float], seed: int, gradient_weight: float = 0.0
    ) -> MutationResult:
        """Prune and grow inside the compressed form; the score's gradient is that of the last whole step."""
        self._refuse_closed()
        counts = {}
        for name in self.tensors:
            weight = self.tensors[name]
            if name not in prune_to:
                continue
            if not isinstance(weight, Weight) or not weight.layout.parameter.sparse:
                raise InputError(f"{name}: not a sparse weight of this network; it cannot be mutated")
            counts[weight] = counted(weight, prune_to[name], grow_to[name])
        scratch = self._scratch(max((weight.layout.mutation_bytes for weight in counts), default=0))
        removed = grown = 0
        for number, (weight, wanted) in enumerate(counts.items()):
            result = mutate_weight(weight, wanted, seed + number, gradient_weight, scratch)
            removed, grown = removed + result.removed, grown + result.grown
        self._refresh()
        return MutationResult(removed, grown)

    def _scratch(self, nbytes: int) -> np.ndarray:
        """The arena, of which nothing is needed between steps; memory for a moment where no mutation was planned."""
        return self.arena if nbytes <= self.arena.size else aligned(nbytes, np.uint8)

    def _refresh(self) -> None:
        """Bring the programs in line with the numbers of non-zeros."""
        for lowered in self._programs():
            lowered.refresh()
            self.verify(lowered)

    def snapshot(self) -> dict[str, np.ndarray]:
        """`NAME/values`, index lists, `NAME/gradient`, `NAME/state0..`, `optimizer/steps`; views for now."""
        self._refuse_closed()
        return {**snapshots.arrays_of(self.tensors), STEPS: np.array([self._steps_done], np.int64)}

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Continue from a snapshot; raises DamagedError, and changes nothing, if it does not fit."""
        wrong = sorted(set(self.snapshot()) ^ set(snapshot))
        if wrong:
            raise DamagedError(f"state: {wrong[0]} does not fit this artifact and these choices")
        snapshots.take(self.tensors, snapshot, snapshots.ALL)
        self._steps_done = int(snapshot[STEPS][0])
        self._refresh()

    def restore_weights(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Take a snapshot's values and index lists alone; raises DamagedError, and changes nothing, if one lacks."""
        self._refuse_closed()
        snapshots.check_weights(self.tensors, snapshot)
        snapshots.take(self.tensors, snapshot, snapshots.WEIGHTS)
        self._steps_done = 0
        self._refresh()

    def zeros_kept(self) -> bool:
        """True by construction: no weight outside the mask exists."""
        self._refuse_closed()
        return True

    def sparsity(self) -> float:
        """Zeros over weights of the sparse layers; 0 for a network without any."""
        self._refuse_closed()
        sparse = self._model.network.sparse_parameters()
        total = sum(parameter.size for parameter in sparse.values())
        return 1.0 - sum(self.tensors[name].count for name in sparse) / total if total else 0.0

    def close(self) -> None:
        """End the threads and let go of the memory."""
        if not self._handle:
            return
        self._library.mest_close(self._handle)
        self._handle = None
        self.training.clear()
        self._unplanned = None
        self.tensors.clear()
        self._params = ()
        del self.prediction, self._update  # they lead to the arrays
        self.arena = self._gradients = np.empty(0, np.uint8)

    def _checked_images(self, images: np.ndarray) -> np.ndarray:
        if images.ndim != 4 or images.shape[1:] != self._model.network.input:
            shape = ", ".join(map(str, self._model.network.input))
            raise InputError(f"images of shape {list(images.shape)}: this network takes (n, {shape})")
        return np.ascontiguousarray(images, np.float32)

    def _checked(self, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        task, output = self._task, self._model.network.output
        images, labels = self._checked_images(images), np.ascontiguousarray(labels, task.dtype)
        if labels.shape != (len(images), *task.target(output)) or not 1 <= len(images) <= self.choices.batch_size:
            raise InputError(
                f"{len(images)} images with labels of shape {list(labels.shape)}: a step takes 1 to "
                f"{self.choices.batch_size} images and {task.each(output)}"
            )
        if problem := task.wrong(labels, output):
            raise InputError(problem)
        return images, labels
