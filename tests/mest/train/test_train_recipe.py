"""Options and recipes: the published names, the defaults of the paper, and every refusal at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from mest.errors import InputError
from mest.sparse.schedule import parse_bounds
from mest.train.config import Execution, OptimizerConfig, SparseConfig
from mest.train.options import BY_NAME, OPTIONS
from mest.train.recipe import build_config, build_execution, read_recipe
from mest.train.sparsify import schedule_of

RECIPES = Path(__file__).parents[3] / "profiles" / "recipes"


def test_defaults_are_the_paper_s_recipe() -> None:
    """SGD 0.9, 1e-4, cosine from 0.1 to 4e-8, 160 epochs, batch 64, mutation every 5 epochs."""
    config = build_config({})
    assert config.optimizer == OptimizerConfig("sgd", 0.1, 0.9, False, 1e-4, "cosine", 4e-8, batch_size=64)
    assert (config.epochs, config.sparse) == (160, SparseConfig("em", "irregular", 0.9, update_every_epochs=5))


def test_published_options_mean_what_they_meant() -> None:
    """A whole published command line, as its scripts write it."""
    words = (  # noqa: SIM905 - as the scripts write it
        "--arch resnet --depth 32 --optmzr sgd --batch-size 64 --lr 0.1 --lr-scheduler cosine --epochs 160 "
        "--dataset cifar10 --seed 914 --upper-bound 0.85-0.875-0.9 --lower-bound 0.9-0.9-0.9 "
        "--mask-update-decay-epoch 90-120 --sp-mask-update-freq 5 --remark blk --sp-lmd 0.5 "
        "--sp-admm-sparsity-type free_block_prune_column_4 "
        "--sp-config-file ./profiles/resnet32_cifar/blk/resnet32_0.9.yaml --remove-n 12000 --keep-lowest-n 0 "
        "--remove-data-epoch 70 --warmup true --warmup-epochs 8"
    ).split()
    given = {BY_NAME[name.removeprefix("--")].key: value for name, value in zip(words[::2], words[1::2], strict=True)}
    config = build_config(given | {"sp-retrain": "true", "sp-prune-before-retrain": "true"})
    assert (config.model, config.data.name, config.seed) == ("resnet32", "cifar10", 914)
    assert config.sparse.method == "ems"
    assert (config.sparse.prune_to, config.sparse.grow_to) == ((0.9, 0.9, 0.9), (0.85, 0.875, 0.9))
    assert (config.sparse.decay_epochs, config.sparse.update_every_epochs) == ((90, 120), 5)
    assert (config.sparse.gradient_weight, config.optimizer.warmup_epochs) == (0.5, 8)
    assert (config.removal.remove_n, config.removal.remove_data_epoch) == ("12000", "70")
    assert config.removal.track is False


@pytest.mark.parametrize(
    ("given", "messages"),
    [
        ({"sparsity": "1.0"}, ["--sparsity 1.0: allowed are numbers from 0 to below 1"]),
        ({"scheme": "blok"}, ["blok", "block"]),
        ({"lower-bound": "0.92-0.91-0.9", "upper-bound": "0.9-0.9"}, ["3 phases", "2"]),
        (
            {"lower-bound": "0.92-0.91-0.9", "upper-bound": "0.9-0.9-0.9", "mask-update-decay-epoch": "90"},
            ["2 phases", "3"],
        ),
        ({"method": "static", "lower-bound": "0.9"}, ["--lower-bound does nothing with --method static"]),
        ({"method": "dense", "sparsity": "0.9", "scheme": "block"}, ["--sparsity", "--scheme does nothing"]),
        ({"method": "rigl", "sp-lmd": "1"}, ["--gradient-weight (--sp-lmd) does nothing with --method rigl"]),
        ({"optimizer": "adam", "momentum": "0.9"}, ["--momentum does nothing without --optimizer sgd"]),
        ({"alpha": "0.2", "min-lr": "1"}, ["--alpha does nothing without --mixup", "--min-lr 1: must not exceed"]),
        ({"profile": "x.yaml", "sparsity": "0.9"}, ["--sparsity contradicts --profile"]),
        ({"sparsity": "0.8", "lower-bound": "0.9", "upper-bound": "0.9"}, ["--sparsity 0.8 contradicts the bounds"]),
        ({"epochs": "100", "mask-update-decay-epoch": "90-120"}, ["120: must be below --epochs 100"]),
        ({"score": "magnitude", "sp-lmd": "1"}, ["--gradient-weight (--sp-lmd) contradicts --score"]),
        ({"data": "digits", "download": "true"}, ["--download does nothing with --data digits"]),
        ({"arch": "resnet", "depth": "18"}, ["--arch resnet --depth 32"]),
        ({"arch": "vgg", "depth": "19", "model": "vgg16"}, ["--model vgg16 contradicts"]),
        ({"keep-lowest-n": "5"}, ["--keep-lowest-n does nothing without --remove-n"]),
        ({"batch-size": "10", "accumulate": "3"}, ["--accumulate 3: must divide --batch-size 10"]),
        ({"epochs": "-1"}, ["--epochs -1: allowed are whole numbers from 0"]),
        ({"lr": "nan"}, ["--lr nan: allowed are numbers above 0"]),
        ({"epochs": "5", "warmup": "8"}, ["--warmup 8: must be below --epochs 5"]),
    ],
)
def test_what_cannot_act_or_contradicts_is_refused(given: dict[str, str], messages: list[str]) -> None:
    """One line that names each option, what was given and what is allowed."""
    with pytest.raises(InputError) as refused:
        build_config(given)
    assert "\n" not in str(refused.value)
    for message in messages:
        assert message in str(refused.value)


def test_all_problems_come_together() -> None:
    """Three mistakes of three kinds are one refusal."""
    with pytest.raises(InputError) as refused:
        build_config({"scheme": "blok", "optimizer": "adamw", "nesterov": "true", "keep-lowest-n": "3"})
    assert str(refused.value).count(";") >= 2


def test_recipe_keys_are_the_options_and_others_are_refused(tmp_path: Path) -> None:
    """Underscores and published names are taken; an unknown key comes with the nearest one."""
    recipe = tmp_path / "r.yaml"
    recipe.write_text("sp_mask_update_freq: 3\nmixup: true\nmask-update-decay-epoch: [2, 4]\n")
    assert read_recipe(recipe) == {"sp-mask-update-freq": "3", "mixup": "true", "mask-update-decay-epoch": "2-4"}
    recipe.write_text("remove-n: [0.00005, 100]\nlr: 0.1\nepochs: 3\n")
    assert read_recipe(recipe) == {"remove-n": "0.00005-100", "lr": "0.1", "epochs": "3"}
    recipe.write_text("epoch: 3\nlr: 1\nwd: 1\nweight-decay: 2\n")
    with pytest.raises(InputError, match=r"unknown key 'epoch', did you mean 'epochs'.*given twice"):
        read_recipe(recipe)
    recipe.write_text("- epochs\n")
    with pytest.raises(InputError, match="expected option names with values, found list"):
        read_recipe(recipe)
    recipe.write_text("a: [")
    with pytest.raises(InputError, match="not readable as YAML"):
        read_recipe(recipe)


@pytest.mark.parametrize("path", sorted(RECIPES.rglob("*.yaml")), ids=lambda path: path.stem)
def test_packaged_recipes_parse_and_name_existing_profiles(path: Path) -> None:
    """Every recipe is a valid run of the paper's length whose profile exists."""
    config = build_config(read_recipe(path))
    assert (config.model, config.epochs, config.sparse.gradient_weight) == ("resnet32", 160, 0.0)
    assert config.sparse.profile is not None
    assert (RECIPES.parents[1] / config.sparse.profile).is_file()
    assert config.sparse.method == ("ems" if "EM_S" in path.stem else "em")
    assert [phase.from_epoch for phase in schedule_of(config.sparse, config.epochs).phases(0.9)] == [0, 90, 120]


def test_there_is_a_recipe_for_every_published_script() -> None:
    """The scripts' own names, three for each of EM and EM&S and six for less data."""
    names = {path.relative_to(RECIPES / "resnet32").as_posix() for path in RECIPES.rglob("*.yaml")}
    for kind in ("EM", "EM_S"):
        assert {f"{kind}/run_mag_prune_{scheme}_sp_{kind}.yaml" for scheme in ("blk", "irr", "pattern")} <= names
        assert {f"data_efficient/{kind}_sp90_{scheme}.yaml" for scheme in ("blk", "irr", "pat")} <= names


def test_where_a_run_goes_does_not_touch_what_it_computes(tmp_path: Path) -> None:
    """Device, workers and files are Execution; the published output names give a ranking's place."""
    given = {"no-cuda": "true", "workers": "4", "output-dir": "o", "output-name": "n", "test-batch-size": "9"}
    execution = build_execution(given, tmp_path, None)
    assert execution == Execution(
        tmp_path, "cpu", workers=4, eval_batch_size=9, write_ranking=Path("o/n.pkl")
    )  # fmt: skip
    with pytest.raises(InputError, match="contradicts --device cuda"):
        build_execution({"no-cuda": "true", "device": "cuda"}, tmp_path, None)
    with pytest.raises(InputError, match=r"ranking is written as \.npz or \.pkl"):
        build_execution({"write-ranking": "r.txt"}, tmp_path, None)


def test_option_names_are_unique() -> None:
    """No name stands for two options."""
    assert sum(len(option.names) for option in OPTIONS) == len(BY_NAME)


def test_every_mistake_is_told_at_once() -> None:
    """Values that are none, an unknown scheme and options that contradict each other, in one line."""
    given = {"scheme": "blok", "lr": "-1", "momentum": "0.9", "optimizer": "adam", "epochs": "x", "warmup": "200"}
    with pytest.raises(InputError) as refused:
        build_config(given)
    told = str(refused.value)
    for part in (
        "--lr -1:",
        "--epochs x:",
        "--scheme: unknown scheme 'blok'",
        "did you mean 'block'",
        "--momentum does",
    ):
        assert part in told
    assert "--warmup" not in told  # whether 200 epochs of warm-up are too many hangs on --epochs
    assert "\n" not in told


@pytest.mark.parametrize("bounds", ["0.92-0.9", "0.88-0.89-0.9-0.9"])
def test_bounds_are_shown_as_they_are_typed(bounds: str) -> None:
    """Joined by dashes, never as the program holds them."""
    with pytest.raises(InputError) as refused:
        build_config({"lower-bound": "0.9-0.9-0.9", "upper-bound": bounds})
    assert bounds in str(refused.value)
    assert "(" not in str(refused.value)
    with pytest.raises(InputError, match=r"bounds 0\.92-1\.5"):
        parse_bounds((0.92, 1.5))
