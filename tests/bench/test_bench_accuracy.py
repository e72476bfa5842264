"""The accuracy bench's grid, records and report, on records written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.accuracy_grid import PRESETS, Cell, grid, train_options
from bench.accuracy_records import Records
from bench.accuracy_report import accuracy_table, markdown, orderings, picture, removal_table, summary, verdict
from mest.train.recipe import build_config

FACTS = {"machine": "a processor", "cores": 2, "versions": {"torch": "2.6"}}


def record(cell: Cell, accuracy: float, steps: int = 100, seconds: float = 10.0) -> dict[str, Any]:
    """What a run of `cell` would have left, as the bench reads it back."""
    options = {"epochs": "3", "seed": str(cell.seed)}
    result = {"accuracy": accuracy, "steps": steps, "cpu_seconds": seconds, "device": "cpu"}
    return {"cell": cell.name, **vars(cell), "options": options, **result, "circumstances": FACTS}


RECORDS = [
    *(record(Cell("dense", "", 0.0, seed), 0.98) for seed in (0, 1)),
    *(record(Cell("static", "irregular", 0.9, seed), 0.90 + seed / 100) for seed in (0, 1)),
    *(record(Cell("em", "irregular", 0.9, seed), 0.94 + seed / 100) for seed in (0, 1)),
    *(record(Cell("ems", "irregular", 0.9, seed), 0.92 + seed / 100) for seed in (0, 1)),
    record(Cell("em", "channel", 0.9, 0), 0.90),
    record(Cell("ems", "irregular", 0.9, 0, 0.2), 0.91, steps=88, seconds=9.0),
    record(Cell("ems", "irregular", 0.9, 1, 0.2), 0.93, steps=88, seconds=9.0),
]


@pytest.mark.parametrize("name", PRESETS)
def test_every_cell_is_a_run_that_the_trainer_accepts(name: str) -> None:
    """The options of every cell, removal included, parse; names are all different."""
    preset = PRESETS[name]
    cells = grid(preset, preset.methods, preset.schemes, preset.sparsities, preset.seeds, [0.2])
    for cell in cells:
        assert build_config(train_options(preset, cell, "imagefolder:images")).seed == cell.seed
    assert len({cell.name for cell in cells}) == len(cells)


def test_the_least_grid_has_the_runs_it_should() -> None:
    """Dense once for each seed, the others for each scheme; removal adds the least forgotten and a random control."""
    cells = grid(PRESETS["digits"], ["dense", "em"], ["irregular", "block"], [0.9], [0, 1], [0.2])
    assert [cell.name for cell in cells if cell.seed == 0] == [
        "dense-seed0",
        "em-irregular-0.9-seed0",
        "em-block-0.9-seed0",
        "ems-irregular-0.9-seed0",
        "ems-irregular-0.9-less0.2-seed0",
        "ems-irregular-0.9-less0.2random-seed0",
    ]
    assert len(cells) == 12


def test_records_survive_a_cut_line_and_a_claim_is_exclusive(tmp_path: Path) -> None:
    """A half-written last line is left out, and a second process does not get a cell that is being run."""
    records = Records(tmp_path / "records", tmp_path / "work")
    cell = Cell("em", "block", 0.9, 0)
    records.append(cell, {"epochs": "3"}, {"accuracy": 0.5}, FACTS)
    with open(records.file, "a") as file:
        file.write('{"cell": "dense-seed0", "accu')
    assert list(records.read()) == [cell.name]
    records.append(Cell("em", "block", 0.9, 1), {"epochs": "3"}, {"accuracy": 0.6}, FACTS)
    assert list(records.read()) == ["em-block-0.9-seed0", "em-block-0.9-seed1"]
    with records.claim(cell) as first, Records(tmp_path / "records", tmp_path / "work").claim(cell) as second:
        assert (first, second) == (True, False)
    with records.claim(cell) as again:
        assert again


def test_the_tables_say_what_a_person_computes() -> None:
    """Means and spreads by hand, orderings that hold, do not or are open, and the effect of removal."""
    assert summary([1.0, 3.0]) == "2.00 ± 1.41 (2)"
    assert summary([1.0]) == "1.00 (1)"
    table = accuracy_table(RECORDS)
    assert table[0] == "| scheme | sparsity | dense | static | MEST+EM | MEST+EM&S |"
    assert table[2] == "| | 0 | 98.00 ± 0.00 (2) |  |  |  |"
    assert table[3] == "| irregular | 90 % |  | 90.50 ± 0.71 (2) | 94.50 ± 0.71 (2) | 92.50 ± 0.71 (2) |"
    assert table[4] == "| channel | 90 % |  |  | 90.00 (1) |  |"
    assert orderings(RECORDS) == [
        "- irregular, 90 %: MEST+EM&S ≥ MEST+EM does not hold (-2.00 ± 0.71); MEST+EM ≥ static holds (+4.00 ± 0.71)",
        "- MEST+EM, 90 %: irregular ≥ channel is open (+4.50, one seed)",
    ]
    assert verdict([1.0, 3.0], [0.0, 2.0]) == "is open (+1.00 ± 1.41)"
    assert verdict([1.0, 1.0], [1.0, 1.0]) == "is open (+0.00 ± 0.00)"
    assert removal_table(RECORDS)[2] == (
        "| 20 %, the least forgotten | 92.00 ± 1.41 (2) | -0.50 ± 0.71 (2) | 12.0 ± 0.0 (2) | 10.0 ± 0.0 (2) |"
    )


def test_the_report_states_its_settings(tmp_path: Path) -> None:
    """Shared options and the machine stand above the table, seeds do not; the picture is a PNG."""
    text = markdown(RECORDS, "a short schedule")
    assert "Setting: a short schedule." in text
    assert "`--epochs 3`" in text
    assert "--seed" not in text
    assert "cpu, a processor, 2 cores, torch 2.6" in text
    pytest.importorskip("matplotlib", reason="the picture needs matplotlib")
    picture(RECORDS, tmp_path / "accuracy.png", "a short schedule")
    assert (tmp_path / "accuracy.png").read_bytes().startswith(b"\x89PNG")
