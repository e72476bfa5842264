"""How much is removed and regrown, and when: a schedule yields a list of phases for each layer's target.

EM and EM&S (paper, section 3) are two functions that build such a list, and so are the baselines; nothing downstream
asks which it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from mest.errors import InputError
from mest.sparse.decimals import Number, check_sparsity, exact, whole_number

#: the paper's recipe, from which decay epochs are scaled
PAPER_EPOCHS = 160
PAPER_DECAY_EPOCHS = (90, 120)
#: share of the kept weights that SET and RigL replace
REPLACED_SHARE = Fraction(3, 10)
#: share of the epochs after which RigL mutates no more
RIGL_LAST = Fraction(3, 4)

Bounds = str | Sequence[Number]


@dataclass(frozen=True)
class Phase:
    """From an epoch on, the weight sparsity of a layer after each half of a mutation."""

    from_epoch: int
    prune_to: Fraction
    grow_to: Fraction

    @property
    def mutates(self) -> bool:
        """True if something is regrown."""
        return self.prune_to > self.grow_to


@dataclass(frozen=True)
class Share:
    """From an epoch on, what a mutation prunes and grows past a target, as shares of the weights kept at it."""

    from_epoch: int
    prune: Fraction
    grow: Fraction


@dataclass(frozen=True)
class Schedule:
    """When to mutate and between which sparsities, over a whole run.

    `bounds` holds for every layer and ends at the run's target. Without it, a layer with target t prunes to
    t + prune·(1−t) and grows to t − grow·(1−t). `score` and `growth` are what the method prescribes for the other two
    questions, which weights go and which come. `dense` keeps every weight of every layer.
    """

    method: str
    epochs: int
    update_every_epochs: int = 5
    shares: tuple[Share, ...] = ()
    bounds: tuple[Phase, ...] = ()
    score: str = "magnitude"
    growth: str = "random"
    dense: bool = False

    def __post_init__(self) -> None:
        # Plain ints: a schedule is told from another by what it prints.
        object.__setattr__(self, "epochs", whole_number(self.epochs, "epochs", least=1))
        every = whole_number(self.update_every_epochs, "epochs between mutations", least=1)
        object.__setattr__(self, "update_every_epochs", every)

    @property
    def mutates(self) -> bool:
        """True if any phase prunes and grows, or another one asks for another sparsity."""
        ends = {(phase.prune_to, phase.grow_to) for phase in self.bounds}
        return len(ends) > 1 or any(a > b for a, b in ends) or any(share.prune or share.grow for share in self.shares)

    def target(self, layer_target: Number) -> Fraction:
        """The weight sparsity at which a layer ends the run: that of explicit bounds, else its own."""
        return self.bounds[-1].grow_to if self.bounds else exact(layer_target)

    def phases(self, layer_target: Number) -> tuple[Phase, ...]:
        """The phases of a layer with this target, by epoch; the first begins at 0."""
        if self.bounds:
            return self.bounds
        target = exact(layer_target)
        kept = 1 - target
        if not self.shares or not target:
            return (Phase(0, target, target),)
        return tuple(
            Phase(share.from_epoch, target + share.prune * kept, max(Fraction(0), target - share.grow * kept))
            for share in self.shares
        )

    def phase(self, epoch: int, layer_target: Number) -> Phase:
        """The phase that an epoch lies in."""
        return [phase for phase in self.phases(layer_target) if phase.from_epoch <= epoch][-1]

    def due(self, epoch: int) -> bool:
        """True for the epochs that begin with a mutation: every `update_every_epochs`, 0 too."""
        return 0 <= epoch < self.epochs and epoch % self.update_every_epochs == 0

    def in_force(self, epoch: int, layer_target: Number) -> Fraction:
        """The weight sparsity during an epoch: what the last mutation grew to, or less where a later phase began."""
        last = epoch - epoch % self.update_every_epochs
        return max(self.phase(last, layer_target).grow_to, self.phase(epoch, layer_target).grow_to)

    def densest(self, layer_target: Number) -> Fraction:
        """The lowest weight sparsity that a layer has during the run: what its memory is planned by."""
        return min(self.in_force(epoch, layer_target) for epoch in range(self.epochs))


def em(
    epochs: int = PAPER_EPOCHS,
    *,
    update_every_epochs: int = 5,
    lower_bound: Bounds | None = None,
    upper_bound: Bounds | None = None,
    decay_epochs: str | Sequence[int] | None = None,
) -> Schedule:
    """Elastic mutation (paper, section 3.2): prune below the target, grow back to it, by a share that decays.

    A layer at 0.9 prunes to 0.92, then 0.91, then not at all; explicit bounds replace that for every layer.
    """
    return mutation_schedule("em", epochs, update_every_epochs, lower_bound, upper_bound, decay_epochs)


def ems(
    epochs: int = PAPER_EPOCHS,
    *,
    update_every_epochs: int = 5,
    lower_bound: Bounds | None = None,
    upper_bound: Bounds | None = None,
    decay_epochs: str | Sequence[int] | None = None,
) -> Schedule:
    """Elastic mutation with a soft memory bound (paper, section 3.2): grow past the target, train, prune back.

    A layer at 0.9 grows to 0.88, then 0.89, then not at all; explicit bounds replace that for every layer.
    """
    return mutation_schedule("ems", epochs, update_every_epochs, lower_bound, upper_bound, decay_epochs)


def set_(epochs: int = PAPER_EPOCHS, *, update_every_epochs: int = 5) -> Schedule:
    """Sparse evolutionary training: always replace three in ten of the kept weights, lowest magnitude by random."""
    shares = (Share(0, REPLACED_SHARE, Fraction(0)),)
    return Schedule("set", epochs, update_every_epochs, shares)


def rigl(epochs: int = PAPER_EPOCHS, *, update_every_epochs: int = 5) -> Schedule:
    """RigL: replace the lowest magnitudes by the largest dense gradients.

    The share falls from three in ten as a cosine to nothing at three quarters of the epochs.
    """
    epochs = whole_number(epochs, "epochs", least=1)
    every = whole_number(update_every_epochs, "epochs between mutations", least=1)
    last = math.ceil(RIGL_LAST * epochs)
    shares = [
        Share(epoch, exact(round(float(REPLACED_SHARE) / 2 * (1 + math.cos(math.pi * epoch / last)), 6)), Fraction(0))
        for epoch in range(0, last, every)
    ]
    shares.append(Share(last, Fraction(0), Fraction(0)))
    return Schedule("rigl", epochs, update_every_epochs, tuple(shares), growth="gradient")


def static(epochs: int = PAPER_EPOCHS, *, update_every_epochs: int = 5) -> Schedule:
    """One mask from beginning to end."""
    return Schedule("static", epochs, update_every_epochs)


def dense(epochs: int = PAPER_EPOCHS, *, update_every_epochs: int = 5) -> Schedule:
    """No zeros at all: the baseline that the others are compared with."""
    return Schedule("dense", epochs, update_every_epochs, dense=True)


def parse_bounds(bounds: Bounds) -> tuple[Fraction, ...]:
    """Exact sparsities from the published spelling `0.92-0.91-0.9` or a sequence. Raises InputError."""
    parts = bounds.split("-") if isinstance(bounds, str) else bounds
    return tuple(check_sparsity(part, f"bounds {_published(bounds)}") for part in parts)


def _published(listed: str | Iterable[object]) -> str:
    """A list in the published spelling, as it may be typed again."""
    return listed if isinstance(listed, str) else "-".join(map(str, listed))


def parse_decay_epochs(epochs: str | Sequence[int]) -> tuple[int, ...]:
    """Epochs from the published spelling `90-120` or a sequence, ascending. Raises InputError."""
    parts = epochs.split("-") if isinstance(epochs, str) else [str(epoch) for epoch in epochs]
    if not all(part.isdecimal() for part in parts):
        raise InputError(f"decay epochs {_published(epochs)}: give whole numbers, such as 90-120")
    numbers = tuple(int(part) for part in parts)
    if any(second <= first for first, second in zip((0, *numbers), numbers, strict=False)):
        raise InputError(f"decay epochs {_published(epochs)}: they must ascend from 1, such as 90-120")
    return numbers


def mutation_schedule(
    method: str | None,
    epochs: int,
    update_every_epochs: int,
    lower_bound: Bounds | None,
    upper_bound: Bounds | None,
    decay_epochs: str | Sequence[int] | None,
) -> Schedule:
    """EM or EM&S; without a method the bounds tell which. Raises InputError where bounds and method do not agree."""
    epochs = whole_number(epochs, "epochs", least=1)
    if lower_bound is None and upper_bound is None:
        fifth, tenth, none = Fraction(1, 5), Fraction(1, 10), Fraction(0)
        starts = _starts(3, epochs, decay_epochs)
        over = method == "ems"
        shares = tuple(
            Share(start, none if over else share, share if over else none)
            for start, share in zip(starts, (fifth, tenth, none), strict=True)
        )
        return Schedule(method or "em", epochs, update_every_epochs, shares, score="magnitude+gradient")
    bounds = _explicit(lower_bound, upper_bound, epochs, decay_epochs)
    over = any(phase.grow_to < bounds[-1].grow_to for phase in bounds)
    if method == "em" and over:
        grows = min(float(phase.grow_to) for phase in bounds)
        raise InputError(
            f"method 'em' never holds more than its target {float(bounds[-1].grow_to)}, but the upper bound grows to"
            f" {grows}; use method 'ems'"
        )
    name = method or ("ems" if over else "em")
    return Schedule(name, epochs, update_every_epochs, bounds=bounds, score="magnitude+gradient")


def _explicit(
    lower_bound: Bounds | None, upper_bound: Bounds | None, epochs: int, decay_epochs: str | Sequence[int] | None
) -> tuple[Phase, ...]:
    """Phases from bounds; one that is not given stays at the end of the other."""
    lower = parse_bounds(lower_bound) if lower_bound is not None else ()
    upper = parse_bounds(upper_bound) if upper_bound is not None else ()
    lower, upper = lower or upper[-1:] * len(upper), upper or lower[-1:] * len(lower)
    if len(lower) != len(upper):
        raise InputError(
            f"lower bound {_published(map(float, lower))} has {len(lower)} phases and upper bound "
            f"{_published(map(float, upper))} has {len(upper)}; give both as many"
        )
    starts = _starts(len(lower), epochs, decay_epochs)
    for prune_to, grow_to in zip(lower, upper, strict=True):
        if prune_to < grow_to:
            raise InputError(
                f"lower bound {float(prune_to)} keeps more than upper bound {float(grow_to)}: a mutation prunes to the"
                " lower bound's sparsity, then grows to the upper bound's, which must not be higher"
            )
    if lower[-1] != upper[-1]:
        raise InputError(
            f"the bounds end at {float(lower[-1])} and {float(upper[-1])}; both must end at the sparsity that the run"
            " ends at"
        )
    return tuple(Phase(*phase) for phase in zip(starts, lower, upper, strict=True))


def _starts(phases: int, epochs: int, decay_epochs: str | Sequence[int] | None) -> tuple[int, ...]:
    """The epoch at which each phase begins; the paper's decay epochs, scaled, unless they are given."""
    if decay_epochs is not None:
        decays = parse_decay_epochs(decay_epochs)
    elif phases == 1:
        decays = ()
    else:
        decays = tuple((2 * epoch * epochs + PAPER_EPOCHS) // (2 * PAPER_EPOCHS) for epoch in PAPER_DECAY_EPOCHS)
    if len(decays) != phases - 1:
        what = (
            f"decay epochs {_published(decay_epochs)}" if decay_epochs is not None else "the default of 2 decay epochs"
        )
        raise InputError(f"{what} makes {len(decays) + 1} phases, but the bounds have {phases}; give {phases - 1}")
    return (0, *decays)
