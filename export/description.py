"""What a board must know about inputs and classes, as a person says it: checked whole, in the form of a manifest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from edge.data.preprocess import ARRAY
from export.lower import TAKEN
from mest.errors import InputError

MODES = {1: "L", 3: "RGB"}  # by number of channels
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
KEYS = ("mode", "mean", "std", "resize", "crop", "interpolation")
NEEDED = (
    'preprocess: give the mean and std that the inputs were normalised with, such as {"mean": [0.5], "std": [0.25]}; '
    "0 and 1 where the model takes pixels / 255"
)


def input_problems(input: tuple[int, ...], mode: Any = None) -> list[str]:
    """Why inputs of this shape are none that a board takes; empty if they are.

    Images have a shape `(channels, height, width)`, windows `(channels, length)`, vectors `(features,)`. Three
    dimensions are an image's unless `mode` is "array".
    """
    if len(input) not in (1, 2, 3) or min(input) < 1:
        return [f"input of shape {input}: {TAKEN}"]
    if is_image(input, mode) and input[0] not in MODES:
        return [
            f"images of {input[0]} channels: allowed are 1 (grey) and 3 (colour); of windows (channels, length) give "
            f"that shape, and of other arrays of numbers preprocess mode {ARRAY!r}"
        ]
    return []


def is_image(input: tuple[int, ...], mode: Any) -> bool:
    """False for arrays of numbers: all that has not three dimensions, and what `mode` says is one."""
    return len(input) == 3 and mode != ARRAY


def describe_classes(names: Sequence[str] | None, classes: int, problems: list[str]) -> tuple[str, ...]:
    """The class names in the order of the logits, numbers where none are given; what is wrong goes to `problems`."""
    if names is None:
        return tuple(map(str, range(classes)))
    if isinstance(names, str) or not all(isinstance(name, str) and name for name in names):
        problems.append("class_names: give a list of texts, one for each class in the order of the logits")
        return ()
    found = tuple(names)
    if len(found) != classes:
        problems.append(f"class_names: {len(found)} names for a model of {classes} classes")
    if doubled := sorted({name for name in found if found.count(name) > 1}):
        problems.append(f"class_names: {', '.join(doubled)} given more than once")
    return found


def describe_preprocess(given: Mapping[str, Any] | None, input: tuple[int, ...], problems: list[str]) -> dict[str, Any]:
    """The preprocessing as a manifest holds it; what is wrong goes to `problems`.

    `mean` and `std` are needed, a number or one per channel, on the scale 0 to 1. `resize` is (height, width) or the
    short side, by default the model's own height and width; `crop` the centre (height, width) or a side; `mode` RGB or
    L; `interpolation` bilinear unless given. Of arrays of numbers there are `mean` and `std` alone, of the numbers as
    they are, and `mode` "array".
    """
    if given is None or not {"mean", "std"} <= given.keys():
        problems.append(NEEDED)
        given = {"mean": 0, "std": 1, **(given or {})}
    for key in given:
        if key not in KEYS:
            near = get_close_matches(str(key), KEYS, 1)
            problems.append(f"preprocess: unknown key {key!r}" + (f", did you mean {near[0]!r}?" if near else ""))
    if not is_image(input, given.get("mode")):
        return _describe_array(given, input[0], problems)
    channels, height, width = input
    mode = given.get("mode", MODES[channels])
    if mode != MODES[channels]:
        problems.append(f"preprocess: mode {mode!r} for {channels} channel(s); allowed is {MODES[channels]!r}")
    interpolation = given.get("interpolation", "bilinear")
    if interpolation not in INTERPOLATIONS:
        problems.append(f"preprocess: interpolation {interpolation!r}; allowed are {', '.join(INTERPOLATIONS)}")
    mean, std = _normalisation(given, channels, problems)
    crop = _sides("crop", given.get("crop"), problems)
    crop = (crop, crop) if isinstance(crop, int) else crop
    resize = _sides("resize", given.get("resize", None if crop else (height, width)), problems)
    if made := _size_problem(resize, crop, (height, width)):
        problems.append(f"preprocess: {made}")
    return {
        "mode": mode,
        "resize": list(resize) if isinstance(resize, tuple) else resize,
        "crop": list(crop) if crop else None,
        "interpolation": interpolation,
        "mean": list(mean),
        "std": list(std),
    }


def _describe_array(given: Mapping[str, Any], channels: int, problems: list[str]) -> dict[str, Any]:
    if given.get("mode", ARRAY) != ARRAY:
        problems.append(f"preprocess: mode {given['mode']!r} for what is no image; allowed is {ARRAY!r}")
    for key in ("resize", "crop", "interpolation"):
        if given.get(key) is not None:
            problems.append(f"preprocess: {key} is for images; leave it out")
    mean, std = _normalisation(given, channels, problems)
    unused = {"resize": None, "crop": None, "interpolation": None}
    return {"mode": ARRAY, **unused, "mean": list(mean), "std": list(std)}


def _normalisation(
    given: Mapping[str, Any], channels: int, problems: list[str]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    mean, std = (_per_channel(name, given[name], channels, problems) for name in ("mean", "std"))
    if min(std) <= 0:
        problems.append(f"preprocess: std {given['std']}: give numbers above 0")
    return mean, std


def refuse(problems: Sequence[str]) -> None:
    """Raise InputError with all problems in one line, if there are any."""
    if problems:
        raise InputError("; ".join(problems))


def _per_channel(name: str, given: Any, channels: int, problems: list[str]) -> tuple[float, ...]:
    try:
        listed = [float(given)] * channels if isinstance(given, int | float) else [float(value) for value in given]
    except (TypeError, ValueError):
        listed = []
    if len(listed) != channels or not all(math.isfinite(value) for value in listed):
        problems.append(f"preprocess: {name} {given!r}: give a number, or one for each of the {channels} channel(s)")
        return (1.0,) * channels
    return tuple(listed)


def _sides(name: str, given: Any, problems: list[str]) -> int | tuple[int, int] | None:
    listed = [given] if isinstance(given, int) else given
    if given is None:
        return None
    try:
        sides = [int(side) for side in listed]
        whole = sides == list(listed) and len(sides) in (1, 2) and min(sides) >= 1
    except (TypeError, ValueError):
        sides, whole = [], False
    if not whole:
        problems.append(f"preprocess: {name} {given!r}: give a side in pixels, or (height, width)")
        return None
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def _size_problem(resize: Any, crop: tuple[int, int] | None, wanted: tuple[int, int]) -> str | None:
    """Why images of any size would not come out as the model takes them."""
    asked = f"the model takes {wanted[0]}x{wanted[1]}"
    if crop is not None:
        if crop != wanted:
            return f"crop {crop[0]}x{crop[1]}: {asked}"
        sides = (resize, resize) if isinstance(resize, int) else resize or crop
        short = max(sides) < min(crop) if isinstance(resize, int) else sides[0] < crop[0] or sides[1] < crop[1]
        return f"resize {resize} is smaller than crop {crop}" if short else None
    if isinstance(resize, tuple) and resize != wanted:
        return f"resize {resize[0]}x{resize[1]}: {asked}; give that, or a crop of it"
    if isinstance(resize, int):
        return f"resize {resize} makes the short side as long and the other one longer; add crop {wanted}"
    return None
