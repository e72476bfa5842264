"""An option that would do nothing as it is given is refused by its name; none is ignored silently."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

import pytest

import mest.cli as cli

FINETUNE = ["finetune", "art", "--data", "digits", "--out", "state"]
EXPORT = ["export", "run", "--out", "art"]
# Combinations in which an option has no effect, by the option that the message must name.
IDLE = {
    "mutate-every": [*FINETUNE, "--mutate-every", "7"],
    "gradient-weight": [*FINETUNE, "--gradient-weight", "0.5"],
    "hold-out": [*FINETUNE, "--eval-data", "digits", "--hold-out", "0.2"],
    "replan": [*FINETUNE, "--replan"],
    "patience": [*FINETUNE, "--patience", "2", "--hold-out", "0"],
    "eval engine": ["eval", "run", "--engine", "native"],
    "eval memory-budget": ["eval", "run", "--memory-budget", "64MiB"],
    "eval threads": ["eval", "run", "--threads", "2"],
    "steps": ["profile", "record.json", "--out", "page", "--steps", "3"],
    "data": ["profile", "record.json", "--out", "page", "--data", "digits"],
    "batch-size": ["profile", "record.json", "--out", "page", "--batch-size", "3"],
    "mutate": ["profile", "record.json", "--out", "page", "--mutate", "em"],
    "recompute": [*EXPORT, "--for", "native", "--recompute", "blocks"],
    "export mutate": [*EXPORT, "--for", "native", "--mutate", "ems"],
    "original": [*EXPORT, "--original", "run"],
    "mean": [*EXPORT, "--mean", "0.5"],
    "checkpoint": ["export", "record.json", "--out", "art", "--checkpoint", "last"],
    "lr-gamma": ["train", "--lr-gamma", "0.5"],
    "momentum": ["train", "--optimizer", "adamw", "--momentum", "0.5"],
    "min-lr": ["train", "--lr-scheduler", "constant", "--min-lr", "0.001"],
    "alpha": ["train", "--alpha", "0.3"],
    "warmup-lr": ["train", "--warmup-lr", "0.001"],
    "data-dir": ["train", "--data", "digits", "--data-dir", "data"],
    "keep-lowest-n": ["train", "--keep-lowest-n", "5"],
    "output-dir": ["train", "--output-dir", "folder"],
    "sp-mask-update-freq": ["train", "--method", "static", "--sp-mask-update-freq", "2"],
    "sparsity": ["train", "--method", "dense", "--sparsity", "0.5"],
}


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what looks like a run and a record, whose contents no refusal gets to read."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}", encoding="utf-8")
    (tmp_path / "record.json").write_text("{}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("case", IDLE)
def test_options_without_effect_are_refused(case: str, places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 with one line that names the option, before anything is read or written."""
    before = sorted(places.iterdir())
    assert cli.main(IDLE[case]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "--" + case.split()[-1] in said
    assert sorted(places.iterdir()) == before


@pytest.mark.parametrize("name", ["eval", "export", "finetune"])
def test_rules_name_options_that_exist(name: str) -> None:
    """A rule for an option that was renamed would never hold."""
    commands = next(action for action in cli.build_parser(name)._actions if action.dest == "command")
    known = {action.dest for action in commands.choices[name]._actions}  # type: ignore[union-attr, call-overload]
    rules = import_module(f"mest.cli.{name}").EFFECTS
    assert {option for rule in rules for option in rule.options} <= known


@pytest.mark.parametrize("option", ["-q", "-v"])
def test_quiet_and_verbose_act_with_every_export(option: str, places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """How much is said has nothing to do with what is exported: an artifact is cut with -q and -v too."""
    (places / "artifact").mkdir()
    (places / "artifact" / "manifest.json").write_text("{}", encoding="utf-8")
    assert cli.main(["export", "artifact", "--for", "native", "--out", "cut", option]) == 4
    assert "no meaning" not in capsys.readouterr().err


def test_every_idle_option_is_named_in_one_line() -> None:
    """Several at once are one message, in the words that were typed."""
    from edge.errors import InputError
    from mest.cli.effects import Effect, refuse_idle

    parser = argparse.ArgumentParser()
    parser.add_argument("--one", type=int)
    parser.add_argument("--two-words", type=int, default=2)
    args = parser.parse_args(["--one", "1", "--two-words", "3"])
    args.parser = parser
    both = Effect(("one", "two_words"), lambda args: False, "do nothing")
    one = Effect(("one",), lambda args: args.one is None, "at all")
    never = Effect(("two_words",), lambda args: True, "never said")
    with pytest.raises(InputError, match=r"^--one, --two-words: do nothing; --one: at all$"):
        refuse_idle(args, (both, one, never))
