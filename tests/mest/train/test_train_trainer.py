"""The training loop: what the phases prescribe at every step, and runs that continue as if never stopped."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mest.data import open_data
from mest.errors import DamagedError, InputError
from mest.sparse.counts import kept_units
from mest.train.checkpoint import load_checkpoint
from mest.train.config import Execution
from mest.train.evaluate import evaluate_run
from mest.train.observer import Observer
from mest.train.process import Process
from mest.train.recipe import build_config
from mest.train.run import load_run
from mest.train.session import open_session
from mest.train.trainer import Outcome, Trainer, train

CPU = Process(torch.device("cpu"))


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Tensors this small are slower on several threads, and far slower beside other work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> str:
    """A tenth of the digits as an npz file: 144 training images."""
    data = open_data(build_config({}).data)
    path = tmp_path_factory.mktemp("few") / "few.npz"
    keep = np.arange(0, len(data.train), 8)
    np.savez(path, images=data.train.pixels(keep)[..., 0], labels=data.train.labels[keep])
    return f"npz:{path}"


def run(out: Path, options: dict[str, str], observer: Observer | None = None, resume: Path | None = None) -> Outcome:
    return train(build_config(options), Execution(out, "cpu", resume=resume), options, observer)


def stop_after(epochs: int) -> Observer:
    done: list[Any] = []
    return Observer(stop=lambda: len(done) >= epochs, epoch_done=done.append)


def stop_at_step(step: int) -> Observer:
    asked: list[int] = []
    return Observer(stop=lambda: asked.append(1) or len(asked) > step)  # type: ignore[func-returns-value]


def same(left: Any, right: Any) -> bool:
    """Equality of nested checkpoints, bit for bit; durations and places aside."""
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        keys = left.keys() - {"seconds"}
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in keys)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right)


@pytest.mark.parametrize("scheme", ["irregular", "block", "pattern", "channel"])
@pytest.mark.parametrize("method", ["em", "ems"])
def test_every_step_has_what_its_phase_prescribes(tmp_path: Path, few: str, scheme: str, method: str) -> None:
    """Masks count what the phase in force says, weights and momentum outside are zero, the end is at target."""
    options = {"data": few, "scheme": scheme, "method": method, "epochs": "9", "sp-mask-update-freq": "2"}
    config = build_config(options | {"batch-size": "32", "sparsity": "0.8"})
    session = open_session(config, open_data(config.data), CPU)
    sparsifier, steps = session.sparsifier, []

    def check(batches: Any, count: int, title: str) -> Iterator[Any]:
        for batch in batches:
            yield batch
            for name, target in sparsifier.targets.items():
                sparsity = sparsifier.schedule.in_force(session.epoch, target.weight_sparsity)
                mask, weight = sparsifier.masks[name], session.model.get_parameter(name)
                units = kept_units(target.scheme, tuple(mask.shape), sparsity)
                assert int(mask.sum()) == units * target.scheme.unit_weights(tuple(mask.shape))
                assert not weight[~mask].any()
                assert not session.optimizer.state[weight]["momentum_buffer"][~mask].any()
            steps.append(sparsifier.sparsity)

    Trainer(session, Execution(tmp_path / "r", "cpu"), CPU, options, Observer(watch=check)).run()
    assert len(steps) == 9 * 5
    if method == "ems" and scheme != "channel":  # few channels may round to the same count
        assert len(set(steps)) == 3
    assert sparsifier.at_target
    assert sparsifier.zeros_kept
    assert all(layer.sparsity >= 0.8 for layer in sparsifier.layers())
    loaded = load_run(tmp_path / "r", "last")
    assert all(not loaded.model.get_parameter(name)[~mask].any() for name, mask in loaded.masks.items())


VARIANTS = {
    "ems with λ": {"method": "ems", "sp-lmd": "0.5"},
    "em, adamw, mixup": {
        "method": "em",
        "optimizer": "adamw",
        "mixup": "true",
        "sp-lmd": "0.1",
        "label-smoothing": "0.1",
    },
    "best in the middle": {"method": "em", "lr": "0.3", "lr-scheduler": "constant"},
    "rigl": {"method": "rigl", "accumulate": "2"},
    "less data": {"method": "ems", "remove-n": "20-20", "remove-data-epoch": "2-4", "restore-every": "1"},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_stopping_after_any_epoch_changes_nothing(tmp_path: Path, few: str, variant: str) -> None:
    """A run stopped after each of its epochs and resumed ends bit for bit as one that ran through.

    Mutations come every second epoch, so half of the stops are just before one.
    """
    options = {"data": few, "epochs": "6", "batch-size": "48", "sp-mask-update-freq": "2", **VARIANTS[variant]}
    through = run(tmp_path / "through", options)
    outcome = run(tmp_path / "parts", options, stop_after(1))
    while outcome.stopped:
        assert outcome.summary is None
        outcome = run(tmp_path / "parts", options, stop_after(1), tmp_path / "parts" / "checkpoints" / "last.pt")
    for which in ("last", "best"):
        checkpoints = [
            load_checkpoint(tmp_path / name / "checkpoints" / f"{which}.pt") for name in ("through", "parts")
        ]
        assert same(*checkpoints), which
    assert through.summary is not None
    assert outcome.summary is not None
    assert through.summary["accuracy"] == outcome.summary["accuracy"]
    assert len((tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()) == 6
    if variant == "best in the middle":
        assert 0 < through.summary["best_epoch"] < 5


def test_a_stop_in_the_middle_of_an_epoch_keeps_the_one_before(tmp_path: Path, few: str) -> None:
    """The abandoned epoch is repeated as a whole, also when it was the first; nothing else differs."""
    options = {"data": few, "epochs": "3", "batch-size": "48", "sp-mask-update-freq": "1"}
    run(tmp_path / "through", options)
    assert run(tmp_path / "parts", options, stop_at_step(2)).epochs == 0
    last = tmp_path / "parts" / "checkpoints" / "last.pt"
    assert run(tmp_path / "parts", options, stop_at_step(6), last).epochs == 1
    assert not run(tmp_path / "parts", options, None, last).stopped
    assert same(load_checkpoint(last), load_checkpoint(tmp_path / "through" / "checkpoints" / "last.pt"))


def test_seeds_reproduce_and_workers_change_nothing(tmp_path: Path, few: str) -> None:
    """Equal seeds give equal weights with 0 and 2 workers; another seed gives others."""
    options = {"data": few, "epochs": "2"}
    runs = {}
    for name, workers, seed in (("a", 0, "3"), ("b", 2, "3"), ("c", 0, "4")):
        given = options | {"seed": seed}
        train(build_config(given), Execution(tmp_path / name, "cpu", workers=workers), given)
        runs[name] = load_checkpoint(tmp_path / name / "checkpoints" / "last.pt")
    assert same(runs["a"], runs["b"])
    assert not same(runs["a"]["model"], runs["c"]["model"])


def test_accumulation_takes_the_same_steps(tmp_path: Path, few: str, monkeypatch) -> None:
    """Without batch statistics a step in three parts equals a whole one, up to rounding, for masks too."""
    (tmp_path / "net_without_norm.py").write_text(
        "from torch import nn\n"
        "def make(num_classes):\n"
        "    layers = [nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten()]\n"
        "    return nn.Sequential(*layers, nn.Linear(128, num_classes))\n"
    )
    monkeypatch.chdir(tmp_path)
    models = []
    for parts in ("1", "3"):
        given = {"data": few, "model": "net_without_norm:make", "epochs": "2", "batch-size": "48", "accumulate": parts}
        run(tmp_path / parts, given)
        models.append(load_run(tmp_path / parts, "last").model.state_dict())
    for name, weight in models[0].items():
        assert torch.allclose(weight, models[1][name], atol=1e-4), name


def test_run_directory_holds_what_export_reads(tmp_path: Path, few: str) -> None:
    """Files, the description of every layer, preprocessing and classes; the best weights come back."""
    out = tmp_path / "r"
    outcome = run(out, {"data": few, "epochs": "3", "scheme": "block", "method": "ems", "remark": "a note"})
    description = json.loads((out / "run.json").read_text())
    assert description["schema"] == "mest-run/1"
    assert description["model"] == {"name": "digits", "classes": 10, "input": [1, 8, 8]}
    assert (description["layers"][0]["scheme"], description["layers"][0]["height"]) == ("block", 4)
    assert description["dense_layers"]["conv1.weight"] == "the first convolution"
    assert description["result"] == outcome.summary == json.loads((out / "summary.json").read_text())
    rows = list(csv.DictReader((out / "metrics.csv").open()))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    loaded = load_run(out)
    assert loaded.class_names == [str(digit) for digit in range(10)]
    assert not loaded.model.training
    assert {layer["name"]: layer["sparsity"] for layer in loaded.layers} == {
        layer["name"]: layer["sparsity"] for layer in description["layers"]
    }
    result = evaluate_run(out)  # its own test data, as its options name them
    assert evaluate_run(out, few)["images"] == evaluate_run(out, few)["samples"] == 180  # all that is given
    assert result["accuracy"] == outcome.summary["accuracy"]
    assert (result["epoch"], result["images"]) == (outcome.summary["best_epoch"], 36)
    assert evaluate_run(out, few, "last", part="train", batch_size=7)["images"] == 144


def test_best_is_chosen_among_epochs_at_target_by_validation(tmp_path: Path, few: str) -> None:
    """Under EM&S the epochs past the target's memory cannot be the best, however accurate."""
    outcome = run(tmp_path / "r", {"data": few, "epochs": "8", "method": "ems", "sp-mask-update-freq": "1"})
    records = [json.loads(line) for line in (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()]
    eligible = [record for record in records if record["at_target"]]
    assert 0 < len(eligible) < 8
    best = max(eligible, key=lambda record: (record["validation_accuracy"], -record["validation_loss"]))
    assert outcome.summary is not None
    assert outcome.summary["best_epoch"] == best["epoch"]
    assert load_checkpoint(tmp_path / "r" / "checkpoints" / "best.pt")["epoch"] == best["epoch"] + 1


def test_without_validation_images_the_last_epoch_at_target_is_the_best(tmp_path: Path, few: str) -> None:
    """The test set never chooses."""
    outcome = run(tmp_path / "r", {"data": few, "epochs": "3", "validation-fraction": "0"})
    assert outcome.summary is not None
    assert outcome.summary["best_epoch"] == 2


def test_a_loss_that_is_no_longer_finite_keeps_the_checkpoint(tmp_path: Path, few: str) -> None:
    """The refusal names the option to change; the last checkpoint is readable."""
    with pytest.raises(InputError, match=r"no longer finite in epoch \d.*another --out with a lower --lr"):
        run(tmp_path / "r", {"data": few, "epochs": "4", "lr": "1e30"})
    assert load_checkpoint(tmp_path / "r" / "checkpoints" / "last.pt")["epoch"] < 4


def test_resume_refuses_other_options_other_data_and_other_files(tmp_path: Path, few: str) -> None:
    """Nothing is trained from scratch by mistake."""
    options = {"data": few, "epochs": "2"}
    run(tmp_path / "r", options, stop_after(1))
    last = tmp_path / "r" / "checkpoints" / "last.pt"
    with pytest.raises(InputError, match=r"optimizer.lr was 0.1 and is now 0.2"):
        run(tmp_path / "r", options | {"lr": "0.2"}, None, last)
    other = tmp_path / "other.npz"
    np.savez(other, images=np.zeros((40, 8, 8), np.uint8), labels=np.arange(40) % 10)
    data_before = Path(few.removeprefix("npz:")).read_bytes()
    Path(few.removeprefix("npz:")).write_bytes(other.read_bytes())
    try:
        with pytest.raises(InputError, match="not what the run was started with"):
            run(tmp_path / "r", options, None, last)
    finally:
        Path(few.removeprefix("npz:")).write_bytes(data_before)
    with pytest.raises(InputError, match="no such checkpoint"):
        run(tmp_path / "r", options, None, tmp_path / "none.pt")
    last.write_bytes(last.read_bytes()[:-1000])
    with pytest.raises(DamagedError, match=r"last.pt"):
        run(tmp_path / "r", options, None, last)


def test_a_checkpoint_continues_elsewhere_with_or_without_the_best_beside_it(tmp_path: Path, few: str) -> None:
    """Another --out takes the best checkpoint along; where it is missing the best is chosen among what follows."""
    options = {"data": few, "epochs": "4", "lr": "0.3", "lr-scheduler": "constant"}
    run(tmp_path / "r", options, stop_after(2))
    last, best = (tmp_path / "r" / "checkpoints" / f"{which}.pt" for which in ("last", "best"))
    moved = run(tmp_path / "moved", options, None, last)
    assert moved.summary is not None
    assert load_checkpoint(tmp_path / "moved" / "checkpoints" / "best.pt")["best"] is not None
    best.unlink()
    said: list[str] = []
    alone = run(tmp_path / "alone", options, Observer(say=said.append), last)
    assert alone.summary is not None
    assert alone.summary["best_epoch"] >= 2
    assert "chosen anew" in said[0]
    with pytest.raises(InputError, match="holds a run already"):
        run(tmp_path / "moved", options, None, last)


def test_load_run_refuses_what_does_not_belong_together(tmp_path: Path, few: str) -> None:
    """No run, no checkpoint of that kind, a damaged description, another run's checkpoint."""
    run(tmp_path / "a", {"data": few, "epochs": "1"})
    run(tmp_path / "b", {"data": few, "epochs": "1", "seed": "1"})
    with pytest.raises(InputError, match="no run"):
        load_run(tmp_path)
    with pytest.raises(InputError, match="allowed are best, last"):
        load_run(tmp_path / "a", "worst")
    (tmp_path / "a" / "checkpoints" / "best.pt").write_bytes(
        (tmp_path / "b" / "checkpoints" / "best.pt").read_bytes()
    )  # fmt: skip
    with pytest.raises(DamagedError, match="belongs to another run"):
        load_run(tmp_path / "a")
    (tmp_path / "a" / "checkpoints" / "best.pt").unlink()
    with pytest.raises(InputError, match="no best checkpoint yet"):
        load_run(tmp_path / "a")
    (tmp_path / "b" / "run.json").write_text("{")
    with pytest.raises(DamagedError, match=r"run.json: not readable"):
        load_run(tmp_path / "b")


def test_less_data_means_fewer_steps_and_a_ranking_can_be_written(tmp_path: Path, few: str) -> None:
    """Removed samples are not presented; the ranking written at the end drives another run from the start."""
    options = {"data": few, "epochs": "3", "remove-n": "64", "remove-data-epoch": "1", "validation-fraction": "0"}
    ranking = tmp_path / "ranking.npz"
    given = options | {"write-ranking": str(ranking)}
    config = build_config(given)
    outcome = train(config, Execution(tmp_path / "a", "cpu", write_ranking=ranking), given)
    assert outcome.summary is not None
    assert outcome.summary["samples"]["trained_presentations"] == 144 + 80 + 80
    again = {"data": few, "epochs": "1", "remove-n": "0.5", "sorting-file": str(ranking), "validation-fraction": "0"}
    summary = run(tmp_path / "b", again).summary
    assert summary is not None
    assert summary["samples"]["active"] == 72


def test_mixed_precision_trains_on_a_cpu(tmp_path: Path, few: str) -> None:
    """bfloat16 changes the arithmetic, not the zeros."""
    outcome = run(tmp_path / "r", {"data": few, "epochs": "2", "amp": "true"})
    loaded = load_run(tmp_path / "r")
    assert outcome.epochs == 2
    assert all(not loaded.model.get_parameter(name)[~mask].any() for name, mask in loaded.masks.items())


@pytest.mark.parametrize("method", ["static", "set", "rigl", "dense"])
def test_baselines_run_by_the_same_code(tmp_path: Path, few: str, method: str) -> None:
    """One option chooses the method; dense has no sparse layers."""
    summary = run(tmp_path / "r", {"data": few, "epochs": "2", "method": method}).summary
    assert summary is not None
    assert summary["sparsity"] == (0.0 if method == "dense" else pytest.approx(0.9, abs=0.002))
    assert len(load_run(tmp_path / "r").layers) == (0 if method == "dense" else 6)


def test_evaluation_takes_any_size_and_refuses_other_classes(tmp_path: Path, few: str) -> None:
    """Images of another size are prepared as the run's own; classes are named, some of the run's are enough."""
    run(tmp_path / "r", {"data": few, "epochs": "1"})
    images, labels = np.zeros((20, 9, 12), np.uint8), np.arange(20) % 3
    np.savez(tmp_path / "size.npz", images=images, labels=labels)
    np.savez(tmp_path / "classes.npz", images=images, labels=labels, class_names=["2", "1", "cat"])
    assert evaluate_run(tmp_path / "r", f"npz:{tmp_path / 'size.npz'}")["images"] == 20
    with pytest.raises(InputError, match="class 'cat' is not one of the run's 10 classes"):
        evaluate_run(tmp_path / "r", f"npz:{tmp_path / 'classes.npz'}")
    with pytest.raises(InputError, match="allowed are test and train"):
        evaluate_run(tmp_path / "r", few, part="validation")


ODD_MODEL = """
from torch import nn
from torch.nn import functional


class Odd(nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.first, self.second = nn.Conv2d(in_channels, 8, 3), nn.Conv2d(8, 8, 3)
        self.spare = nn.Conv2d(8, 8, 3)
        self.auxiliary, self.fc = nn.Linear(8, num_classes), nn.Linear(8, num_classes)

    def forward(self, x):
        x = functional.relu(self.first(x))
        logits = self.fc(functional.relu(self.second(x)).mean((2, 3)))
        return (logits, self.auxiliary(x.mean((2, 3)))) if self.training else logits
"""


def test_auxiliary_logits_are_trained_and_unread_layers_stay_dense(tmp_path: Path, few: str, monkeypatch) -> None:
    """The auxiliary classifier moves by its own loss; what evaluation never uses is said and never sparse."""
    (tmp_path / "odd_network.py").write_text(ODD_MODEL)
    monkeypatch.chdir(tmp_path)
    options = {"model": "odd_network:Odd", "data": few, "epochs": "1", "scheme": "irregular", "sparsity": "0.5"}
    options |= {"method": "static", "validation-fraction": "0.2"}
    said: list[str] = []
    run(tmp_path / "run", options, Observer(say=said.append))
    loaded = load_run(tmp_path / "run")
    assert set(loaded.masks) == {"second.weight"}
    fresh = open_session(build_config(options), open_data(build_config(options).data), CPU).model
    assert not torch.equal(fresh.auxiliary.weight, loaded.model.auxiliary.weight)
    assert said[0] == (
        "evaluation never uses auxiliary.bias, auxiliary.weight, spare.bias, spare.weight: "
        "never sparse, and not exported"
    )
