"""What a user wants of every board: what is installed, what is run, and what must hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from export.deploy.data import Data
from export.deploy.package import Package
from export.deploy.targets import Target

HEALTH = "health_data"  # among the data: held-out samples on which versions are compared


@dataclass(frozen=True)
class Order:
    """What a user wants of every board.

    `package_for(target, python)` gives the package of that kind of board; `fixed` says that its version is decided (it
    came as a bundle). `command` is fine-tuning in words, without artifact, data and state; `plan` the words of
    `mest plan` for it. `data` has the data by the option that takes them, as given and, unless a board has them, read;
    with HEALTH among them a version is not activated whose accuracy there is more than `health_drop` below that of the
    active one. `on_boot` has the run continued when its board has restarted, or not any more; None leaves it as it is.
    """

    package_for: Callable[[Target, str], Package]
    fixed: bool
    command: Sequence[str] = ()
    plan: Sequence[str] = ()
    data: Mapping[str, tuple[str, Data | None]] = field(default_factory=dict)
    budget_bytes: int | None = None
    health_drop: float = 0.0
    on_boot: bool | None = None
    out: Path = Path("boards")
    check: bool = False
