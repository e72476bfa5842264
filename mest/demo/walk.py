"""The road, one real command after another; what each said is all that the report and the checks are made from."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mest.demo.commands import Commands, Done
from mest.demo.material import Material, make_material
from mest.demo.sensor import Sensor
from mest.demo.task import FineTuning

MIB = 1 << 20


@dataclass(frozen=True)
class Settings:
    """What the demo does; the defaults take a few minutes on two cores."""

    out: Path
    seed: int = 0
    engine: str = "auto"
    scheme: str = "block"
    sparsity: float = 0.9
    train_epochs: int = 25
    tune_epochs: int = 10
    batch_size: int = 32
    lr: float = 0.02
    threads: int = 1  # so small a network gains nothing from two
    sensor: Sensor = field(default_factory=Sensor)

    @property
    def run(self) -> Path:
        """The run directory."""
        return self.out / "run"

    @property
    def artifact(self) -> Path:
        """The artifact directory."""
        return self.out / "artifact"

    @property
    def profile(self) -> Path:
        """The directory of the profile."""
        return self.out / "profile"

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.out / "state"


@dataclass(frozen=True)
class Walk:
    """Every command of the road with what it said, in the order of the road."""

    settings: Settings
    material: Material
    budget_bytes: int
    train: Done
    export: Done
    reference: Done
    finetune: Done
    after: Done
    profile: Done
    read_before: Done
    read_after: Done

    @property
    def commands(self) -> tuple[Done, ...]:
        """All commands in the order in which they ran."""
        return (
            self.train,
            self.export,
            self.reference,
            self.read_before,
            self.finetune,
            self.after,
            self.profile,
            self.read_after,
        )


def walk(settings: Settings, commands: Commands, say: Callable[[str], None]) -> Walk:
    """Walk the road; raises CommandFailed where a command fails, Interrupted where the user stops it."""
    out, seed = settings.out, ("--seed", settings.seed)
    say(f"1/5 training the digits network {100 * settings.sparsity:.0f} % sparse from the first step")
    train = commands.mest(
        "train", "--model", "digits", "--data", "digits", "--scheme", settings.scheme, "--sparsity", settings.sparsity,
        "--method", "em", "--epochs", settings.train_epochs, "--threads", settings.threads,
        "--out", settings.run, *seed,
    )  # fmt: skip
    say("2/5 exporting it for the board")
    export = commands.mest("export", settings.run, "--out", settings.artifact)
    say(f"3/5 fine-tuning in PyTorch for comparison, on digits {settings.sensor.describe()}")
    material = make_material(out / "data", settings.sensor, settings.seed)
    reference = _reference(settings, material, commands)
    budget = reference.result["measured_peak_bytes"] // 2 // MIB * MIB
    say(f"4/5 fine-tuning on the board's engine within {budget // MIB} MiB, half of what PyTorch took")
    pictures = [sample.file for sample in material.samples]
    common = ("--engine", settings.engine, "--threads", settings.threads)
    limit = ("--memory-budget", f"{budget // MIB}MiB")
    read_before = commands.mest("predict", settings.artifact, *pictures)
    finetune = commands.mest(
        "finetune", settings.artifact, "--out", settings.state, "--data", material.learn, *limit, *common,
        "--epochs", settings.tune_epochs, "--batch-size", settings.batch_size, "--lr", settings.lr,
        "--lr-scheduler", "cosine", "--eval-data", material.test, *seed,
    )  # fmt: skip
    say("5/5 reading digits that neither has seen")
    same = ("--engine", finetune.result["engine"])  # a state holds one engine's tensors
    after = commands.mest("eval", settings.state, "--data", material.test, *same)
    read_after = commands.mest("predict", settings.state, *pictures, *same)
    profile = commands.mest(
        "profile", settings.artifact, "--out", settings.profile, "--data", material.learn, *limit,
        *same, "--threads", settings.threads, "--batch-size", settings.batch_size,
    )  # fmt: skip
    return Walk(
        settings, material, budget, train, export, reference, finetune, after, profile, read_before, read_after
    )  # fmt: skip


def _reference(settings: Settings, material: Material, commands: Commands) -> Done:
    """The same fine-tuning in PyTorch: its settings go through a file."""
    task = FineTuning(
        run=str(settings.run),
        learn=str(material.learn),
        test=str(material.test),
        epochs=settings.tune_epochs,
        batch_size=settings.batch_size,
        lr=settings.lr,
        momentum=0.9,
        weight_decay=1e-4,
        threads=settings.threads,
        seed=settings.seed,
    )
    file = settings.out / "pytorch.json"
    file.write_text(json.dumps(asdict(task), indent=1) + "\n")
    return commands.module("mest.demo.reference", file)
