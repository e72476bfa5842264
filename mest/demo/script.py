"""The commands of the road, in order, as a person types them in an empty folder."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from mest.demo.scenario import DIGITS, Scenario

SAID = "said"  # the folder of what the commands print
RUN, ARTIFACT, STATE, ORT_STATE, PROFILE, DATA = "run", "artifact", "state", "state_ort", "profile", "data"
BY_HAND = "by_hand"  # the page that is trained in a browser, and the step that writes it
TOO_SMALL = "1MiB"  # no process of Python fits: the refusal names the least budget that does


@dataclass(frozen=True)
class Settings:
    """What the demo does; the defaults take a few minutes on two cores."""

    seed: int = 0
    engine: str = "auto"
    scenario: Scenario = DIGITS
    train_epochs: int = 25
    tune_epochs: int = 10
    batch_size: int = 32
    lr: float = 0.02
    threads: int = 1  # so small a network gains nothing from two
    samples: int = 10  # to look at

    @property
    def learn(self) -> str:
        """The file that is fine-tuned on, from the folder of the demo."""
        return f"{DATA}/{self.scenario.learn}"

    @property
    def test(self) -> str:
        """The file that is tested on."""
        return f"{DATA}/{self.scenario.test}"


@dataclass(frozen=True)
class Step:
    """One command; what it prints goes to `said/NAME.json`, what it says to `said/NAME.log`.

    `exit_code` is the one that it must end with; `traced` lists in its log what the process imports.
    """

    name: str
    words: tuple[str, ...]
    exit_code: int = 0
    traced: bool = False

    @property
    def output(self) -> str:
        """The file of the JSON object, from the folder of the demo."""
        return f"{SAID}/{self.name}.json"

    @property
    def log(self) -> str:
        """The file of the messages."""
        return f"{SAID}/{self.name}.log"

    @property
    def typed(self) -> str:
        """The command without the files that it writes to."""
        return shlex.join(self.words)

    @property
    def line(self) -> str:
        """The line of a shell that does the same."""
        return f"{self.typed} > {self.output} 2> {self.log}"


def mest(name: str, *words: object, called: str = "", exit_code: int = 0, traced: bool = False) -> Step:
    """A step that is a command of ours; `called` where a command comes twice."""
    given = (name, *(str(word) for word in words), "--json")
    start = ("python", "-X", "importtime", "-m", "mest") if traced else ("mest",)
    return Step(called or name, (*start, *given), exit_code, traced)


def module(name: str, called: str, *words: object) -> Step:
    """A step that is a module of the demo: what a user would have, the data of a sensor, or another tool."""
    return Step(called, ("python", "-m", name, *(str(word) for word in words)))


def workstation(settings: Settings) -> tuple[Step, ...]:
    """Train, export, and see what the board meets."""
    scenario = settings.scenario
    return (
        mest(
            "train", "--model", scenario.model, "--data", scenario.data, "--scheme", scenario.scheme,
            "--sparsity", scenario.sparsity, "--method", "em", "--epochs", settings.train_epochs,
            "--threads", settings.threads, "--out", RUN, "--seed", settings.seed,
        ),
        mest("export", RUN, "--out", ARTIFACT),
        module(
            scenario.module, "material", "--out", DATA, "--samples", settings.samples, "--seed", settings.seed
        ),
    )  # fmt: skip


def least(settings: Settings) -> Step:
    """The plan that is refused, so that it names the least budget for the very same result."""
    return mest(
        "plan", ARTIFACT, "--memory-budget", TOO_SMALL, "--data", settings.learn,
        *_same(settings, settings.engine), "--exact", called="least", exit_code=3,
    )  # fmt: skip


def tuning(settings: Settings, too_little: str, budget: str) -> tuple[Step, ...]:
    """Classify what the board meets, and fine-tune on more of it: refused with too little, then within."""
    return (
        mest("predict", ARTIFACT, *_samples(settings), called="read_before"),
        mest(
            "finetune", ARTIFACT, "--out", f"{STATE}_refused", "--data", settings.learn, "--memory-budget", too_little,
            *_same(settings, settings.engine), "--exact", *_course(settings), called="refused", exit_code=3,
        ),
        mest(
            "finetune", ARTIFACT, "--out", STATE, "--data", settings.learn, "--memory-budget", budget,
            *_same(settings, settings.engine), "--exact", *_course(settings), traced=True,
        ),
    )  # fmt: skip


def after(settings: Settings, budget: str, engine: str) -> tuple[Step, ...]:
    """Look at what came of it with the engine that trained, and see where memory and time went."""
    return (
        mest("eval", STATE, "--data", settings.test, "--engine", engine),
        mest("predict", STATE, *_samples(settings), "--engine", engine, called="read_after"),
        mest(
            "profile", ARTIFACT, "--out", PROFILE, "--data", settings.learn, "--memory-budget", budget,
            *_same(settings, engine), "--exact",
        ),
    )  # fmt: skip


def others(settings: Settings, ort: bool) -> tuple[Step, ...]:
    """The same fine-tuning by PyTorch and, where it can be had, by onnxruntime-training."""
    pytorch = module(
        "mest.demo.reference", "pytorch", "--run", RUN, "--learn", settings.learn, "--test", settings.test,
        "--epochs", settings.tune_epochs, "--batch-size", settings.batch_size, "--lr", settings.lr,
        "--threads", settings.threads, "--seed", settings.seed,
    )  # fmt: skip
    same = mest(
        "finetune", ARTIFACT, "--out", ORT_STATE, "--data", settings.learn, *_same(settings, "ort"), *_course(settings),
        called="ort",
    )  # fmt: skip
    return (pytorch, same) if ort else (pytorch,)


def by_hand(settings: Settings) -> Step:
    """The page that a person draws in: batches small and epochs many enough for a few drawings."""
    return mest(
        "page", ARTIFACT, "--out", f"{BY_HAND}.html", "--title", "Digits in your own hand", "--batch-size", 8,
        "--epochs", 20, "--seed", settings.seed, called=BY_HAND,
    )  # fmt: skip


def page(settings: Settings) -> str:
    """The command that makes the page from what the others left."""
    named = "" if settings.scenario is DIGITS else f" {settings.scenario.name}"
    return f"mest demo{named} --page --out . --seed {settings.seed} --engine {settings.engine}"


def _same(settings: Settings, engine: str) -> tuple[object, ...]:
    return ("--engine", engine, "--threads", settings.threads, "--batch-size", settings.batch_size)


def _course(settings: Settings) -> tuple[object, ...]:
    return (
        "--epochs", settings.tune_epochs, "--lr", settings.lr, "--lr-scheduler", "cosine", "--eval-data", settings.test,
        "--seed", settings.seed,
    )  # fmt: skip


def _samples(settings: Settings) -> tuple[str, ...]:
    return tuple(f"{DATA}/{name}" for name in settings.scenario.looked_at(settings.samples))
