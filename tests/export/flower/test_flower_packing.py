"""What travels: bytes that say masks and values whole, and refusals of what does not fit."""

from __future__ import annotations

import numpy as np
import pytest
from flower_example import FORMATS, bits, layout_of_eight, sparse_artifact, sparse_network

from edge.errors import InputError
from edge.weight.formats import decode, kept_mask
from export.flower.layout import layout_of, layout_of_artifact, weights_of
from export.flower.orders import Order, Place
from export.flower.packing import digest_of, pack_masks, pack_values, unpack_masks, unpack_scores, unpack_values
from export.flower.states import read_weights, write_weights

LAYOUT = layout_of_eight()
WEIGHTS = weights_of(LAYOUT, LAYOUT.parameters)


def test_a_mask_of_eight_is_a_byte() -> None:
    """The first weight is the lowest bit."""
    assert pack_masks(LAYOUT, WEIGHTS.masks) == bytes([0b00001111])
    assert bits(unpack_masks(LAYOUT, bytes([0b10000001]))["w"]) == "10000001"


@pytest.mark.parametrize("fmt", FORMATS)
def test_masks_come_back(fmt: str) -> None:
    """In every format, of a bit for each unit."""
    layout = layout_of(sparse_network(fmt))
    masks = weights_of(layout, layout.parameters).masks
    packed = pack_masks(layout, masks)
    found = unpack_masks(layout, packed)
    assert all((found[name] == masks[name]).all() for name in masks)
    assert len(digest_of(packed)) == 64
    size = sum(parameter.size for parameter in layout.sparse.values())
    assert len(packed) <= {"block": size // 32, "channel": 2}.get(fmt, size // 8)


@pytest.mark.parametrize("packed", [b"", bytes(2), bytes(1)])
def test_strange_masks_are_refused(packed: bytes) -> None:
    """Of another length, or without any unit."""
    with pytest.raises(InputError, match="mask"):
        unpack_masks(LAYOUT, packed)


def test_bits_behind_the_last_unit_are_refused() -> None:
    """There is one way to write a mask, so that one mask has one SHA-256."""
    layout = layout_of(sparse_network("channel"))
    packed = pack_masks(layout, weights_of(layout, layout.parameters).masks)
    assert unpack_masks(layout, packed)
    pattern = layout_of(sparse_network("pattern"))
    packed = bytearray(pack_masks(pattern, weights_of(pattern, pattern.parameters).masks))
    packed[0] ^= 1
    with pytest.raises(InputError, match="none of scheme pattern"):
        unpack_masks(pattern, bytes(packed))


def test_what_is_known_does_not_travel() -> None:
    """Values that are the same bit for bit are left out and come back as they were; −0 is another value than 0."""
    changed = {**WEIGHTS.values, "mean": np.array([-0.0], np.float32)}
    packed = pack_values(changed, WEIGHTS.values)
    assert list(packed) == ["mean"]
    found = unpack_values(LAYOUT, packed, WEIGHTS.masks, WEIGHTS.values)
    assert np.signbit(found.values["mean"][0])
    assert found.values["w"].tolist() == WEIGHTS.values["w"].tolist()


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("w", [1.0, 2.0, 3.0], "w: 12 bytes of values; its mask keeps 4 of 4 bytes each"),
        ("w", [1.0, 2.0, 3.0, np.nan], "w: holds values that are not finite"),
        ("w", [1.0, np.inf, 3.0, 1.0], "w: holds values that are not finite"),
        ("variance", [-1.0], "variance: holds a variance below 0"),
        ("other", [1.0], "'other': is no parameter of this artifact"),
    ],
)
def test_values_that_do_not_fit_are_refused(name: str, values: list[float], said: str) -> None:
    """One line says what is wrong with which parameter."""
    with pytest.raises(InputError) as refused:
        unpack_values(LAYOUT, {name: np.array(values, "<f4").tobytes()}, WEIGHTS.masks, WEIGHTS.values)
    assert str(refused.value) == said


def test_another_mask_needs_its_values() -> None:
    """What was known belongs to the mask before."""
    masks = {"w": np.array([1, 1, 0, 0, 0, 0, 0, 0], bool)}
    with pytest.raises(InputError, match="no values came for the mask"):
        unpack_values(LAYOUT, {}, masks, WEIGHTS.values)


@pytest.mark.parametrize("scores", [[1.0], [1.0, 2.0, 3.0, -1.0], [1.0, 2.0, 3.0, np.nan]])
def test_scores_that_do_not_fit_are_refused(scores: list[float]) -> None:
    """Too few, negative, not a number."""
    with pytest.raises(InputError, match=r"w: .*scores"):
        unpack_scores(LAYOUT, {"w": np.array(scores, "<f4").tobytes()}, {"w": 4})


@pytest.mark.parametrize("fmt", FORMATS)
def test_weights_become_a_state_and_come_back(fmt: str, tmp_path) -> None:
    """Bit for bit, with a mask that the artifact does not have, in every format."""
    artifact = sparse_artifact(tmp_path / "artifact", fmt)
    layout = layout_of_artifact(artifact)
    weights = weights_of(layout, layout.parameters)
    write_weights(tmp_path / "state", artifact, layout, weights)
    found, _ = read_weights(tmp_path / "state", layout)
    for name in layout.parameters:
        assert found.values[name].tobytes() == weights.values[name].tobytes()
    for name, parameter in layout.encoded(weights).items():
        assert (decode(parameter) == decode(layout.parameters[name])).all()
        assert (kept_mask(parameter) == kept_mask(layout.parameters[name])).all()


def test_an_order_is_plain_values_and_words() -> None:
    """What is not of mutation goes without it; every option is one word."""
    order = Order.read({"epochs": 2, "learning-rate": 1, "strange": "--out=/"}, "the server")
    assert order.learning_rate == 1.0
    assert Order.read(order.plain(), "the server") == order
    assert "--epochs=2" in order.words()
    assert not any("mutate" in word or "strange" in word for word in order.words())
    assert "--mutate=em" in Order(mutate="em").words()


@pytest.mark.parametrize("given", [{"epochs": 0}, {"epochs": "2"}, {"mutate": "rigl"}, {"batch-size": True}])
def test_strange_orders_are_refused(given: dict) -> None:
    """Of another type, or outside what the command takes."""
    with pytest.raises(InputError, match=next(iter(given)).split("-")[0]):
        Order.read(given, "the server")


def test_a_place_is_filled_in() -> None:
    """Simulated nodes differ by their partition alone."""
    given = {"artifact": "art", "data": "part-{partition}.npz", "work": "w/{node}", "memory-budget": "64MiB"}
    place = Place.read(given, {"partition": 2, "node": 7})
    assert (place.data, str(place.work)) == ("part-2.npz", "w/7")
    assert "--memory-budget=64MiB" in place.words()
    with pytest.raises(InputError, match="node configuration: data is missing"):
        Place.read({"artifact": "art", "work": "w"}, {})
    with pytest.raises(InputError, match=r"braces may name \{node\}"):
        Place.read({**given, "data": "{partition}"}, {"node": 1})
