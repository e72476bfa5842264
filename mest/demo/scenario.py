"""What a demo trains on, and how what the board meets differs from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from mest.demo import material, wrist
from mest.demo.samples import Sample
from mest.demo.sensor import Sensor


@dataclass(frozen=True)
class Scenario:
    """A network, its data, what changes on the board, and the words for all of it.

    `model` and `data` as `mest train` takes them; `material` writes the board's data. `about` says what is
    classified, `new` whose samples the board meets, `change` (a clause) how they differ, `was` and `becomes` what the
    left and the right picture of a sample show, `old` whose test samples the network was made for.
    """

    name: str
    model: str
    data: str
    scheme: str
    sparsity: float
    material: ModuleType
    about: str
    new: str
    change: str
    heading: str
    was: str
    becomes: str
    old: str
    by_hand: bool = False  # a person can draw such samples

    @property
    def module(self) -> str:
        """The module that writes the board's data."""
        return f"mest.demo.{self.material.__name__.rpartition('.')[2]}"

    @property
    def learn(self) -> str:
        """The file that is fine-tuned on, in the folder of the board's data."""
        return str(self.material.LEARN)

    @property
    def test(self) -> str:
        """The file that is tested on."""
        return str(self.material.TEST)

    @property
    def looked_at(self) -> Callable[[int], tuple[str, ...]]:
        """The files whose samples are looked at, of so many samples."""
        found: Callable[[int], tuple[str, ...]] = self.material.looked_at
        return found

    @property
    def drawn(self) -> Callable[[Path, int, int], tuple[Sample, ...]]:
        """The samples themselves: of a folder, a seed and a number."""
        found: Callable[[Path, int, int], tuple[Sample, ...]] = self.material.drawn
        return found


DIGITS = Scenario(
    name="digits",
    model="digits",
    data="digits",
    scheme="block",
    sparsity=0.9,
    material=material,
    about="Handwritten digits",
    new="a new sensor's digits",
    change=Sensor().describe(),
    heading="What the new sensor sees",
    was="as the old sensor sees it",
    becomes="as the new sensor sees it",
    old="the old sensor's test images",
    by_hand=True,
)
SENSORS = Scenario(
    name="sensors",
    model="windows",
    data="watch",
    scheme="irregular",
    sparsity=0.8,
    material=wrist,
    about="Seven exercises, recognised from four seconds of a smartwatch's acceleration and rotation",
    new="the other wrist's windows",
    change="the watch moves from the right wrist to the left, and the people of the test are in no training part",
    heading="What the other wrist gives",
    was="on the right wrist",
    becomes="on the left wrist",
    old="the right wrist's test windows",
)
SCENARIOS = {scenario.name: scenario for scenario in (DIGITS, SENSORS)}
