"""What a plan decides about a training step, and what it must leave as asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from edge.errors import InputError
from edge.ranges import check_ranges
from edge.spelling import named

ENGINES = ("native", "ort")  # fastest first

BatchNorm = Literal["train", "frozen"]
Recompute = Literal["none", "activations", "blocks"]
Saved = Literal["float32", "bfloat16", "int8"]


@dataclass(frozen=True)
class OptimizerChoice:
    """An optimizer with its constants; the learning rate arrives with every step."""

    kind: Literal["sgd", "adamw"] = "sgd"
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        """Refuse what PyTorch's optimizers refuse."""
        names = ("momentum", "beta1", "beta2", "epsilon")
        check_ranges({**{name: getattr(self, name) for name in names}, "weight_decay": self.weight_decay})
        if self.nesterov and not self.momentum:
            raise InputError(
                f"{named('nesterov')} needs a {named('momentum')} above 0; give one, or {named('nesterov', False)}"
            )

    @property
    def state_per_weight(self) -> int:
        """Number of floats that the optimizer keeps for each trained weight."""
        if self.kind == "adamw":
            return 2
        return 1 if self.momentum else 0


@dataclass(frozen=True)
class Choices:
    """How a step is trained: everything the plan may choose and a user may pin.

    `recompute`: "none" keeps every tensor the backward pass reads; "activations" recomputes batch-norm and ReLU
    outputs from saved batch statistics; "blocks" keeps only the inputs of residual blocks. Both give the same result.
    `saved`: how tensors lie that are kept from forward to backward. Fewer bits round the gradients, and nothing else.
    `densest_sparsity`: the lowest weight sparsity that mutation will still reach, by parameter name (EM&S grows past
    the target), so that room is planned before the first step; empty without mutation.
    `last_batch`: samples of the smaller batch that ends an epoch, planned for like the whole ones; 0 without one.
    """

    batch_size: int = 32
    micro_batch: int = 32
    recompute: Recompute = "none"
    batch_norm: BatchNorm = "train"
    trainable: str = "all"
    optimizer: OptimizerChoice = field(default_factory=OptimizerChoice)
    label_smoothing: float = 0.0
    threads: int = 1
    densest_sparsity: dict[str, float] = field(default_factory=dict)
    last_batch: int = 0
    saved: Saved = "float32"

    @property
    def exact(self) -> bool:
        """True if the step gives what a whole batch in memory would give, up to float32's rounding."""
        if self.saved != "float32":
            return False
        return self.micro_batch == self.batch_size or self.batch_norm == "frozen"

    @property
    def pieces(self) -> tuple[int, ...]:
        """Numbers of samples that are computed at once in a run: the micro-batch, then what remains of each batch."""
        rests = (self.batch_size % self.micro_batch, self.last_batch % self.micro_batch)
        return (self.micro_batch, *sorted({rest for rest in rests if rest}, reverse=True))
