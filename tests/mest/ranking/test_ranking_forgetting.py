"""Forgetting counts against a list-keeping oracle, in one process and in several."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from mest.errors import DamagedError
from mest.ranking.forgetting import ForgettingTracker
from mest.ranking.presentations import EpochLog, look_again
from mest.ranking.ranking import rank


class ListKeepingOracle:
    """The cited study's way: the whole history of every sample, evaluated at the end."""

    def __init__(self, samples: int) -> None:
        self.history: list[list[int]] = [[] for _ in range(samples)]

    def update(self, indices: np.ndarray, correct: np.ndarray) -> None:
        for index, right in zip(indices.tolist(), correct.tolist(), strict=True):
            self.history[index].append(int(right))

    def counts(self) -> list[int]:
        most = max(len(outcomes) for outcomes in self.history)
        counts = []
        for outcomes in self.history:
            forgotten = sum(1 for before, after in pairwise(outcomes) if before > after)
            counts.append(forgotten if 1 in outcomes else most)
        return counts


def test_eight_histories_by_eye() -> None:
    """Each way a sample can go counts what a person counts."""
    histories = ["1111", "0000", "1010", "0110", "1000", "0001", "0101", "1011"]
    tracker = ForgettingTracker(8)
    for step in range(4):
        tracker.update(np.arange(8), [history[step] == "1" for history in histories])
    assert tracker.counts().tolist() == [0, 4, 2, 1, 1, 0, 1, 1]
    order = rank(tracker.counts()).indices.tolist()
    assert [set(order[:2]), set(order[2:6]), order[6:]] == [{0, 5}, {3, 4, 6, 7}, [2, 1]]


@pytest.mark.parametrize("seed", range(12))
def test_counts_equal_the_oracle_on_random_sequences(seed: int) -> None:
    """Any order, any batch size, repeated and missing samples: the counts are those of the full history."""
    generator = np.random.default_rng(seed)
    samples = int(generator.integers(1, 70))
    tracker, oracle = ForgettingTracker(samples), ListKeepingOracle(samples)
    skill = generator.random(samples)
    for _ in range(int(generator.integers(1, 120))):
        indices = generator.integers(0, samples, int(generator.integers(0, 40)))
        correct = generator.random(indices.size) < skill[indices]
        tracker.update(indices, correct)
        oracle.update(indices, correct)
        assert tracker.counts().tolist() == oracle.counts()
    assert tracker.presentations().tolist() == [len(outcomes) for outcomes in oracle.history]


def test_never_learned_samples_rank_hardest() -> None:
    """A sample that is always wrong, or never seen, counts more than the most forgotten one."""
    tracker = ForgettingTracker(4)
    for epoch in range(9):
        tracker.update([0, 1, 2], [True, epoch % 2 == 0, False])
    assert tracker.counts().tolist() == [0, 4, 9, 9]


def test_memory_is_constant_per_sample() -> None:
    """A million presentations later the tracker holds the same 4.25 bytes for each sample."""
    tracker = ForgettingTracker(1000)
    for _ in range(1000):
        tracker.update(np.arange(1000), np.ones(1000, bool))
    held = sum(value.nbytes for value in vars(tracker).values() if isinstance(value, np.ndarray))
    assert held == 4250
    assert not any(isinstance(value, (list, dict)) for value in vars(tracker).values())


def test_state_continues_exactly_after_a_safe_load() -> None:
    """Saved and loaded with weights only, the statistics go on as if nothing had happened."""
    generator = np.random.default_rng(5)
    whole, first = ForgettingTracker(37), ForgettingTracker(37)
    presentations = [(generator.permutation(37), generator.random(37) < 0.6) for _ in range(20)]
    for indices, correct in presentations[:11]:
        whole.update(indices, correct)
        first.update(indices, correct)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = ForgettingTracker(37)
    second.load_state_dict(torch.load(file, weights_only=True))  # noqa: TID251 - what a checkpoint does with it
    for indices, correct in presentations[11:]:
        whole.update(indices, correct)
        second.update(indices, correct)
    assert second.counts().tolist() == whole.counts().tolist()


def test_refusals_count_nothing() -> None:
    """Indices outside the data, arrays of two lengths, another size of state and a full counter are refused."""
    tracker = ForgettingTracker(3)
    with pytest.raises(ValueError, match="0 to 3 with 3 samples"):
        tracker.update([0, 3], [True, True])
    with pytest.raises(ValueError, match="2 indices with 1 outcomes"):
        tracker.update([0, 1], [True])
    assert tracker.presentations().tolist() == [0, 0, 0]
    with pytest.raises(DamagedError, match="of 4 samples, but the data has 3"):
        tracker.load_state_dict(ForgettingTracker(4).state_dict())
    tracker._presented[1] = 65535
    with pytest.raises(ValueError, match="more than 65535 presentations"):
        tracker.update([1], [True])


def test_an_epoch_log_returns_what_was_recorded_once() -> None:
    """Presentations come back in the order of the steps, also beyond the capacity, and only once."""
    log = EpochLog(capacity=2)
    log.record(torch.tensor([3, 1]), torch.tensor([True, False]))
    log.record(torch.tensor([4_000_000_000, 0, 3]), torch.tensor([True, False, False]))
    indices, correct = log.gather()
    assert indices.tolist() == [3, 1, 4_000_000_000, 0, 3]
    assert correct.tolist() == [True, False, True, False, False]
    assert log.gather()[0].size == 0


def _count_in_process(rank_: int, world: int, folder: str) -> None:
    """One of `world` processes: its part of each step of random epochs, then the counts to a file."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank_, world_size=world)
    tracker, log = ForgettingTracker(23), EpochLog(4)
    for steps in _epochs(23):
        for indices, correct in steps:
            log.record(torch.from_numpy(indices[rank_::world]), torch.from_numpy(correct[rank_::world]))
        tracker.update(*log.gather())
    np.save(Path(folder) / f"{rank_}.npy", tracker.counts())
    dist.destroy_process_group()


def _epochs(samples: int) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """Seven epochs of steps of six; the last step is shorter, then filled with samples of the epoch's start."""
    generator = np.random.default_rng(8)
    epochs = []
    for epoch in range(7):
        order = generator.permutation(samples)
        order = order if epoch % 2 else np.r_[order, order[:1]]
        steps = [order[start : start + 6] for start in range(0, order.size, 6)]
        epochs.append([(step, generator.random(step.size) < 0.6) for step in steps])
    return epochs


def test_three_processes_count_as_one(tmp_path: Path) -> None:
    """Samples that move between processes, uneven last steps and a repeated sample give the oracle's counts on all."""
    oracle = ListKeepingOracle(23)
    for steps in _epochs(23):
        for indices, correct in steps:
            for process in range(3):
                oracle.update(indices[process::3], correct[process::3])
    mp.spawn(_count_in_process, (3, str(tmp_path)), nprocs=3)
    for process in range(3):
        assert np.load(tmp_path / f"{process}.npy").tolist() == oracle.counts()


def test_a_second_look_leaves_the_model_as_it_was() -> None:
    """Judging unmixed images moves no running statistic, no mode and no gradient."""
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 3)).train()
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images, labels = torch.randn(5, 1, 2, 2), torch.tensor([0, 1, 2, 0, 1])
    correct = look_again(model, images, labels)
    assert correct.shape == (5,)
    assert correct.dtype == torch.bool
    assert model.training
    assert not model[1].training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
