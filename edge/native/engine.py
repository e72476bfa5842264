"""The native engine: a planned step of sparse training in one call of the C library."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edge.engine import MutationResult, StepResult
from edge.errors import BudgetError, DamagedError, InputError
from edge.native import library, structs
from edge.native.footprint import Planned, estimate, plan_listing
from edge.native.lower import Lowered
from edge.native.mutation import mutate_weight
from edge.native.program import build_model, training_listing
from edge.native.tensors import allocate_tensors, describe_update
from edge.native.weights import Tensor, Weight, aligned, check_lists
from edge.network import Network
from edge.plan.choices import Choices
from edge.plan.footprint import Footprint
from edge.state import StoredTensors, extent


@dataclass(frozen=True)
class StepProfile:
    """Seconds of each step of the planned list, in order, with its name and operator."""

    names: tuple[str, ...]
    operators: tuple[str, ...]
    seconds: tuple[float, ...]
    result: StepResult


class NativeEngine:
    """`edge.engine.Engine` over our own kernels. `snapshot` returns views of the living arrays."""

    name = "native"

    def __init__(self, network: Network, choices: Choices, instruction_set: str = "") -> None:
        """Allocate what `estimate` says. Raises InputError where the library, the set or the threads are not to be had.

        `instruction_set` is one of `edge.native.library.instruction_sets()`; empty takes the best.
        """
        _check_choices(choices)
        try:
            self._library = library.load_library()
        except library.LibraryError as error:
            raise InputError(f"engine native: {error}") from None
        self.choices = choices
        self._model = build_model(network, choices)
        training, predict, self.footprint = estimate(self._model)
        self._handle = self._library.mest_open(choices.threads, instruction_set.encode())
        if not self._handle:
            known = ", ".join(library.instruction_sets())
            raise InputError(
                f"engine native: {choices.threads} threads of instruction set {instruction_set or 'auto'!r} cannot be "
                f"started; sets that run here: {known}"
            )
        self._arena = aligned(self.footprint.arena.nbytes, np.uint8)
        self._gradients, self._tensors = allocate_tensors(self._model)
        self._update, self._params = describe_update(choices, self._tensors)
        self._steps_done = 0
        self._training = {size: self._lower(planned) for size, planned in training.items()}
        self._unplanned: tuple[int, Lowered] | None = None  # the last piece of a size that was not planned
        self._prediction = self._lower(predict)

    @staticmethod
    def available() -> tuple[bool, str]:
        """Whether the library is there and loads, and the instruction set it will use or what is missing."""
        return library.available()

    @staticmethod
    def estimate(network: Network, choices: Choices) -> Footprint:
        """All memory that an engine with these choices holds; allocates nothing and needs no library."""
        _check_choices(choices)
        return estimate(build_model(network, choices))[2]

    @property
    def instruction_set(self) -> str:
        """Name of the instruction set in use."""
        name: bytes = self._library.mest_isa_name(self._handle)
        return name.decode()

    def train_step(self, images: np.ndarray, labels: np.ndarray, learning_rate: float) -> StepResult:
        """One optimizer step; the last micro-batch may be smaller. A loss that is not finite changes no weight.

        Raises BudgetError, before anything is changed, for a rest that no plan counted with and the arena cannot hold.
        """
        images, labels = self._checked(images, labels)
        call = structs.Call(labels=labels.ctypes.data, batch=len(labels), learning_rate=learning_rate)
        call.update_count = self._steps_done
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
        return StepResult(call.loss / len(images), call.correct)

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
        listing = program.listing
        call.images, call.labels = images.ctypes.data, labels.ctypes.data
        call.micro_batches = pieces
        call.begin, call.start = 0 if first else listing.start, listing.start
        call.body, call.end = listing.body, len(listing.specs) if last else listing.body
        self._run(program, call)

    def _run(self, program: Lowered, call: structs.Call) -> None:
        if self._library.mest_run(self._handle, ctypes.byref(program.program), ctypes.byref(call)):
            raise ValueError("a call outside its program")

    def _program(self, micro_batch: int) -> Lowered:
        """The training program for a size of piece; for one that was not planned, if it fits the same arena."""
        if micro_batch in self._training:
            return self._training[micro_batch]
        if self._unplanned is None or self._unplanned[0] != micro_batch:
            self._unplanned = None  # one at a time is held
            planned = plan_listing(training_listing(self._model, micro_batch))
            if planned.arena.nbytes > self._arena.size:
                raise BudgetError(
                    f"a piece of {micro_batch} samples needs {planned.arena.nbytes} bytes, the plan for pieces of "
                    f"{', '.join(map(str, self.choices.pieces))} holds {self._arena.size}; plan with the size of the "
                    "smaller batch (last_batch), or give a batch size that divides the samples"
                )
            self._unplanned = micro_batch, self._lower(planned)
        return self._unplanned[1]

    def _programs(self) -> tuple[Lowered, ...]:
        unplanned = () if self._unplanned is None else (self._unplanned[1],)
        return (*self._training.values(), *unplanned, self._prediction)

    def _lower(self, planned: Planned) -> Lowered:
        lowered = Lowered(
            self._model,
            planned.listing,
            self._tensors,
            self._gradients,
            self._update,
            self._arena,
            planned.arena.offsets,
        )
        self._verify(lowered)
        return lowered

    def _verify(self, lowered: Lowered) -> None:
        wrong = self._library.mest_check(ctypes.byref(lowered.program), self.choices.threads)
        if wrong:
            name = lowered.listing.specs[wrong - 1].name
            raise DamagedError(f"network: step {name!r} has sizes or indices out of range; export the artifact again")

    def profile_step(self, images: np.ndarray, labels: np.ndarray, learning_rate: float) -> StepProfile:
        """One training step over one micro-batch at most, with the time of every step of the list."""
        images, labels = self._checked(images, labels)
        if len(images) > self.choices.micro_batch:
            raise InputError(f"{len(images)} samples: a profiled step takes at most {self.choices.micro_batch}")
        program = self._program(len(images))
        specs = program.listing.specs
        seconds = np.zeros(len(specs))
        call = structs.Call(batch=len(labels), learning_rate=learning_rate, update_count=self._steps_done)
        call.seconds = seconds.ctypes.data
        self._train(len(images), images, labels, call, 1, first=True, last=True)
        self._steps_done += 1
        return StepProfile(
            tuple(spec.name for spec in specs),
            tuple(spec.op for spec in specs),
            tuple(seconds.tolist()),
            StepResult(call.loss / len(images), call.correct),
        )

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Logits `(n, classes)` in evaluation mode; the last piece is filled up with zeros."""
        images = self._checked_images(images)
        size, count = self.choices.micro_batch, len(images)
        logits = np.empty((count, self._model.network.classes), np.float32)
        whole = count // size
        call = structs.Call(micro_batches=whole, end=len(self._prediction.listing.specs))
        call.body = call.end
        if whole:
            call.images, call.logits = images.ctypes.data, logits.ctypes.data
            self._run(self._prediction, call)
        if count % size:
            filled = np.zeros((size, *images.shape[1:]), np.float32)
            filled[: count % size] = images[whole * size :]
            rest = np.empty((size, logits.shape[1]), np.float32)
            call.micro_batches, call.images, call.logits = 1, filled.ctypes.data, rest.ctypes.data
            self._run(self._prediction, call)
            logits[whole * size :] = rest[: count % size]
        return logits

    def mutate(
        self, prune_to: Mapping[str, float], grow_to: Mapping[str, float], seed: int, gradient_weight: float = 0.0
    ) -> MutationResult:
        """Prune and grow inside the compressed form; the score's gradient is that of the last whole step."""
        removed = grown = 0
        for number, name in enumerate(name for name in self._tensors if name in prune_to):
            weight = self._tensors[name]
            if not isinstance(weight, Weight) or not weight.layout.parameter.sparse:
                raise InputError(f"{name}: not a sparse weight of this network; it cannot be mutated")
            result = mutate_weight(weight, prune_to[name], grow_to[name], seed + number, gradient_weight)
            removed, grown = removed + result.removed, grown + result.grown
        self._refresh()
        return MutationResult(removed, grown)

    def _refresh(self) -> None:
        """Bring programs and update in line with the numbers of non-zeros."""
        for param, tensor in self._params:
            param.count = tensor.count
        for lowered in self._programs():
            lowered.refresh()
            self._verify(lowered)

    def snapshot(self) -> dict[str, np.ndarray]:
        """`NAME/values`, index lists, `NAME/gradient`, `NAME/state0..`, `optimizer/steps`; views for now."""
        arrays: dict[str, np.ndarray] = {}
        for name, tensor in self._tensors.items():
            found = tensor.arrays()
            if isinstance(tensor, Weight):
                found |= tensor.own_indices()
            arrays.update({f"{name}/{part}": array for part, array in found.items()})
        arrays["optimizer/steps"] = np.array([self._steps_done], np.int64)
        return arrays

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Continue from a snapshot; raises DamagedError, and changes nothing, if it does not fit."""
        here = self.snapshot()
        wrong = sorted(set(here) ^ set(snapshot))
        if wrong:
            raise DamagedError(f"state: {wrong[0]} does not fit this artifact and these choices")
        for name, tensor in self._tensors.items():
            self._check_tensor(name, tensor, snapshot)
        for name, tensor in self._tensors.items():
            tensor.count = extent(snapshot, f"{name}/values").shape[0]
            for part, array in tensor.arrays().items():
                _copy(snapshot, f"{name}/{part}", array)
            if isinstance(tensor, Weight):
                own = tensor.own_indices()
                for part, array in own.items():
                    if part != "row_starts":
                        _copy(snapshot, f"{name}/{part}", array)
                tensor.load_indices({part: snapshot[f"{name}/{part}"] for part in own if part == "row_starts"})
        self._steps_done = int(snapshot["optimizer/steps"][0])
        self._refresh()

    def _check_tensor(self, name: str, tensor: Tensor, snapshot: Mapping[str, np.ndarray]) -> None:
        count = (*extent(snapshot, f"{name}/values").shape, 0)[0]
        for part in tensor.arrays():
            found = extent(snapshot, f"{name}/{part}")
            if found.dtype != np.float32 or found.shape != (count,):
                raise DamagedError(f"state: {name}/{part} is not {count} float32 numbers")
        if isinstance(tensor, Weight):
            own = tensor.own_indices()
            lists = {part: extent(snapshot, f"{name}/{part}", values=part != "row_starts") for part in own}
            check_lists(tensor, lists, snapshot[f"{name}/row_starts"] if "row_starts" in own else None, count)
        elif count != tensor.count:
            raise DamagedError(f"state: {name} has {count} entries, the network has {tensor.count}")

    def zeros_kept(self) -> bool:
        """True by construction: no weight outside the mask exists."""
        return True

    def sparsity(self) -> float:
        """Zeros over weights of the sparse layers; 0 for a network without any."""
        sparse = self._model.network.sparse_parameters()
        total = sum(parameter.size for parameter in sparse.values())
        return 1.0 - sum(self._tensors[name].count for name in sparse) / total if total else 0.0

    def close(self) -> None:
        """End the threads and let go of the memory."""
        if self._handle:
            self._library.mest_close(self._handle)
        self._handle = None
        self._training.clear()
        self._unplanned = None
        self._tensors.clear()
        self._arena = np.empty(0, np.uint8)

    def _checked_images(self, images: np.ndarray) -> np.ndarray:
        if images.ndim != 4 or images.shape[1:] != self._model.network.input:
            shape = ", ".join(map(str, self._model.network.input))
            raise InputError(f"images of shape {list(images.shape)}: this network takes (n, {shape})")
        return np.ascontiguousarray(images, np.float32)

    def _checked(self, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images, labels = self._checked_images(images), np.ascontiguousarray(labels, np.int64)
        if labels.shape != (len(images),) or not 1 <= len(images) <= self.choices.batch_size:
            raise InputError(
                f"{len(images)} images with labels of shape {list(labels.shape)}: a step takes 1 to "
                f"{self.choices.batch_size} images and one label each"
            )
        classes = self._model.network.classes
        if int(labels.min()) < 0 or int(labels.max()) >= classes:
            raise InputError(
                f"labels from {labels.min()} to {labels.max()}: this network has classes 0 to {classes - 1}"
            )
        return images, labels


def _copy(snapshot: Mapping[str, np.ndarray], name: str, array: np.ndarray) -> None:
    """Fill an array from a snapshot; from one that lies on the disk without holding it twice."""
    if isinstance(snapshot, StoredTensors):
        snapshot.read_into(name, array)
    else:
        array[...] = snapshot[name]


def _check_choices(choices: Choices) -> None:
    if not 1 <= choices.micro_batch <= choices.batch_size or choices.threads < 1:
        raise InputError(
            f"micro-batch {choices.micro_batch}, batch {choices.batch_size}, threads {choices.threads}: allowed are "
            "1 <= micro-batch <= batch and at least one thread"
        )
