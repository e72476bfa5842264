"""What a server may ask of a client's round, and what a client alone decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from edge.errors import InputError
from edge.ranges import outside
from edge.run.settings import Settings
from export.flower.given import typed

_OPTIONS = {"learning_rate": "lr", "schedule": "lr-scheduler"}  # where the name of a field is not the option's
_OF_MUTATION = ("mutate", "mutate_every", "gradient_weight")


@dataclass(frozen=True)
class Order:
    """How clients train in a round. Nothing here names a file, a program or an amount of memory.

    `epochs` are of one round. `mutate` is how a client moves its own mask, "none" under a shared one; `gradient_weight`
    is λ of |w| + λ·|gradient|, in scores that go to the server too.
    """

    epochs: int = 1
    learning_rate: float = 0.01
    schedule: str = "constant"
    batch_size: int = 32
    augment: str = "none"
    trainable: str = "all"
    mutate: str = "none"
    mutate_every: int = 50
    gradient_weight: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what `mest finetune` would refuse."""
        known = {each.name for each in fields(Settings)}
        Settings(**{name: value for name, value in asdict(self).items() if name in known})
        wrong = outside({"batch_size": self.batch_size})
        if wrong:
            raise InputError("; ".join(wrong))

    @classmethod
    def read(cls, given: Mapping[str, Any], what: str) -> Order:
        """The order that plain values describe, others ignored; raises InputError for one of another type.

        Names are written with hyphens, as Flower's configurations are. `what` says where they are from.
        """
        found: dict[str, Any] = {}
        for each in fields(cls):
            found[each.name] = typed(given, each.name.replace("_", "-"), each.default, what)
        return cls(**found)

    def plain(self) -> dict[str, Any]:
        """The values that `read` takes."""
        return {name.replace("_", "-"): value for name, value in asdict(self).items()}

    def seeded(self, seed: int) -> Order:
        """The same with another seed, from 0 to 2³¹−1."""
        return replace(self, seed=seed & 0x7FFFFFFF)

    def words(self) -> list[str]:
        """The options of `mest finetune`; each one word, so that no value is taken for an option."""
        given = asdict(self)
        if self.mutate == "none":
            given = {name: value for name, value in given.items() if name not in _OF_MUTATION}
        return [f"--{_OPTIONS.get(name, name.replace('_', '-'))}={value}" for name, value in given.items()]


@dataclass(frozen=True)
class Place:
    """What a client has and allows, whatever a server asks: its artifact, its data, room to work in, its budget."""

    artifact: Path
    data: str
    work: Path
    memory_budget: str | None = None
    threads: int | None = None
    eval_data: str | None = None
    name: str = ""

    @classmethod
    def read(cls, given: Mapping[str, Any], filled: Mapping[str, object]) -> Place:
        """The place that a client's configuration describes, `{partition}` and the like filled in its texts.

        Raises InputError naming what is missing.
        """

        def text(name: str) -> str | None:
            value = given.get(name)
            if value is None or value == "":
                return None
            try:
                return str(value).format(**filled)
            except (KeyError, IndexError, ValueError):
                known = ", ".join(f"{{{each}}}" for each in filled)
                raise InputError(f"node configuration: {name} {value!r:.80}: braces may name {known}") from None

        needed = {name: text(name) or "" for name in ("artifact", "data", "work")}
        missing = next((name for name, value in needed.items() if not value), None)
        if missing is not None:
            raise InputError(f'node configuration: {missing} is missing; give the SuperNode {missing}="..." in it')
        threads = given.get("threads")
        if threads is not None and (type(threads) is not int or threads < 1):
            raise InputError(f"node configuration: threads {threads!r:.80}: must be 1 or more")
        budget, held, name = (text(each) for each in ("memory-budget", "eval-data", "name"))
        return cls(Path(needed["artifact"]), needed["data"], Path(needed["work"]), budget, threads, held, name or "")

    def words(self) -> list[str]:
        """The options of `mest finetune` that a client alone decides."""
        given = {"data": self.data, "memory-budget": self.memory_budget, "threads": self.threads}
        given["eval-data"] = self.eval_data
        given["hold-out"] = None if self.eval_data is None else 0
        return [f"--{name}={value}" for name, value in given.items() if value is not None]
