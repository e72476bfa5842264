"""Which samples go when, and which come back."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from mest.errors import DamagedError, InputError
from mest.ranking.ranking import Provenance, rank
from mest.ranking.removal import RemovalPlan, Round, choose_removed, parse_removal
from mest.ranking.samples import TrainingSamples

ALL = np.arange(10)


def plan(remove_n: str, epochs: str = "", **options: object) -> RemovalPlan:
    settings = {"samples": 10, "epochs": 20, "ordered": False, **options}
    return parse_removal(remove_n, epochs, **settings)  # type: ignore[arg-type]


def present(samples: TrainingSamples, wrong: set[int]) -> None:
    """One epoch over the active samples in which those in `wrong` are misclassified."""
    indices = torch.from_numpy(samples.active)
    samples.presented(indices, torch.tensor([index not in wrong for index in indices.tolist()]))
    samples.end_epoch()


def test_plans_as_published_and_in_rounds() -> None:
    """One number at one epoch, dashes for rounds, fractions of the samples, and epoch 0 with a ranking."""
    assert plan("") == plan("0", "5") == RemovalPlan()
    assert plan("3", "5").rounds == (Round(5, 3),)
    assert plan("3-2", "5-9").rounds == (Round(5, 3), Round(9, 2))
    assert plan("0.2-0.1", "5-9").rounds == (Round(5, 2), Round(9, 1))
    assert plan("4", ordered=True).rounds == (Round(0, 4),)
    assert plan("4", "7", ordered=True).rounds == (Round(7, 4),)
    assert plan("4", "0", keep_lowest=-1).rounds == (Round(0, 4),)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("3-2", "5"), {}, "remove_n 3-2 is 2 removal.s., remove_data_epoch names 1 epoch"),
        (("3",), {}, "is 1 removal.s., remove_data_epoch names 0 epoch.s.; give one for each"),
        (("3-2", "9-5"), {}, "must rise"),
        (("3", "20"), {}, "epochs are 0 to 19"),
        (("3", "0"), {}, "nothing is known of the samples at epoch 0"),
        (("5-5", "3-4"), {}, "removing 10 of 10 samples leaves nothing"),
        (("5", "3"), {"keep_lowest": 5}, "removing 5 and keeping the 5 easiest of 10"),
        (("2.5", "3"), {}, "a whole number of samples"),
        (("inf", "3"), {}, "a whole number of samples"),
        (("nan", "3"), {}, "a whole number of samples"),
        (("0.01", "3"), {}, "remove_n 0.01: less than one of 10 samples"),
        (("9", "3"), {"fewest": 2}, "removing 9 of 10 samples leaves 1 to train on; 2 must stay"),
        (("x", "3"), {}, "remove_n x: expected numbers"),
        (("3", "3.5"), {}, "remove_data_epoch 3.5: expected epochs"),
        (("3", "3"), {"restore_every_epochs": -1}, "restore_every_epochs -1"),
        (("", ""), {"restore_every_epochs": 2}, "remove_n removes none"),
    ],
)
def test_plans_that_cannot_be_are_refused(arguments: tuple[str, ...], options: dict[str, int], message: str) -> None:
    """Each mistake says what was given and what is allowed, in one line."""
    with pytest.raises(InputError, match=message) as refused:
        plan(*arguments, **options)
    assert "\n" not in str(refused.value)


def test_removal_starts_where_keep_lowest_ends() -> None:
    """The cited code removes order[keep : keep + n]; a negative keep draws at random, by the seed."""
    order = np.array([7, 3, 1, 5, 0])
    generator = np.random.default_rng(0)
    assert choose_removed(order, 2, 0, generator).tolist() == [7, 3]
    assert choose_removed(order, 2, 2, generator).tolist() == [1, 5]
    drawn = [choose_removed(order, 3, -1, np.random.default_rng(seed)).tolist() for seed in (1, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert len({tuple(sorted(each)) for each in drawn}) > 1
    assert all(len(set(each)) == 3 and set(each) <= set(order.tolist()) for each in drawn)


def test_the_easiest_go_by_what_this_run_forgot() -> None:
    """Never-forgotten samples go first, a never-learned one stays, and the saved presentations are counted."""
    samples = TrainingSamples(10, ALL, plan("6", "2"))
    present(samples, wrong={0, 1, 2})
    samples.start_epoch(1)
    present(samples, wrong={0, 3, 4})
    assert samples.start_epoch(2).removed == 6
    assert set(samples.removed.tolist()) < {1, 2, 5, 6, 7, 8, 9}  # 3 and 4 were forgotten, 0 never learned
    present(samples, wrong=set())
    assert samples.summary() == {
        "samples": 10,
        "active": 4,
        "trained_presentations": 24,
        "presentations_without_removal": 30,
        "evaluated": 0,
        "saved": 0.2,
    }


def test_a_ranking_file_removes_its_easiest_from_the_start() -> None:
    """The published option removed none; ours removes the n least forgotten, of the training part alone."""
    ranking = rank(np.array([9, 0, 8, 1, 7, 2, 6, 3, 5, 4]))
    samples = TrainingSamples(10, ALL, plan("3", ordered=True), ranking=ranking)
    assert samples.start_epoch(0).removed == 3
    assert samples.removed.tolist() == [1, 3, 5]
    part = TrainingSamples(10, np.array([9, 8, 5, 0, 2]), plan("2", ordered=True), ranking=ranking)
    part.start_epoch(0)
    assert part.removed.tolist() == [5, 9]
    assert part.active.tolist() == [0, 2, 8]
    assert part.tracker is None


def test_the_easiest_that_never_came_up_still_rank_as_the_easiest() -> None:
    """Removed from the start by a file, they come first and in its order; what is held out ranks among the hardest."""
    ranking = rank(np.array([9, 0, 8, 1, 7, 2, 6, 3, 5, 4]))
    samples = TrainingSamples(10, ALL[:-1], plan("3", ordered=True), ranking=ranking, track=True)
    samples.start_epoch(0)
    present(samples, wrong={0})
    samples.start_epoch(1)
    present(samples, wrong={0, 4})
    written = samples.ranking(Provenance("d", 10, "c", "x", 1, "m", 2, samples.unseen))
    assert written.indices[:3].tolist() == ranking.indices[:3].tolist() == [1, 3, 5]
    assert written.counts.tolist() == [0] * 7 + [1, 2, 2]
    assert written.indices[7] == 4
    assert set(written.indices[8:].tolist()) == {0, 9}
    assert samples.unseen == 1


def test_nothing_is_counted_that_nobody_needs() -> None:
    """After the last round the counts decide nothing more, unless the run's own ranking is wanted."""
    for track, expected in ((False, [True, True, False, False]), (True, [True] * 4)):
        samples = TrainingSamples(10, ALL, plan("2-2", "1-2"), track=track)
        counting = []
        for epoch in range(4):
            samples.start_epoch(epoch)
            counting.append(samples.counting)
            samples.presented(torch.from_numpy(samples.active), torch.ones(len(samples.active)), extra_look=True)
            samples.end_epoch()
        assert counting == expected
        assert samples.looked_at == sum([10, 8, 6, 6][: sum(expected)])
        assert samples.summary()["saved"] == round(1 - (30 + samples.looked_at / 3) / 40, 6)


def test_rounds_remove_more_each_time() -> None:
    """Each round takes its number from those still there, the lowest kept ones never."""
    ranking = rank(np.arange(10))
    samples = TrainingSamples(10, ALL, plan("2-3", "0-4", ordered=True, keep_lowest=1), ranking=ranking)
    left = []
    for epoch in range(6):
        samples.start_epoch(epoch)
        left.append(samples.removed.tolist())
    assert left == [[1, 2]] * 4 + [[1, 2, 3, 4, 5]] * 2


def test_removed_samples_that_are_wrong_come_back() -> None:
    """Every second epoch the removed are looked at; the wrong ones return and are not the next to go."""
    for ranking in (None, rank(np.arange(10))):
        removal = plan("4-2", "1-5", restore_every_epochs=2)
        samples = TrainingSamples(10, ALL, removal, ranking=ranking, track=True)
        present(samples, wrong=set())
        samples.start_epoch(1)
        first, second, third, fourth = samples.removed.tolist()
        changes = []
        looked: list[list[int]] = []

        def look(
            indices: np.ndarray, looked: list[list[int]] = looked, wrong: tuple[int, ...] = (second, third)
        ) -> np.ndarray:
            looked.append(indices.tolist())
            return ~np.isin(indices, wrong)

        for epoch in range(2, 6):
            present(samples, wrong=set())
            changes.append(samples.start_epoch(epoch, look))
        assert looked == [[first, second, third, fourth], [first, fourth]]
        assert [change.restored for change in changes] == [0, 2, 0, 0]
        assert changes[-1].removed == 2
        assert len(samples.removed) == 4
        assert not {second, third} & set(samples.removed.tolist())
        assert samples.looked_at == samples.summary()["evaluated"] == 6
        assert samples.tracker is not None
        assert np.flatnonzero(samples.tracker.counts() == 1).tolist() == [second, third]


def test_random_removal_needs_no_statistics_and_repeats_with_the_seed() -> None:
    """A negative keep-lowest removes at random, the same for the same seed."""
    removed = []
    for seed in (3, 3, 4):
        samples = TrainingSamples(100, np.arange(100), plan("40", "2", samples=100, keep_lowest=-1), seed=seed)
        samples.start_epoch(2)
        removed.append(samples.removed.tolist())
        assert samples.tracker is None
    assert removed[0] == removed[1] != removed[2]


def test_resuming_goes_on_exactly() -> None:
    """Stopped between any two epochs and loaded into a fresh object, the same samples go and come back."""

    def run(stop_after: int | None) -> tuple[list[list[int]], list[int]]:
        def fresh() -> TrainingSamples:
            removal = plan("8-6", "2-5", samples=30, restore_every_epochs=2)
            return TrainingSamples(30, np.arange(1, 29), removal, seed=1)

        samples, actives = fresh(), []
        for epoch in range(8):
            generator = np.random.default_rng(epoch)
            samples.start_epoch(epoch, lambda indices, generator=generator: generator.random(indices.size) < 0.5)
            actives.append(samples.active.tolist())
            present(samples, wrong=set(generator.integers(0, 30, 12).tolist()))
            if epoch == stop_after:
                file = io.BytesIO()
                torch.save(samples.state_dict(), file)
                file.seek(0)
                samples = fresh()
                samples.load_state_dict(torch.load(file, weights_only=True))  # noqa: TID251 - as a checkpoint does
        provenance = Provenance("d", 30, "c", "x", 1, "m", 8, samples.unseen)
        assert samples.unseen == 2
        return actives, samples.ranking(provenance).indices.tolist()

    whole = run(None)
    assert len({len(active) for active in whole[0]}) > 2
    assert all(run(stop) == whole for stop in range(8))


def test_foreign_states_are_refused() -> None:
    """A checkpoint of other data, or without the statistics that this run keeps, is refused."""
    tracking = TrainingSamples(10, ALL, track=True)
    with pytest.raises(DamagedError, match="not those of this run"):
        tracking.load_state_dict(TrainingSamples(10, ALL).state_dict())
    with pytest.raises(DamagedError, match="not those of this run"):
        tracking.load_state_dict(TrainingSamples(11, ALL, track=True).state_dict())
    with pytest.raises(ValueError, match="kept no forgetting counts"):
        TrainingSamples(10, ALL).ranking(Provenance("d", 10, "c", "x", 1, "m", 1))
