"""Which runs an accuracy bench consists of, and the options of `mest train` that each of them is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MUTATING_METHODS = ("static", "set", "rigl", "em", "ems")
METHODS = ("dense", *MUTATING_METHODS)
SCHEMES = ("irregular", "block", "pattern", "channel")
# Where the published script removes data: at epoch 70 of 160.
REMOVAL_AT = 70 / 160


@dataclass(frozen=True)
class Cell:
    """One run: a method at a scheme and sparsity, with a part of the data removed or none, under one seed.

    `remove` is the fraction of the training samples that goes; `at_random` removes that many without looking at them,
    the control. A dense cell has no scheme and sparsity 0.
    """

    method: str
    scheme: str
    sparsity: float
    seed: int
    remove: float = 0.0
    at_random: bool = False

    @property
    def name(self) -> str:
        """A name for files, the same for the same cell."""
        removed = f"-less{self.remove:g}{'random' if self.at_random else ''}" if self.remove else ""
        sparse = "" if self.method == "dense" else f"-{self.scheme}-{self.sparsity:g}"
        return f"{self.method}{sparse}{removed}-seed{self.seed}"


@dataclass(frozen=True)
class Preset:
    """What all runs of a bench share. `options` are those of `mest train`; `about` states them for a reader."""

    name: str
    about: str
    options: dict[str, str]
    methods: tuple[str, ...] = METHODS
    schemes: tuple[str, ...] = SCHEMES
    sparsities: tuple[float, ...] = (0.9, 0.95)
    seeds: tuple[int, ...] = (0, 1, 2)

    @property
    def epochs(self) -> int:
        """Epochs of every run."""
        return int(self.options["epochs"])


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "digits",
            "the packaged 8x8 digits and the network that goes with them, 24 epochs with a mutation at each",
            {"model": "digits", "data": "digits", "epochs": "24", "batch-size": "64", "sp-mask-update-freq": "1"},
            seeds=tuple(range(10)),
        ),
        Preset(
            "cifar-small",
            "six 3x3 convolutions over 4x4 patches (bench/accuracy_net.py), all images, ten epochs, a mutation at each",
            {"model": "bench.accuracy_net:small", "epochs": "10", "batch-size": "64", "sp-mask-update-freq": "1"},
            sparsities=(0.9,),
        ),
        Preset(
            "cifar-short",
            "the paper's resnet32 on all images, 30 epochs instead of 160, with a mutation at each",
            {"model": "resnet32", "epochs": "30", "batch-size": "64", "sp-mask-update-freq": "1"},
            methods=("dense", "static", "em", "ems"),
            schemes=("irregular", "block"),
            sparsities=(0.9,),
        ),
        Preset(
            "paper",
            "the paper's resnet32 and recipe: 160 epochs, mutation every 5, decay at 90 and 120",
            {"model": "resnet32", "epochs": "160", "batch-size": "64"},
        ),
    )
}


def grid(
    preset: Preset,
    methods: Sequence[str],
    schemes: Sequence[str],
    sparsities: Sequence[float],
    seeds: Sequence[int],
    remove: Sequence[float] = (),
) -> list[Cell]:
    """All cells, those of the first seed first, so that an early stop leaves whole columns.

    Every fraction of `remove` adds EM&S at the first scheme and sparsity with the easiest samples removed, and with as
    many removed at random.
    """
    cells = []
    for seed in seeds:
        for method in methods:
            if method == "dense":
                cells.append(Cell("dense", "", 0.0, seed))
            else:
                cells += [Cell(method, scheme, sparsity, seed) for scheme in schemes for sparsity in sparsities]
        for fraction in remove:
            full = Cell("ems", schemes[0], sparsities[0], seed)
            cells += [] if full in cells else [full]
            cells += [Cell("ems", schemes[0], sparsities[0], seed, fraction, random) for random in (False, True)]
    return cells


def without_place(options: dict[str, str]) -> dict[str, str]:
    """The options as a record keeps them: where a folder of images lies says nothing to anybody else."""
    kind, colon, _ = options.get("data", "").partition(":")
    return {**options, "data": f"{kind}:DIR"} if colon else options


def train_options(preset: Preset, cell: Cell, data: str | None) -> dict[str, str]:
    """The option texts of `mest train` for one cell; `data` replaces the preset's, the whole training set is used."""
    options = {**preset.options, "method": cell.method, "seed": str(cell.seed), "validation-fraction": "0"}
    if data is not None:
        options["data"] = data
    if cell.method != "dense":
        options |= {"scheme": cell.scheme, "sparsity": f"{cell.sparsity:g}"}
    else:
        options.pop("sp-mask-update-freq", None)
    if cell.method == "static":
        options.pop("sp-mask-update-freq", None)
    if cell.remove:
        options |= {
            "remove-n": f"{cell.remove:g}",
            "remove-data-epoch": str(round(preset.epochs * REMOVAL_AT)),
            "keep-lowest-n": "-1" if cell.at_random else "0",
        }
    return options
