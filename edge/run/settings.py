"""How a run is trained, apart from its plan."""

from __future__ import annotations

from dataclasses import dataclass, fields

from edge.data.batches import AUGMENTS
from edge.errors import InputError
from edge.ranges import RANGES, outside
from edge.run.rate import LEARNING_RATES, MUTATIONS
from edge.spelling import named


@dataclass(frozen=True)
class Settings:
    """How a run is trained, apart from its plan; a state pins all of it but `save_every`.

    `warmup` is a share of the run. `mutate_every` and `save_every` count steps. `patience` is the number of epochs
    without a better held-out accuracy after which the run ends (0: never); with it the weights of the best epoch are
    kept, of those at the target sparsity, else those of the last. `drop_after` is the epoch after which samples that
    were never forgotten are dropped (0: never). With schedule step the rate is multiplied by `gamma` at each of the
    `milestones`, epochs counted from 0; without any at the published ones, scaled to the run.
    """

    epochs: int = 5
    learning_rate: float = 0.01
    schedule: str = "cosine"
    warmup: float = 0.0
    seed: int = 0
    augment: str = "none"
    hold_out: float = 0.1
    mutate: str = "none"
    mutate_every: int = 50
    gradient_weight: float = 0.0
    patience: int = 0
    drop_after: int = 0
    save_every: int = 100
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1

    def __post_init__(self) -> None:
        problems = [
            (
                self.schedule not in LEARNING_RATES,
                f"{named('schedule')} {self.schedule}: allowed {', '.join(LEARNING_RATES)}",
            ),
            (self.augment not in AUGMENTS, f"{named('augment')} {self.augment}: allowed are {', '.join(AUGMENTS)}"),
            (self.mutate not in MUTATIONS, f"{named('mutate')} {self.mutate}: allowed are {', '.join(MUTATIONS)}"),
            (
                self.patience > 0 and self.hold_out == 0,
                f"{named('patience')} needs held-out samples; give {named('hold_out')} above 0",
            ),
            (
                list(self.milestones) != sorted({*self.milestones}) or any(each < 1 for each in self.milestones),
                f"{named('milestones')} {'-'.join(map(str, self.milestones))}: give epochs that rise from 1 (3-5)",
            ),
            (self.gamma == 0, f"{named('gamma')} 0: must be above 0"),
        ]
        wrong = outside({each.name: getattr(self, each.name) for each in fields(self) if each.name in RANGES})
        wrong += [text for bad, text in problems if bad]
        if wrong:
            raise InputError("; ".join(wrong))
