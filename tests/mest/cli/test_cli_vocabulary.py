"""One word for one thing: options that several commands share are spelled alike and mean the same in each."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch

from edge.errors import InputError
from edge.run.settings import Settings
from mest import cli
from mest.cli import within_budget
from mest.train.checkpoint import load_checkpoint
from mest.train.config import OptimizerConfig
from mest.train.options import BY_NAME
from mest.train.rate import learning_rate
from mest.train.recipe import build_config

SHARED = ("--warmup", "--augment", "--hold-out", "--validation-fraction", "--lr-scheduler", "--epochs", "--lr")


def parser_of(name: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = cli.build_parser(name).parse_args(NEEDED[name]).parser
    return parser


NEEDED = {
    "train": ["train"],
    "finetune": ["finetune", "art", "--data", "digits", "--out", "state"],
    "compile": ["compile", "art", "--out", "plan.mest"],
}


def settings_of(*words: str) -> Settings:
    """The settings of a fine-tuning with these words."""
    args = cli.build_parser("finetune").parse_args([*NEEDED["finetune"], *words])
    args.seed_given = None
    return within_budget.settings(args)


@pytest.mark.parametrize("name", NEEDED)
def test_shared_options_have_one_spelling(name: str) -> None:
    """Every command that trains takes each of them, and shows the same name first."""
    actions = parser_of(name)._option_string_actions
    assert set(SHARED) <= set(actions)
    assert actions["--validation-fraction"].option_strings[0] == "--hold-out"
    text = parser_of(name).format_help()
    assert "crop-flip" in text
    assert "linear" in text


def test_a_mutation_says_its_unit_and_the_older_name_is_taken() -> None:
    """Epochs on the workstation, steps on the board; `--mutate-every` means in each what it always did."""
    for word in ("mutate-every-epochs", "mutate-every", "sp-mask-update-freq"):
        assert BY_NAME[word].key == "sp-mask-update-freq"
    for word in ("--mutate-every-steps", "--mutate-every"):
        assert settings_of("--mutate", "em", word, "7").mutate_every == 7


def test_a_warm_up_is_a_share_or_epochs_everywhere() -> None:
    """Below 1 a share, from 1 on epochs, which must leave some to train at the full rate."""
    assert build_config({"epochs": "8", "warmup": "0.25"}).optimizer.warmup_epochs == 2
    assert build_config({"epochs": "8", "warmup": "2"}).optimizer.warmup_epochs == 2
    assert settings_of("--epochs", "8", "--warmup", "0.25").warmup == 0.25
    assert settings_of("--epochs", "8", "--warmup", "2").warmup == 0.25
    assert settings_of("--warmup", "1").warmup == 0.2  # of the five epochs that are the default
    with pytest.raises(InputError, match="--warmup 8: must be below --epochs 8"):
        settings_of("--epochs", "8", "--warmup", "8")
    for wrong in ("1.5", "-1", "inf", "often"):
        with pytest.raises(SystemExit):
            settings_of("--warmup", wrong)


def test_both_spellings_of_an_augmentation_are_one() -> None:
    """With a dash or a plus sign."""
    assert build_config({"augment": "crop+flip"}) == build_config({"augment": "crop-flip"})
    assert settings_of("--augment", "crop+flip") == settings_of("--augment", "crop-flip")


def test_a_linear_rate_falls_to_nothing() -> None:
    """By eye, after a warm-up of two of six epochs."""
    config = OptimizerConfig(lr=1.0, schedule="linear", warmup_epochs=2, warmup_lr=0.5)
    assert [learning_rate(config, epoch, 6) for epoch in range(6)] == [0.5, 0.75, 1.0, 0.75, 0.5, 0.25]


def test_a_run_that_was_begun_with_the_older_word_is_continued(tmp_path: Path, capsys) -> None:
    """Checkpoints hold `crop+flip` where they are older."""
    generator = np.random.default_rng(0)
    data = tmp_path / "few.npz"
    np.savez(data, images=generator.integers(0, 256, (40, 8, 8), np.uint8), labels=np.arange(40) % 4)
    words = ["--epochs", "2", "--device", "cpu", "--augment", "crop-flip", "--out", str(tmp_path / "run")]
    assert cli.main(["train", "--data", f"npz:{data}", *words]) == 0
    last = tmp_path / "run" / "checkpoints" / "last.pt"
    stored = load_checkpoint(last)
    stored["config"]["data"]["augment"] = stored["options"]["augment"] = "crop+flip"
    torch.save(stored, last)
    assert cli.main(["train", "--resume", "--out", str(tmp_path / "run")]) == 0
