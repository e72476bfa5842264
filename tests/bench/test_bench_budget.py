"""The budget bench's images, its search for the smallest budget and its table, on small things made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.budget import Commands
from bench.budget_commands import Said, smallest_budget
from bench.budget_images import PerClass, make_images
from bench.budget_report import markdown, over_line, passed_its_bounds, plan_words, table

MIB = 1 << 20
PER_CLASS = PerClass(first=1, learn=2, tune=2, test=1)


def write_classes(root: Path, count: int, mode: str = "RGB") -> None:
    """Two classes of grey images of 4x4 pixels."""
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.new(mode, (4, 4), 100 if mode == "L" else (100, 100, 100)).save(root / name / f"{number}.png")


@pytest.mark.parametrize("whole", [True, False])
def test_no_image_is_in_two_parts_that_must_not_share(tmp_path: Path, whole: bool) -> None:
    """What is learnt, tuned on and tested on are different files; the test part is the sensor's test part."""
    root = tmp_path / "root"
    write_classes(root / "train" if whole else root, 5)
    if whole:
        write_classes(root / "test", 2)
    images = make_images(root, tmp_path / "work", PER_CLASS, seed=0)
    learn, test = ({file.resolve() for file in folder.rglob("*.png")} for folder in (images.learn, images.test))
    assert len(learn) == 4
    assert len(test) == 2
    assert not learn & test
    assert {file.parent.parent.name == "test" for file in test} == {whole}
    assert not {file.name for file in images.tune.glob("cat/*")} & {file.name for file in learn if "cat" in file.parts}
    assert {file.name for file in images.tune_test.rglob("*.png")} == {file.name for file in images.test.rglob("*.png")}
    assert all(file.resolve() in learn for file in images.first.glob("train/*/*"))


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_sensor_changes_pixels_and_keeps_the_form(tmp_path: Path, mode: str) -> None:
    """A shifted image is a PNG of the same size and mode, brighter than it was, and the same for the same seed."""
    write_classes(tmp_path / "root", 5, mode)
    first = make_images(tmp_path / "root", tmp_path / "a", PER_CLASS, seed=0)
    again = make_images(tmp_path / "root", tmp_path / "b", PER_CLASS, seed=0)
    for file, same in zip(sorted(first.tune.rglob("*.png")), sorted(again.tune.rglob("*.png")), strict=True):
        assert file.read_bytes() == same.read_bytes()
        with Image.open(file) as image:
            assert (image.mode, image.size) == (mode, (4, 4))
            assert np.asarray(image).mean() > 105


def test_too_few_images_are_named_in_one_line(tmp_path: Path) -> None:
    """The class, what it has and what is needed."""
    write_classes(tmp_path / "root", 3)
    with pytest.raises(SystemExit, match="class cat has 3 images, 5 are needed"):
        make_images(tmp_path / "root", tmp_path / "work", PER_CLASS, seed=0)


def refused(text: str, code: int = 3) -> Said:
    """A command that ended with an exit code and a last line."""
    return Said(("mest",), code, {}, text, 1.0)


def test_a_smallest_budget_counts_only_once_a_run_kept_it() -> None:
    """What a refusal names is tried; a failure that names more is believed, one that names nothing costs a step."""
    asked = []
    answers = [refused("… give --memory-budget 40.1MiB or more"), refused("an allocation was refused"), refused("", 0)]

    def run(budget: float) -> Said:
        asked.append(budget)
        return answers[len(asked) - 1]

    found = smallest_budget(refused("… give --memory-budget 38.3MiB or more"), run)
    assert asked == [38.3, 40.1, 40.6]
    assert (found.planned_mib, found.confirmed_mib) == (38.3, 40.6)
    assert [one["exit"] for one in found.tries] == [3, 3, 0]


def test_no_budget_is_invented() -> None:
    """A plan that broke, a run that broke, and runs that never fit leave no confirmed budget."""
    named = refused("give --memory-budget 38.3MiB or more")
    assert smallest_budget(refused("a bug", 1), lambda budget: refused("", 0)).planned_mib is None
    broken = smallest_budget(named, lambda budget: refused("a bug", 1))
    assert (broken.confirmed_mib, len(broken.tries)) == (None, 1)
    never = smallest_budget(named, lambda budget: refused("an allocation was refused"))
    assert (never.confirmed_mib, len(never.tries)) == (None, 8)


def test_a_command_says_how_it_ended() -> None:
    """The JSON of one that ended well, exit code and last line of one that was refused."""
    commands = Commands(threads=1)
    assert commands.mest("board").result["architecture"]
    said = commands.mest("plan", "nowhere")
    assert said.code in (2, 4)
    assert "nowhere" in said.last
    assert [one.code for one in commands.said] == [0, said.code]


def row(engine: str, peak: float, sample_ms: float, **changes: Any) -> dict[str, Any]:
    """A row of a record that ended well."""
    found = {"engine": engine, "trained": "all", "budget_mib": None, "ok": True, "plan": "whole batch"}
    found |= {"planned_peak_bytes": None, "measured_peak_bytes": int(peak * MIB), "sample_ms": sample_ms}
    return {**found, "accuracy_before": 0.5, "accuracy_after": 0.625, **changes}


ROWS = [
    row("native", 60, 2.0, planned_peak_bytes=62 * MIB, budget_mib=64),
    {"engine": "native", "trained": "all", "budget_mib": 8, "ok": False, "exit": 3, "said": "cannot be met"},
    row("PyTorch channels_last", 600, 10.0),
    row("PyTorch contiguous", 500, 12.0),
    row("ort", 300, 20.0, planned_peak_bytes=310 * MIB),
]


def test_ratios_are_to_the_better_of_the_others() -> None:
    """60 of PyTorch's lowest 500 MiB at five times its fastest speed; ORT has none to itself."""
    lines = table(ROWS)
    assert lines[2] == (
        "| native | all | 64 | whole batch | 62.0 | 60.0 | 2.00 | 50.0% → 62.5% | 0.120 | 5.00 | 0.200 | 10.00 |"
    )
    assert lines[3].startswith("| native | all | 8 | exit 3: cannot be met |")
    assert lines[-1].endswith("| 0.600 | 0.50 |  |  |")
    assert len({line.count("|") for line in lines}) == 1


def test_a_peak_above_plan_or_budget_is_said() -> None:
    """Both differences stand below the table; rows within both are not mentioned."""
    over = row("native", 66, 2.0, planned_peak_bytes=62 * MIB, budget_mib=64)
    assert [passed_its_bounds(one) for one in [*ROWS, over]] == [False, False, False, False, False, True]
    assert over_line(over).endswith("measured +4.0 MiB to the plan, +2.0 MiB to the budget")


def test_the_whole_account_is_made_from_the_record_alone() -> None:
    """Circumstances, settings, every row, and what a run had to say to the planned smallest budget."""
    facts = {"machine": "a processor", "architecture": "x86_64", "cores": 2, "python": "3.11", "commit": "abc"}
    smallest = {"planned_mib": 38.3, "confirmed_mib": 40.1, "tries": [{"said": "needs 40.1 MiB"}]}
    text = markdown(
        {
            "circumstances": {**facts, "versions": {"numpy": "2.0"}},
            "threads": 2,
            "load": [0.1, 2.0],
            "seconds": 500.0,
            "network": {"model": "resnet32", "sparsity": 0.9, "made": "a given run", "accuracy": 0.7},
            "finetuning": {
                "images": 10, "test_images": 10, "sensor": "paler", "epochs": 1, "batch_size": 32, "lr": 0.02,
                "mutate_every": 2,
            },
            "rows": ROWS,
            "smallest": {"all layers trained": smallest},
        }
    )  # fmt: skip
    assert "resnet32, block scheme, 90.0% weight sparsity, a given run" in text
    assert "all layers trained: 38.3 MiB by the plan, but 40.1 MiB by the run: needs 40.1 MiB" in text
    assert text.count("\n| ") == 1 + len(ROWS)


def test_a_plan_reads_as_words() -> None:
    """What differs from the whole batch kept in memory is said, and whether the result is exact."""
    plan = {"micro_batch": 32, "recompute": "none", "batch_norm": "train", "exact": True}
    assert plan_words({"batch_size": 32, "plan": plan}) == "whole batch"
    changed = {**plan, "micro_batch": 8, "recompute": "blocks", "batch_norm": "frozen", "exact": False}
    assert plan_words({"batch_size": 32, "plan": changed}) == (
        "micro-batches of 8, blocks recomputed, batch norm frozen (not exact)"
    )
