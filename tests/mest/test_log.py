"""What viewers are told of a run: TensorBoard's files read back by its own reader, wandb's calls as they came."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from mest.cli import main
from mest.errors import InputError
from mest.log import LogSpec, open_log, parse_log
from mest.train.config import Execution
from mest.train.observer import Observer
from mest.train.recipe import build_config, build_execution
from mest.train.trainer import train

RUN = {"model": "digits", "data": "digits", "method": "ems", "epochs": "3", "mutate-every": "2"}
OPTIONS = {**{key: value for key, value in RUN.items() if key != "mutate-every"}, "sp-mask-update-freq": "2"}


@pytest.fixture(autouse=True)
def _one_thread():
    """Tensors this small are slower on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Wandb(ModuleType):
    """Stands for wandb: `init` and what a run is told, in order; it takes only what the real ones take."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.inits: list[dict[str, Any]] = []
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.finished = 0
        self.refuses: str | None = None

    def init(self, *, project: str, name: str, dir: str, config: dict, settings: dict, id: str = "", resume: str = ""):
        if self.refuses:
            raise RuntimeError(self.refuses)
        self.inits.append({"project": project, "name": name, "dir": dir, "config": config, "id": id, "resume": resume})
        return SimpleNamespace(id=id or "given-by-wandb", log=self._log, finish=self._finish)

    def _log(self, data: dict[str, float], step: int) -> None:
        self.logged.append((step, data))

    def _finish(self) -> None:
        self.finished += 1


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Wandb:
    """A wandb that only remembers."""
    module = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", module)
    for name in ("WANDB_PROJECT", "WANDB_NAME", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    return module


def points(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of every curve, as TensorBoard itself reads them."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = reader.EventAccumulator(str(folder))
    found.Reload()
    return {name: [(one.step, one.value) for one in found.Scalars(name)] for name in found.Tags()["scalars"]}


def trained(out: Path, log: str, stop_after: int | None = None, resume: bool = False) -> None:
    done: list[Any] = []
    options = {**OPTIONS, "log": log}
    checkpoint = out / "checkpoints" / "last.pt" if resume else None
    execution = build_execution({**options, "device": "cpu"}, out, checkpoint)
    stop = (lambda: False) if stop_after is None else (lambda: len(done) >= stop_after)
    train(build_config(options), execution, options, Observer(stop=stop, epoch_done=done.append))


def written(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_tensorboard_reads_what_the_run_measured(tmp_path: Path) -> None:
    """Loss, accuracy, rate, sparsity of every layer, memory and mutations, equal to the run's own files."""
    pytest.importorskip("tensorboard")
    out = tmp_path / "run"
    trained(out, "tensorboard")
    found, metrics = points(out / "tensorboard"), written(out)
    for name, key in {
        "loss/train": "train_loss",
        "loss/validation": "validation_loss",
        "accuracy/train": "train_accuracy",
        "accuracy/validation": "validation_accuracy",
        "learning_rate": "lr",
        "sparsity": "weight_sparsity",
    }.items():
        assert found[name] == [(row["epoch"], pytest.approx(row[key], rel=1e-6)) for row in metrics], name
    layers = json.loads((out / "run.json").read_text())["layers"]
    for layer in layers:
        of_layer = [value for _, value in found[f"sparsity/{layer['name']}"]]
        assert len(of_layer) == 3
        assert min(of_layer) < layer["target_sparsity"]  # EM&S is denser until it ends
    moved = [(row["epoch"], row["grown"]) for row in metrics if row["grown"]]
    assert moved
    assert [(step, value) for step, value in found["mutation/grown"] if value] == moved
    assert {step for step, _ in found[f"churn/{layers[0]['name']}"]} == {step for step, _ in found["mutation/churn"]}
    summary = json.loads((out / "summary.json").read_text())
    assert found["accuracy/test"] == [(3, pytest.approx(summary["accuracy"]))]
    assert found["memory/planned_peak_bytes"] == [(3, summary["peak_bytes"]["ems"])]
    if Path("/proc/self/status").is_file():
        resident, peak = (dict(found[f"memory/{name}_bytes"]) for name in ("resident", "peak_resident"))
        assert all(1e7 < resident[epoch] <= peak[epoch] for epoch in range(3))


def test_a_run_that_goes_on_says_no_epoch_twice(tmp_path: Path) -> None:
    """What a killed run had said of epochs that were not saved is replaced; the curves are those of one run."""
    pytest.importorskip("tensorboard")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    trained(whole, f"tensorboard:{tmp_path / 'a'}")
    trained(parts, f"tensorboard:{tmp_path / 'b'}", stop_after=1)
    lost = open_log(parse_log(f"tensorboard:{tmp_path / 'b'}"), parts, {})
    lost.scalars(1, {"loss/train": 1e9})
    lost.close()
    assert points(tmp_path / "b")["loss/train"][-1] == (1, 1e9)
    trained(parts, f"tensorboard:{tmp_path / 'b'}", resume=True)
    one, other = points(tmp_path / "a"), points(tmp_path / "b")
    assert [step for step, _ in other["loss/train"]] == [0, 1, 2]
    same = [name for name in one if not name.startswith("memory/")]
    assert {name: other[name] for name in same} == {name: one[name] for name in same}
    assert not (parts / "tensorboard").exists()


def test_wandb_is_told_the_same(tmp_path: Path, wandb: Wandb, monkeypatch: pytest.MonkeyPatch) -> None:
    """One run with the options as its config, a call an epoch, then the result; its own variables hold."""
    trained(tmp_path / "run", "wandb")
    (init,) = wandb.inits
    assert (init["project"], init["name"], init["dir"]) == ("mest", "run", str(tmp_path / "run"))
    assert init["config"] == {**OPTIONS, "log": "wandb"}
    assert [step for step, _ in wandb.logged] == [0, 1, 2, 3]
    assert wandb.finished == 1
    for row, (_, told) in zip(written(tmp_path / "run"), wandb.logged[:3], strict=True):
        assert (told["loss/train"], told["learning_rate"]) == (row["train_loss"], row["lr"])
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    open_log(parse_log("wandb"), tmp_path / "other", {})
    open_log(parse_log("wandb:ours"), tmp_path / "third", {})
    assert [(init["project"], init["dir"]) for init in wandb.inits[1:]] == [
        ("theirs", str(tmp_path)),
        ("ours", str(tmp_path)),
    ]


def test_wandb_goes_on_with_the_same_run(tmp_path: Path, wandb: Wandb) -> None:
    """A resumed run is the same run there, and a stopped one is finished too."""
    trained(tmp_path / "run", "wandb", stop_after=2)
    assert wandb.finished == 1
    trained(tmp_path / "run", "wandb", resume=True)
    assert [(init["id"], init["resume"]) for init in wandb.inits] == [("", ""), ("given-by-wandb", "allow")]
    assert [step for step, _ in wandb.logged] == [0, 1, 2, 3]
    (tmp_path / "run" / "wandb.json").write_text("[]")
    with pytest.raises(InputError, match=r"wandb\.json: does not say the id"):
        open_log(parse_log("wandb"), tmp_path / "run", {})


def refused(capsys, *words: str) -> str:
    """The one line with which a run is refused."""
    assert main(["train", "--device", "cpu", *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


def test_an_unknown_log_is_refused_before_anything_is_written(tmp_path: Path, capsys) -> None:
    """With what is allowed; an empty folder behind the colon is a slip as well."""
    for given in ("tensorbord", "tensorboard:", "wandb:", "none:here"):
        line = refused(capsys, "--log", given, "--out", str(tmp_path / "run"))
        assert f"--log {given}: allowed are none, tensorboard[:DIR], wandb[:PROJECT]" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("name", "extra"), [("tensorboard", "log"), ("wandb", "wandb")])
def test_a_missing_package_is_said_before_training(tmp_path: Path, capsys, monkeypatch, name: str, extra: str) -> None:
    """And how it is installed."""
    for module in [module for module in sys.modules if module.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    line = refused(capsys, "--log", name, "--out", str(tmp_path / "run"))
    assert f"--log {name}: needs the package {name}" in line
    assert "pip install" in line
    assert f"[{extra}]" in line
    assert not (tmp_path / "run").exists()


def test_a_login_that_is_missing_is_said_before_training(tmp_path: Path, wandb: Wandb, capsys) -> None:
    """Whatever the library raises is one line, and no run is there that would have to be resumed."""
    wandb.refuses = "api_key not configured (no-tty)\ncall wandb.login"
    line = refused(capsys, "--log", "wandb", "--out", str(tmp_path / "run"))
    assert "--log wandb: cannot be opened (api_key not configured (no-tty)); mend that, or leave it out" in line
    assert not (tmp_path / "run" / "run.json").exists()
    wandb.refuses = None
    assert (
        main(["train", "--device", "cpu", "--epochs", "1", "--log", "wandb", "--out", str(tmp_path / "run"), "-q"]) == 0
    )


def test_no_log_is_the_default_and_is_not_inherited(tmp_path: Path, wandb: Wandb) -> None:
    """Off unless asked for; `none` turns off what a recipe or a resumed run asks for."""
    assert build_execution({}, tmp_path, None).log == LogSpec() == Execution(tmp_path).log == parse_log("none")
    out, new = tmp_path / "run", tmp_path / "new"
    trained(out, "wandb", stop_after=1)
    words = ["train", "--device", "cpu", "-q"]
    assert main([*words, "--resume", "--out", str(out), "--log", "none"]) == 0
    assert main([*words, "--from", str(out), "--epochs", "1", "--out", str(new)]) == 0
    assert len(wandb.inits) == 1
    assert not (new / "wandb.json").exists()
