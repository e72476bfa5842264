"""Schemes, scores, growth rules and methods of one's own: found where models are found, refused in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import mest
from mest.cli import main
from mest.errors import InputError
from mest.sparse import Phase, Schedule, make_schedule, parse_growth, parse_scheme, parse_score
from mest.sparse.accounting import peak_bytes_by_method
from mest.train.run import load_run

PARTS = '''
from dataclasses import dataclass
import torch
from mest.sparse import Growth, Phase, Schedule, Scheme, Score

class Kernel(Scheme):
    """Whole kernels, every `step`-th of which may go."""
    name = "own_kernel"
    def __init__(self, step=1):
        self.step = int(step)
    @classmethod
    def parse(cls, argument):
        return cls(argument or 1)
    def problem(self, shape, groups=1):
        return None if len(shape) == 4 else "no kernels; use scheme irregular"
    def grid(self, shape):
        return shape[:2]
    def unit_scores(self, score):
        return score.flatten(2).square().sum(2).sqrt()
    def expand(self, units, shape):
        return units[:, :, None, None].expand(shape)

class Square(Score):
    name = "own_square"
    def __call__(self, weight, gradient):
        return weight ** 2

class First(Growth):
    name = "own_first"
    def priority(self, scheme, weight, gradient, generator):
        shape = scheme.grid(tuple(weight.shape))
        return -torch.arange(shape[0] * shape[1], dtype=torch.float32).reshape(shape)

class Taken(Kernel):
    name = "irregular"

class Nameless(Kernel):
    name = ""

class Broken(Score):
    name = "own_broken"
    def __init__(self):
        raise RuntimeError("not today")
    def __call__(self, weight, gradient):
        return weight

def falling(epochs, *, update_every_epochs):
    return [Phase(0, 0.9, 0.8), Phase(max(1, epochs // 2), 0.8, 0.8)]

def whole(epochs, *, update_every_epochs):
    return Schedule("whatever", epochs, update_every_epochs)

def sour(epochs, *, update_every_epochs):
    return {}["epochs"]

PHASES = [Phase(0, 0.9, 0.8), Phase(1, 0.8, 0.8)]
UPHILL = [Phase(0, 0.7, 0.8), Phase(0, 0.9, 0.8)]
'''


@pytest.fixture(params=["file", "package"])
def parts(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module of parts in the current folder: one file, or a file in a package."""
    name = f"parts_{tmp_path.name}"
    if request.param == "package":
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
        (tmp_path / name / "inner.py").write_text(PARTS)
        name = f"{name}.inner"
    else:
        (tmp_path / f"{name}.py").write_text(PARTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", str(tmp_path))])
    return name


def test_parts_of_one_s_own_train_resume_and_are_missed_where_they_are_not(
    parts: str, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the command line, all four at once; another folder is told where it looked."""
    words = ["--data", "digits", "--epochs", "2", "--mutate-every", "1", "--device", "cpu", "--out", "run"]
    own = ["--scheme", f"{parts}:Kernel", "--score", f"{parts}:Square", "--growth", f"{parts}:First"]
    assert main(["train", *words, *own, "--method", f"{parts}:PHASES"]) == 0
    run = load_run("run")
    assert {layer["scheme"] for layer in run.layers} == {"own_kernel"}
    for mask in run.masks.values():
        kernels = mask.flatten(2)
        assert torch.equal(kernels.any(2), kernels.all(2))
        assert 0.8 <= 1 - float(mask.float().mean()) < 0.82
    assert (run.config["sparse"]["method"], run.config["sparse"]["sparsity"]) == (f"{parts}:PHASES", 0.8)
    assert main(["train", "--resume", "run"]) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place != str(tmp_path)])
    for name in [name for name in sys.modules if name.startswith(parts.partition(".")[0])]:
        monkeypatch.delitem(sys.modules, name)
    capsys.readouterr()
    assert main(["train", "--resume", str(tmp_path / "run")]) == 2
    line = capsys.readouterr().err
    assert f"no module {parts}, neither in {tmp_path / 'elsewhere'}" in line
    assert line.count("\n") == 1


def test_what_follows_a_second_colon_is_the_argument(parts: str) -> None:
    """As it is for the schemes that come with the package."""
    assert parse_scheme(f"{parts}:Kernel:3").step == 3


@pytest.mark.parametrize(
    ("parse", "attribute", "message"),
    [
        (parse_scheme, "Taken", "calls itself 'irregular', as another scheme does"),
        (parse_scheme, "Nameless", "needs a text `name`"),
        (parse_scheme, "Square", "Square is the class Square, not a mest.sparse.Scheme"),
        (parse_scheme, "Kernl", "has no 'Kernl'; it has Kernel"),
        (parse_score, "Broken", "making one failed: RuntimeError: not today"),
        (parse_score, "PHASES", "PHASES is a list, not a mest.sparse.Score"),
        (parse_growth, "Kernel", "not a mest.sparse.Growth"),
        (make_schedule, "sour", "making its schedule failed: KeyError"),
        (make_schedule, "UPHILL", "phase 0 prunes to 0.7, less than the 0.8 that it grows to; phases begin at 0, 0;"),
        (make_schedule, "Kernel", "failed: TypeError"),
        (make_schedule, "Missing", "has no 'Missing'"),
    ],
)
def test_parts_that_are_none_are_refused_in_one_line(parts: str, parse, attribute: str, message: str) -> None:
    """What was found there, and what was wanted."""
    with pytest.raises(InputError) as refused:
        parse(f"{parts}:{attribute}")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_methods_of_one_s_own_make_their_schedule(parts: str) -> None:
    """A function gets epochs and the distance of mutations; it returns phases or a schedule, called as it was asked."""
    falling = make_schedule(f"{parts}:falling", 10, update_every_epochs=2)
    assert (falling.method, [phase.from_epoch for phase in falling.bounds]) == (f"{parts}:falling", [0, 5])
    whole = make_schedule(f"{parts}:whole", 10)
    assert (whole.method, whole.mutates) == (f"{parts}:whole", False)


def test_options_act_with_methods_of_one_s_own_as_their_schedule_says(parts: str, capsys) -> None:
    """A list of phases has no bounds beside it and says where the run ends; one that never mutates takes no growth."""
    for words, message in (
        (["--method", f"{parts}:PHASES", "--lower-bound", "0.9"], "--lower-bound does nothing with --method"),
        (["--method", f"{parts}:PHASES", "--sparsity", "0.5"], "contradicts the bounds, which end at 0.8"),
        (["--method", f"{parts}:whole", "--growth", "random"], "it acts with em, ems, rigl, set"),
    ):
        assert main(["train", "--data", "digits", "--epochs", "3", *words, "--out", "new"]) == 2
        assert message in capsys.readouterr().err


def test_phases_and_schedules_are_given_to_a_loop_as_they_are() -> None:
    """A list of phases, a schedule and a function, by hand: the counts at every epoch are theirs."""
    phases = [Phase(0, 0.9, 0.5), Phase(2, 0.75, 0.75)]
    for method in (phases, make_schedule(phases, 4, update_every_epochs=1), lambda epochs, update_every_epochs: phases):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(16, 32), nn.Linear(32, 16), nn.Linear(16, 4))
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        options = {} if isinstance(method, Schedule) else {"epochs": 4, "update_every_epochs": 1}
        held = mest.sparsify(model, optimizer, scheme="irregular", sparsity=0.75, method=method, **options)
        seen = []
        for epoch in range(4):
            held.start_epoch(epoch)
            seen.append(held.sparsity)
        assert seen == [0.5, 0.5, 0.75, 0.75]
    with pytest.raises(InputError, match=r"sparsity 0.9 and bounds that end at 0.75"):
        mest.sparsify(model, optimizer, scheme="irregular", sparsity=0.9, method=phases, epochs=4)
    with pytest.raises(InputError, match="epochs"):
        mest.sparsify(model, optimizer, sparsity=0.75, epochs=0)
    with pytest.raises(InputError, match="is for 4 epochs with a mutation every 1; asked for were 9 and 1"):
        mest.sparsify(model, optimizer, sparsity=0.75, method=make_schedule(phases, 4, update_every_epochs=1), epochs=9)


def test_a_registered_method_is_known_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """One function and the decorator; a second of its name is refused."""
    monkeypatch.setattr("mest.sparse.methods.METHODS", dict(mest.sparse.METHODS))

    @mest.sparse.register_method
    def never_(epochs: int, *, update_every_epochs: int = 5) -> Schedule:
        return Schedule("never", epochs, update_every_epochs)

    @mest.sparse.register_method
    def long_only(epochs: int, *, update_every_epochs: int = 5) -> list[Phase]:
        return [Phase(0, 0.9, 0.9), Phase(epochs // 100, 0.8, 0.8)]

    assert make_schedule("never", 7).epochs == 7
    monkeypatch.setattr("mest.sparse.accounting.METHODS", mest.sparse.methods.METHODS)
    model = nn.Sequential(nn.Linear(16, 32), nn.Linear(32, 16), nn.Linear(16, 4))
    targets = mest.sparse.select_targets(model, "irregular", sparsity=0.9)
    held = peak_bytes_by_method(model, targets, 7)
    assert held["never"].total == held["static"].total
    assert "long_only" not in held
    with pytest.raises(InputError, match="method 'never' is registered already"):
        mest.sparse.register_method(never_)
