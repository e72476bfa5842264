"""The options of a training run: one table for the command line, recipes and the published names."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mest.log import parse_log
from mest.tasks.registry import TASKS

Parse = Callable[[str], Any]


@dataclass(frozen=True)
class Option:
    """One option. `key` is its name in a recipe and in checkpoints; `aliases` are other names, the published ones too.

    `shown` is the name that help and messages use, the same in every command; the key unless it is given.
    `bare` is the text that the option stands for when it is given without a value; None if it needs one.
    `parse` turns text into a value and raises ValueError that says what is allowed.
    """

    key: str
    parse: Parse
    help: str
    aliases: tuple[str, ...] = ()
    bare: str | None = None
    short: str | None = None
    shown: str = ""

    @property
    def metavar(self) -> str:
        """What stands for the value in the help: the choices where there are few, else the last word of the key."""
        choices = ("true", "false") if self.parse is switch else getattr(self.parse, "choices", ())
        return "|".join(choices) or (self.shown or self.key).rsplit("-", 1)[-1].upper()

    @property
    def names(self) -> tuple[str, ...]:
        """Every name of the option, without dashes in front, the one to use first."""
        return tuple(dict.fromkeys((self.shown or self.key, self.key, *self.aliases)))


def text(given: str) -> str:
    """Any text but an empty one."""
    if not given:
        raise ValueError("a value is missing")
    return given


def whole(low: int, high: int | None = None) -> Parse:
    """Integers from `low` (to `high`)."""

    def parse(given: str) -> int:
        try:
            value = int(given)
        except ValueError:
            value = low - 1
        if value < low or (high is not None and value > high):
            raise ValueError(f"allowed are whole numbers from {low}" + (f" to {high}" if high is not None else ""))
        return value

    return parse


def number(low: float, high: float = math.inf, open_low: bool = False, open_high: bool = False) -> Parse:
    """Finite numbers from `low` to `high`; an open end is not itself allowed."""

    def parse(given: str) -> float:
        try:
            value = float(given)
        except ValueError:
            value = math.nan
        inside = (low < value if open_low else low <= value) and (value < high if open_high else value <= high)
        if not math.isfinite(value) or not inside:
            ends = f"{'above' if open_low else 'from'} {low:g}"
            if math.isfinite(high):
                ends += f" {'to below' if open_high else 'to'} {high:g}"
            raise ValueError(f"allowed are numbers {ends}")
        return value

    return parse


def listed(one: Parse) -> Parse:
    """Several values joined by `-` as published, or by commas."""

    def parse(given: str) -> tuple[Any, ...]:
        return tuple(one(part.strip()) for part in given.replace("-", ",").split(","))

    return parse


@dataclass(frozen=True)
class OneOf:
    """One of the choices; `other_names` maps further spellings to them."""

    choices: tuple[str, ...]
    other_names: dict[str, str]

    def __call__(self, given: str) -> str:
        """The choice that was given; raises ValueError with all of them."""
        value = self.other_names.get(given, given)
        if value not in self.choices:
            raise ValueError(f"allowed are {', '.join(self.choices)}")
        return value


def one_of(*choices: str, **other_names: str) -> Parse:
    """One of the choices; `other_names` maps further spellings to them."""
    return OneOf(choices, other_names)


def switch(given: str) -> bool:
    """True or false."""
    if given.lower() not in ("true", "false"):
        raise ValueError("allowed are true and false")
    return given.lower() == "true"


def image_size(given: str) -> int | tuple[int, int]:
    """A side in pixels, or HEIGHTxWIDTH."""
    height, cross, width = given.partition("x")
    try:
        sides = (int(height), int(width) if cross else int(height))
    except ValueError:
        sides = (0, 0)
    if min(sides) < 1 or max(sides) > 4096:
        raise ValueError("allowed are a side in pixels from 1 to 4096 (32), or HEIGHTxWIDTH (48x64)")
    return sides if cross else sides[0]


SPARSITY = number(0, 1, open_high=True)

MODEL_AND_DATA = (
    Option(
        "model",
        text,
        "digits, resnet20, resnet32, vgg16, vgg19, windows (of sensor samples), torchvision:NAME or your own "
        "module:factory, which receives num_classes (or n_classes, classes) and in_channels (in_features for vectors) "
        "if it takes them",
    ),
    Option("arch", one_of("resnet", "vgg"), "published: with --depth, the model"),
    Option("depth", whole(1), "published: 20 or 32 for resnet, 16 or 19 for vgg"),
    Option(
        "data",
        text,
        "digits, watch (windows of a smartwatch's signals), cifar10, cifar100, fashion_mnist, imagefolder:DIR or "
        "npz:FILE, with images, or with inputs that are windows or vectors of numbers (default digits)",
        ("dataset",),
    ),
    Option(
        "task",
        one_of(*TASKS),
        "what the model is trained to predict: one class, several labels, numbers, its own input, or a class for each "
        "pixel (default classification; docs/tasks.md says what the data must hold)",
    ),
    Option("data-dir", text, "where torchvision's data sets are kept (default data)"),
    Option("download", switch, "download torchvision's data set if it is missing", bare="true"),
    Option(
        "image-size",
        image_size,
        "side in pixels (short side, then centre crop) or HEIGHTxWIDTH (default: the images' own size if all share one "
        "of up to 256 pixels, else the model's usual size: 32 for resnet32, 224 for most of torchvision's)",
    ),
    Option("unreadable", one_of("refuse", "skip"), "images that cannot be read: refuse the data, or leave them out"),
    Option(
        "augment",
        one_of("auto", "none", "crop", "flip", "crop-flip", **{"crop+flip": "crop-flip"}),
        "random crops (shifts) and flips (default auto: what suits the data set)",
    ),
    Option("data-augmentation", switch, "published: the same as --augment crop-flip", bare="true"),
    Option(
        "validation-fraction",
        number(0, 0.9),
        "share of the training samples held out to choose the best checkpoint (default 0.1)",
        shown="hold-out",
    ),
)
SPARSITY_OPTIONS = (
    Option(
        "method",
        text,
        "how masks change during training: em, ems, set, rigl, static, dense or your own module:NAME (default em)",
    ),
    Option(
        "scheme",
        text,
        "irregular, block, block:HEIGHT, pattern, channel, or your own module:Class (default irregular)",
        ("sparsity-type", "sp-admm-sparsity-type"),
    ),
    Option("sparsity", SPARSITY, "zeros ÷ weights of every sparse layer, without a profile (default 0.9)"),
    Option("distribution", one_of("uniform", "erk"), "how --sparsity spreads over the layers (default uniform)"),
    Option("profile", text, "YAML file with the sparsity of each layer", ("sp-config-file", "config-file")),
    Option("lower-bound", listed(SPARSITY), "sparsity after pruning in each phase: 0.92-0.91-0.9", ("prune-to",)),
    Option("upper-bound", listed(SPARSITY), "sparsity after growing in each phase: 0.9-0.9-0.9", ("grow-to",)),
    Option(
        "mask-update-decay-epoch",
        listed(whole(1)),
        "epochs at which the next phase begins: 90-120 (scales with --epochs unless given)",
        shown="decay-epochs",
    ),
    Option(
        "sp-mask-update-freq",
        whole(1),
        "epochs from one mutation to the next (default 5)",
        ("mutate-every",),
        shown="mutate-every-epochs",
    ),
    Option("sp-lmd", number(0), "λ of the score |w| + λ·|gradient|", shown="gradient-weight"),
    Option("score", text, "importance of a weight: magnitude, magnitude+gradient:λ, or your own module:Class"),
    Option("growth", text, "which weights grow: random, gradient, or your own module:Class"),
    Option("sp-retrain", switch, "published: accepted, always on", bare="true"),
    Option("sp-prune-before-retrain", switch, "published: accepted, always on", bare="true"),
)
OPTIMIZATION = (
    Option("epochs", whole(0), "epochs to train (default 160); 0 writes a run that is pruned but not trained"),
    Option("batch-size", whole(1), "samples in each optimizer step, all processes together (default 64)"),
    Option("accumulate", whole(1), "backward passes that one optimizer step is split into (default 1)"),
    Option("optimizer", one_of("sgd", "adam", "adamw"), "sgd, adam or adamw (default sgd)", ("optmzr",)),
    Option("lr", number(0, open_low=True), "peak learning rate (default 0.1; 0.001 for adam and adamw)"),
    Option("momentum", number(0, 1, open_high=True), "sgd's momentum (default 0.9)"),
    Option("nesterov", switch, "Nesterov momentum", bare="true"),
    Option("weight-decay", number(0), "weight decay (default 1e-4)", ("wd",)),
    Option(
        "lr-scheduler",
        one_of("cosine", "linear", "constant", "step", default="step"),
        "learning-rate schedule: cosine, linear (to 0), constant, or step (published as default) (default cosine)",
        ("schedule",),
    ),
    Option("min-lr", number(0), "cosine's last learning rate (default 4e-8)"),
    Option("lr-milestones", listed(whole(1)), "step: epochs at which the learning rate drops (default 80-120, scaled)"),
    Option("lr-gamma", number(0, 1, open_low=True), "step: factor of each drop (default 0.1)"),
    Option(
        "warmup",
        text,
        "linear warm-up: epochs, or a share of the run below 1 (8 epochs if no number is given)",
        bare="true",
    ),
    Option("warmup-epochs", whole(1), "published: the number of epochs of --warmup"),
    Option("warmup-lr", number(0, open_low=True), "learning rate that the warm-up starts from (default 1e-4)"),
    Option("smooth", switch, "published: label smoothing by --smooth-eps", bare="true"),
    Option("label-smoothing", number(0, 1, open_high=True), "label smoothing (default 0)", ("smooth-eps",)),
    Option("mixup", switch, "mix pairs of images", bare="true"),
    Option("alpha", number(0, open_low=True), "mixup: the ratio is drawn from Beta(alpha, alpha) (default 0.3)"),
)
LESS_DATA = (
    Option(
        "remove-n",
        text,
        "how many of the easiest training samples to remove: 12000, or in rounds 6000-6000, or 0.2 of all",
    ),
    Option(
        "remove-data-epoch",
        text,
        "epochs at which to remove them, by the forgetting counts so far: 70, or in rounds 40-70",
    ),
    Option("keep-lowest-n", whole(-1), "how many of the easiest samples to keep (default 0); -1 removes at random"),
    Option("restore-every", whole(1), "epochs between checks of removed samples; misclassified ones come back"),
    Option(
        "sorting-file",
        text,
        "ranking whose order decides which --remove-n samples are removed (default: from the start of training)",
    ),
    Option("ranking-unchecked", switch, "accept a ranking that does not name its data set", bare="true"),
    Option("write-ranking", text, "where to write this run's ranking (.npz or .pkl)"),
    Option("input-dir", text, "published: folder of --sorting-file"),
    Option("output-dir", text, "published: folder that the ranking is also written to"),
    Option("output-name", text, "published: its name there, without .pkl"),
)
RUNNING = (
    Option("amp", switch, "mixed precision: bfloat16 on a CPU, float16 with loss scaling on a GPU", bare="true"),
    Option("device", text, "auto, cpu, cuda or cuda:N (default auto)"),
    Option("no-cuda", switch, "published: the same as --device cpu", bare="true"),
    Option("test-batch-size", whole(1), "samples at a time in evaluation (default 256)"),
    Option("workers", whole(0, 64), "processes that load images ahead (default 0)", short="j"),
    Option("threads", whole(1, 1024), "threads of one process (default: PyTorch's choice)"),
    Option("seed", whole(0, 2**63 - 1), "seed of every random choice (default 0)"),
    Option("remark", text, "a note to store in run.json"),
    Option(
        "log",
        parse_log,
        "also log every epoch: tensorboard[:DIR] (default DIR: tensorboard in the run's directory), "
        "wandb[:PROJECT] or none (default none)",
    ),
    Option("log-filename", text, "published: metrics.jsonl is also written here"),
)

GROUPS = {
    "model and data": MODEL_AND_DATA,
    "sparsity": SPARSITY_OPTIONS,
    "optimization": OPTIMIZATION,
    "less data": LESS_DATA,
    "running": RUNNING,
}
OPTIONS: tuple[Option, ...] = tuple(option for group in GROUPS.values() for option in group)
BY_KEY: dict[str, Option] = {option.key: option for option in OPTIONS}
BY_NAME: dict[str, Option] = {name: option for option in OPTIONS for name in option.names}


def flag(key: str) -> str:
    """An option as messages spell it, with its published name beside it: whoever gave it may know only that one."""
    shown = BY_KEY[key].names[0]
    return f"--{shown}" if shown == key else f"--{shown} (--{key})"
