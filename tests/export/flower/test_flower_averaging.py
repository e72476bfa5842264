"""What a server makes of updates, on weights of eight that can be read by eye, and over all formats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from flower_example import FORMATS, bits, eight, layout_of_eight, sparse_network, update

from edge.errors import InputError
from edge.weight.formats import decode, kept_mask
from edge.weight.mutation import Slots, _scores, _units
from export.flower.averaging import averaged, joined, pooled_variance
from export.flower.layout import layout_of, weights_of
from export.flower.merging import ClientMasks, Course, SharedMask, moved, stored_units, target_units
from export.flower.units import UNITS, unit_scores, units_of

LAYOUT = layout_of_eight()


def test_the_mean_is_weighted_by_samples() -> None:
    """Three samples of 2 and one of 6 make 3."""
    found = averaged(LAYOUT, [update("a", 3, "11110000", [2, 0, 4, 1]), update("b", 1, "11110000", [6, 0, 0, 1])])
    assert found.values["w"].tolist() == [3, 0, 3, 1]
    assert bits(found.masks["w"]) == "11110000"


def test_variances_are_those_of_all_samples_together() -> None:
    """Half the samples around 0 and half around 4, each with variance 1: together 1 + 4."""
    found = averaged(LAYOUT, [update("a", 5, "11110000", [0] * 4, 0, 1), update("b", 5, "11110000", [0] * 4, 4, 1)])
    assert found.values["mean"].tolist() == [2]
    assert found.values["variance"].tolist() == [5]


@pytest.mark.parametrize("seed", range(3))
def test_pooled_variance_is_numpys_of_the_samples(seed: int) -> None:
    """The variance of what clients saw, as if one had seen it all."""
    random = np.random.default_rng(seed)
    parts = [random.normal(random.normal(), 1 + seed, (count, 3)) for count in (5, 40, 17)]
    shares = [len(part) / 62 for part in parts]
    found = pooled_variance([p.mean(0) for p in parts], [p.var(0) for p in parts], shares)
    np.testing.assert_allclose(found, np.concatenate(parts).var(0), rtol=1e-5)


def test_positions_are_averaged_over_the_clients_that_keep_them() -> None:
    """Position 0 by both, 4 by b alone at its full size; of five that anyone keeps the weakest goes."""
    updates = [update("a", 1, "11110000", [2, 9, 1, 5]), update("b", 1, "11011000", [4, 9, 5, -8])]
    found = joined(LAYOUT, updates, {"w": 4})
    assert bits(found.masks["w"]) == "11011000"
    assert found.values["w"].tolist() == [3, 9, 5, -8]


def test_equal_strength_keeps_the_lower_position() -> None:
    """Nothing is left to chance."""
    updates = [update("a", 1, "11110000", [1, 1, 1, 1]), update("b", 1, "00001111", [1, 1, 1, 1])]
    assert bits(joined(LAYOUT, updates, {"w": 4}).masks["w"]) == "11110000"


def test_joining_equal_masks_is_the_mean() -> None:
    """With one mask for all, both ways agree."""
    updates = [update("a", 2, "10100011", [1, 2, 3, 4]), update("b", 3, "10100011", [5, 6, 7, 8], 2, 3)]
    one, other = averaged(LAYOUT, updates), joined(LAYOUT, updates, {"w": 4})
    assert bits(one.masks["w"]) == bits(other.masks["w"])
    for name in one.values:
        np.testing.assert_allclose(one.values[name], other.values[name], rtol=1e-6)


def test_no_samples_are_no_mean() -> None:
    """A round in which nobody trained is refused, not divided by zero."""
    with pytest.raises(InputError, match="no client trained on a sample"):
        averaged(LAYOUT, [update("a", 0, "11110000", [1, 1, 1, 1])])


def test_the_server_exchanges_what_scores_lowest() -> None:
    """Of four weights the one that clients score lowest goes; another comes at zero, survivors keep their values."""
    before = eight()  # keeps positions 0 to 3 with 1, 2, 3, 4
    after = moved(before, np.array([9, 1, 8, 7], np.float32), 0.625, 0.5, seed=3)
    kept = kept_mask(after).reshape(-1)
    assert bits(kept[:4]) == "1011"
    assert kept[4:].sum() == 1
    dense = decode(after).reshape(-1)
    assert dense[:4].tolist() == [1, 0, 3, 4]
    assert not dense[4:].any()


def test_the_seed_decides_where_it_grows() -> None:
    """The same seed, the same mask; over seeds every free position comes up."""
    scores = np.array([9, 1, 8, 7], np.float32)
    masks = [bits(kept_mask(moved(eight(), scores, 0.625, 0.5, seed)).reshape(-1)) for seed in range(40)]
    again = [bits(kept_mask(moved(eight(), scores, 0.625, 0.5, seed)).reshape(-1)) for seed in range(40)]
    assert masks == again
    assert {mask[4:] for mask in masks} == {"1000", "0100", "0010", "0001"}


def test_shared_masks_move_when_due() -> None:
    """Every second round, and no more in the last quarter."""
    kind = SharedMask(every_rounds=2)
    assert [kind.wants_scores(Course(number, 8)) for number in range(1, 9)] == [False, True, False, True, *[False] * 4]
    assert not SharedMask(0).wants_scores(Course(2, 8))


def test_merging_moves_by_the_mean_of_scores() -> None:
    """Client a would remove position 0, b position 1; together position 1 has least."""
    layout = replace(LAYOUT, parameters={**LAYOUT.parameters, "w": eight(target=0.5)})
    scores = ([0, 1, 8, 8], [4, 1, 8, 8])
    updates = [
        replace(update(name, 1, "11110000", [1, 2, 3, 4]), scores={"w": np.array(score, np.float32)})
        for name, score in zip("ab", scores, strict=True)
    ]
    found = SharedMask(1).merge(layout, updates, Course(1, 10, seed=5))
    assert bits(found.masks["w"][:4]) == "1011"
    assert found.masks["w"].sum() == 4


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_moved_mask_is_one_of_its_scheme(fmt: str) -> None:
    """As many units as before, whole ones, survivors bit for bit and the grown at zero, in every format."""
    layout = layout_of(sparse_network(fmt))
    for number, (name, parameter) in enumerate(layout.sparse.items()):
        units = stored_units(parameter)
        scores = np.random.default_rng(number).uniform(1, 2, units).astype(np.float32)
        after = moved(parameter, scores, 0.7, 0.5, seed=number)
        old, new = kept_mask(parameter).reshape(-1), kept_mask(after).reshape(-1)
        assert units_of(parameter).fits(parameter, new)
        assert stored_units(after) == target_units(parameter)
        assert (old & ~new).any(), name
        dense, before = decode(after).reshape(-1), decode(parameter).reshape(-1)
        assert ((dense[old & new] == before[old & new]) | (dense[old & new] == 0)).all()
        assert np.isin(dense, before).all()


@pytest.mark.parametrize("fmt", FORMATS)
def test_scores_of_units_are_the_boards(fmt: str) -> None:
    """What a client computes is what the board's own mutation judges by."""
    for parameter in layout_of(sparse_network(fmt)).sparse.values():
        indices = {name: tensor for name, tensor in parameter.tensors.items() if name != "values"}
        values = parameter.values
        if fmt == "masked":
            indices["mask"] = np.unpackbits(indices["mask"], count=parameter.size, bitorder="little")
            kept = indices["mask"].astype(bool)
        slots = Slots(values, indices, stored_units(parameter))
        expected = _scores(parameter, slots, _units(parameter, slots), 0.0)
        stored = values.reshape(-1)[kept] if fmt == "masked" else values
        np.testing.assert_allclose(unit_scores(parameter, np.abs(stored)), expected, rtol=1e-6)


@pytest.mark.parametrize("fmt", FORMATS)
def test_joined_masks_are_of_their_scheme(fmt: str) -> None:
    """Clients that moved their masks apart: the joined ones are whole and keep what the target says."""
    layout, updates = layout_of(sparse_network(fmt)), []
    for client in range(3):
        parameters = dict(layout.parameters)
        for name, parameter in layout.sparse.items():
            scores = np.random.default_rng(client).uniform(1, 2, stored_units(parameter)).astype(np.float32)
            parameters[name] = moved(parameter, scores, 0.7, 0.5, seed=client)
        weights = weights_of(layout, parameters)
        updates.append(replace(update(str(client), client + 1, "1" * 8, [0.0] * 8), weights=weights))
    found = ClientMasks().merge(layout, updates, Course(1, 4))
    for name, parameter in layout.sparse.items():
        union = np.any([each.weights.masks[name] for each in updates], axis=0)
        assert units_of(parameter).fits(parameter, found.masks[name])
        after = layout.encoded(found)[name]
        assert stored_units(after) == target_units(parameter)
        assert fmt == "pattern" or not (found.masks[name] & ~union).any()


def test_kernels_with_two_patterns_take_the_stronger() -> None:
    """Pattern 0 keeps cells 4 5 7 8, pattern 3 cells 0 1 3 4; of one kernel the pattern with the larger norm stays."""
    kernels = UNITS["pattern"]
    parameter = next(iter(layout_of(sparse_network("pattern")).sparse.values()))
    values, held = np.zeros((64, 9), np.float32), np.zeros((64, 9), bool)
    values[5, [0, 1, 3, 4]] = 1
    values[5, [5, 7, 8]] = 3
    held[5, [0, 1, 3, 4, 5, 7, 8]] = True
    mask = kernels.strongest(parameter, values.reshape(-1), held.reshape(-1), 1).reshape(64, 9)
    assert np.flatnonzero(mask[5]).tolist() == [4, 5, 7, 8]
    assert mask.sum() == 4
