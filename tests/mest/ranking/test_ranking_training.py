"""Rankings and removal through the trainer, on the packaged digits."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.amp.grad_scaler import GradScaler

from mest.data import DataSpec, open_data
from mest.errors import DamagedError, InputError
from mest.ranking.ranking import check_ranking, rank, read_ranking, write_ranking
from mest.train import epoch
from mest.train.observer import Observer
from mest.train.recipe import build_config, build_execution
from mest.train.trainer import train

ROOT = Path(__file__).resolve().parents[3]
SHORT = {"model": "digits", "data": "digits", "epochs": "3", "batch-size": "256", "sp-mask-update-freq": "1"}


def run(out: Path, resume: Path | None = None, **options: str) -> dict[str, Any]:
    """The summary of a short run with these options (dashes written as underscores)."""
    given = SHORT | {name.replace("_", "-"): text for name, text in options.items()}
    summary = train(build_config(given), build_execution(given | {"threads": "1"}, out, resume), given).summary
    assert summary is not None
    return summary


def samples_by_epoch(out: Path) -> list[int]:
    return [json.loads(line)["samples"] for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("mixup", ["false", "true"])
def test_rankings_are_the_same_with_no_and_four_workers(tmp_path: Path, mixup: str) -> None:
    """One seed, one ranking, bit for bit, whoever loads the images; another seed gives another."""
    orders = []
    for name, workers, seed in (("none", "0", "1"), ("four", "4", "1"), ("other", "0", "2")):
        path = tmp_path / f"{name}.npz"
        run(tmp_path / name, workers=workers, seed=seed, mixup=mixup, write_ranking=str(path))
        orders.append(read_ranking(path))
    assert orders[0].indices.tolist() == orders[1].indices.tolist()
    assert orders[0].counts.tolist() == orders[1].counts.tolist()
    assert orders[0].indices.tolist() != orders[2].indices.tolist()
    assert 0 < orders[0].counts.max() <= 3


def test_mixed_images_are_judged_by_the_weights_that_were_trained_with(tmp_path: Path, monkeypatch) -> None:
    """The look at the unmixed images comes before the update, as the outputs of an unmixed step do."""
    events: list[str] = []

    def judging(*given: Any) -> Any:
        events.append("judged")
        return look_again(*given)

    def stepping(self: GradScaler, *given: Any, **named: Any) -> Any:
        events.append("updated")
        return step(self, *given, **named)

    look_again, step = epoch.look_again, GradScaler.step
    monkeypatch.setattr(epoch, "look_again", judging)
    monkeypatch.setattr(GradScaler, "step", stepping)
    run(tmp_path / "run", mixup="true", epochs="1", write_ranking=str(tmp_path / "ranking.npz"))
    assert len(events) > 2
    assert events == ["judged", "updated"] * (len(events) // 2)


def test_a_written_ranking_names_its_data_and_is_refused_for_other(tmp_path: Path) -> None:
    """The provenance says data, seed and command; the same file serves its data and no other."""
    path = tmp_path / "ranking.pkl"
    run(tmp_path / "run", write_ranking=str(path), seed="5", remark="it's five words, by hand")
    made_from = read_ranking(path).provenance
    assert made_from is not None
    assert (made_from.dataset, made_from.seed, made_from.epochs, made_from.model) == ("digits", 5, 3, "digits")
    words = shlex.split(made_from.command)
    assert words[:2] == ["mest", "train"]
    assert {f"--write-ranking={path}", "--remark=it's five words, by hand"} <= set(words)
    assert 0 < made_from.unseen < made_from.samples  # the validation images
    run(tmp_path / "again", sorting_file=str(path), remove_n="100")
    images = np.random.default_rng(0).integers(0, 255, (made_from.samples * 5 // 4, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "other.npz", images=images, labels=np.arange(len(images)) % 10)
    with pytest.raises(InputError, match="a ranking of "):
        run(tmp_path / "other", data=f"npz:{tmp_path / 'other.npz'}", sorting_file=str(path), remove_n="100")


def test_a_ranking_without_provenance_needs_a_word(tmp_path: Path) -> None:
    """Not being cifar10, the digits take a bare ranking only on explicit request, and only of their length."""
    path = tmp_path / "bare.pkl"
    write_ranking(path, rank(np.arange(len(open_data(DataSpec("digits")).train))))
    given = {"sorting_file": str(path), "remove_n": "1000", "epochs": "1"}
    with pytest.raises(DamagedError, match="add unchecked"):
        run(tmp_path / "run", **given)
    run(tmp_path / "run", ranking_unchecked="true", **given)


@pytest.mark.parametrize("method", ["dense", "static", "em", "ems", "set", "rigl"])
def test_removal_saves_steps_with_every_method(tmp_path: Path, method: str) -> None:
    """From its epoch on, a run trains on fewer samples, and its summary says what that saved."""
    extra = {} if method in ("dense", "static") else {"sp_mask_update_freq": "1"}
    given = {key: text for key, text in SHORT.items() if key != "sp-mask-update-freq"} | {"method": method}
    given |= {key.replace("_", "-"): text for key, text in extra.items()}
    given |= {"remove-n": "0.5", "remove-data-epoch": "2"}
    summary = train(build_config(given), build_execution(given | {"threads": "1"}, tmp_path / "run", None)).summary
    assert summary is not None
    first, second, third = samples_by_epoch(tmp_path / "run")
    assert first == second == 2 * third or first == second == 2 * third - 1


def test_a_resumed_run_removes_the_same_samples_and_writes_the_same_ranking(tmp_path: Path) -> None:
    """Stopped between the statistics and the removal, the rest of the run and its ranking are those of a whole run."""
    given = {"remove_n": "0.3-0.2", "remove_data_epoch": "1-2", "restore_every": "1"}
    whole, rest = tmp_path / "whole.npz", tmp_path / "rest.npz"
    run(tmp_path / "whole", write_ranking=str(whole), **given)
    options = SHORT | {name.replace("_", "-"): text for name, text in given.items()} | {"write-ranking": str(rest)}
    execution = build_execution(options | {"threads": "1"}, tmp_path / "rest", None)
    epochs: list[Any] = []
    observer = Observer(stop=lambda: len(epochs) == 1, epoch_done=epochs.append)
    assert train(build_config(options), execution, options, observer).stopped
    run(tmp_path / "rest", tmp_path / "rest" / "checkpoints" / "last.pt", write_ranking=str(rest), **given)
    assert samples_by_epoch(tmp_path / "rest") == samples_by_epoch(tmp_path / "whole")
    assert read_ranking(rest).indices.tolist() == read_ranking(whole).indices.tolist()
    assert read_ranking(rest).counts.tolist() == read_ranking(whole).counts.tolist()


def test_a_resumed_run_wants_the_same_order_wherever_the_file_lies(tmp_path: Path) -> None:
    """Another ranking under the same name is refused, the same one under another name is taken."""
    first, moved = tmp_path / "first.npz", tmp_path / "moved.npz"
    counts = np.random.default_rng(0).permutation(len(open_data(DataSpec("digits")).train))
    write_ranking(first, rank(counts))
    given = {"remove_n": "0.3-0.3", "remove_data_epoch": "0-2", "ranking_unchecked": "true"}
    options = SHORT | {name.replace("_", "-"): text for name, text in given.items()} | {"sorting-file": str(first)}
    epochs: list[Any] = []
    observer = Observer(stop=lambda: len(epochs) == 1, epoch_done=epochs.append)
    execution = build_execution(options | {"threads": "1"}, tmp_path / "run", None)
    assert train(build_config(options), execution, options, observer).stopped
    last = tmp_path / "run" / "checkpoints" / "last.pt"
    first.rename(moved)
    write_ranking(first, rank(counts[::-1].copy()))
    with pytest.raises(InputError, match="the --sorting-file is not what the run was started with"):
        run(tmp_path / "run", last, sorting_file=str(first), **given)
    run(tmp_path / "run", last, sorting_file=str(moved), **given)
    assert samples_by_epoch(tmp_path / "run")[0] > samples_by_epoch(tmp_path / "run")[2]


def test_metrics_and_summary_say_what_went_and_came_back(tmp_path: Path) -> None:
    """Removed and restored samples of each epoch; under mixup the looks count against what was saved."""
    given = {"remove_n": "0.5", "remove_data_epoch": "1", "restore_every": "1", "epochs": "4", "mixup": "true"}
    summary = run(tmp_path / "run", **given)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    whole = lines[0]["samples"]
    assert lines[1]["samples_removed"] == whole - lines[1]["samples"] > 0
    restored = [line["samples_restored"] for line in lines]
    assert restored[:2] == [0, 0]
    assert [line["samples"] for line in lines[2:]] == [lines[1]["samples"] + sum(restored[: k + 1]) for k in (2, 3)]
    looks = sum(whole - lines[k]["samples"] for k in (1, 2))
    assert summary["samples"]["evaluated"] == whole + looks  # the mixed epoch before the round, then the removed


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"remove_n": "5", "keep_lowest_n": "-1", "remove_data_epoch": "0", "write_ranking": "r.npz"}, "know nothing"),
        ({"remove_n": "0.9995", "remove_data_epoch": "1"}, "leaves 1 to train on; 2 must stay"),
        ({"write_ranking": "r.npz", "epochs": "65536"}, "over at most 65535 epochs"),
    ],
)
def test_what_cannot_be_counted_or_trained_on_is_refused_at_once(
    tmp_path: Path, given: dict[str, str], message: str
) -> None:
    """Nothing is written before the refusal."""
    with pytest.raises(InputError, match=message):
        run(tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


def test_a_ranking_has_a_place_before_the_first_epoch(tmp_path: Path) -> None:
    """A folder under the ranking's name is found before anything is trained."""
    (tmp_path / "r.npz").mkdir()
    with pytest.raises(InputError, match=r"r\.npz: is a folder"):
        run(tmp_path / "run", write_ranking=str(tmp_path / "r.npz"))
    assert (tmp_path / "run" / "metrics.jsonl").exists() is False


def test_unmixed_images_are_judged_in_the_parts_and_precision_of_the_step(tmp_path: Path, monkeypatch) -> None:
    """`--accumulate` bounds their memory too, and `--amp` makes them as cheap."""
    seen: list[tuple[int, bool]] = []

    def judging(model: Any, images: Any, labels: Any) -> Any:
        seen.append((len(images), torch.is_autocast_enabled("cpu")))
        return look_again(model, images, labels)

    look_again = epoch.look_again
    monkeypatch.setattr(epoch, "look_again", judging)
    path = str(tmp_path / "r.npz")
    run(tmp_path / "run", mixup="true", epochs="1", accumulate="4", amp="true", write_ranking=path)
    assert {size for size, _ in seen[:4]} == {64}
    assert all(mixed_precision for _, mixed_precision in seen)


@pytest.mark.parametrize("path", sorted((ROOT / "pkl").glob("*.[np][pk][zl]")), ids=lambda path: path.name)
def test_a_ranking_in_pkl_says_what_made_it(path: Path) -> None:
    """Each reads, has a command that names it, and where its data is at hand is taken for it; both forms agree."""
    ranking = read_ranking(path)
    made_from = ranking.provenance
    assert made_from is not None
    assert f"--write-ranking pkl/{path.stem}.npz" in made_from.command
    assert f"--seed {made_from.seed}" in made_from.command
    other = read_ranking(path.with_suffix(".pkl" if path.suffix == ".npz" else ".npz"))
    assert other.provenance == made_from
    assert np.array_equal(other.indices, ranking.indices)
    assert np.array_equal(other.counts, ranking.counts)
    if made_from.dataset == "digits":
        data = open_data(DataSpec("digits"))
        check_ranking(ranking, "digits", len(data.train), data.checksum)
