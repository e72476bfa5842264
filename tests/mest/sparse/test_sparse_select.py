"""Selection by rank: by eye on eight elements, then invariants over shapes."""

from __future__ import annotations

import pytest
import torch

from mest.sparse.select import best, best_balanced, fill_balanced

ALL = torch.ones(8, dtype=torch.bool)


def chosen(mask: torch.Tensor) -> list[int]:
    return mask.flatten().nonzero().flatten().tolist()


def test_the_highest_stay() -> None:
    """Three of eight."""
    assert chosen(best(torch.tensor([3.0, 1, 4, 1, 5, 9, 2, 6]), ALL, 3)) == [4, 5, 7]


def test_ties_go_to_the_lower_index() -> None:
    """Equal scores at the threshold fill up from the left, and never all of them or none."""
    assert chosen(best(torch.tensor([1.0, 2, 1, 2, 1, 2, 1, 2]), ALL, 6)) == [0, 1, 2, 3, 5, 7]
    assert chosen(best(torch.zeros(8), ALL, 3)) == [0, 1, 2]


def test_only_the_eligible_are_chosen() -> None:
    """The best of the others, also where it scores below what is not eligible."""
    eligible = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1], dtype=torch.bool)
    assert chosen(best(torch.tensor([9.0, 1, 9, 2, 9, 3, 9, 4]), eligible, 2)) == [5, 7]


def test_none_and_all() -> None:
    """The ends of the range."""
    assert chosen(best(torch.rand(8), ALL, 0)) == []
    assert chosen(best(torch.rand(8), ALL, 8)) == list(range(8))


def test_balanced_rows_by_eye() -> None:
    """Five of 2×4: two of each row, and the fifth where the third best is higher."""
    scores = torch.tensor([[1.0, 2, 3, 4], [8, 7, 6, 5]])
    assert chosen(best_balanced(scores, torch.ones(2, 4, dtype=torch.bool), 5)) == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("seed", range(20))
def test_balanced_counts_are_exact_and_even(seed: int) -> None:
    """Down and up again through random totals: always the exact count, rows that differ by one at most."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = (int(n) for n in torch.randint(1, 9, (2,), generator=generator))
    alive = torch.ones(rows, columns, dtype=torch.bool)
    for _ in range(6):
        total = int(torch.randint(0, rows * columns + 1, (1,), generator=generator))
        scores = torch.rand(rows, columns, generator=generator)
        if total <= int(alive.sum()):
            alive = best_balanced(scores, alive, total)
        else:
            grown = fill_balanced(scores, alive, total)
            assert not bool((grown & alive).any())
            alive = alive | grown
        counts = alive.sum(dim=1)
        assert int(alive.sum()) == total
        assert int(counts.max() - counts.min()) <= 1
