"""Folders and npz files of any content: both sides see the same images under the same labels, or refuse in words."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from edge.data.open import open_source
from edge.data.preprocess import Preprocess as BoardPreprocess
from edge.errors import EdgeError
from mest.data import DataSpec, Preprocess
from mest.data.labelled import open_labelled
from mest.errors import MestError

CLASSES = ("caf\u00e9", "dog", "2", "owl")
RGB = Preprocess("RGB", (0.5,) * 3, (0.25,) * 3).leading_to(6, 6)
GREY = Preprocess("L", (0.5,), (0.25,)).leading_to(5, 5)
NAMES = ["caf\u00e9", "cafe\u0301", "dog", "2", "owl", "Dog", "1", "0", "3"]
shapes = st.one_of(
    st.tuples(st.integers(0, 6), st.integers(0, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 3, 4])),
)


def board(path: Path, preprocess: Preprocess, skip: bool) -> list[tuple[int, bytes]] | str:
    """Label and pixels of every image that the board evaluates; or why it refuses."""
    plan = BoardPreprocess.from_json(preprocess.as_dict())
    try:
        source = open_source(str(path), CLASSES, None, plan, "skip" if skip else "refuse", decode_all=True)
        chosen = np.arange(len(source.labels)) if source.test_indices is None else source.test_indices
        found = [(int(source.labels[i]), source.pixels(int(i), plan).tobytes()) for i in chosen]
        source.close()
        return found
    except EdgeError as refused:
        return str(refused)


def workstation(path: Path, preprocess: Preprocess, skip: bool) -> list[tuple[int, bytes]] | str:
    """The same, as `mest eval RUN` sees it."""
    kind = "npz" if path.suffix == ".npz" else "imagefolder"
    spec = DataSpec(f"{kind}:{path}", unreadable="skip" if skip else "refuse")
    try:
        images = open_labelled(spec, preprocess, CLASSES).images
        pixels = images.pixels(np.arange(len(images)))
        return [(int(label), each.tobytes()) for label, each in zip(images.labels, pixels, strict=True)]
    except MestError as refused:
        return str(refused)


def agree(path: Path, preprocess: Preprocess, skip: bool = False) -> None:
    """Both give the same images in whatever order of classes, or both refuse, in one line."""
    theirs, ours = board(path, preprocess, skip), workstation(path, preprocess, skip)
    assert type(theirs) is type(ours), (theirs, ours)
    if isinstance(theirs, str):
        assert theirs.count("\n") == ours.count("\n") == 0
    else:
        assert sorted(theirs) == sorted(ours)


@given(
    shape=shapes,
    dtype=st.sampled_from(["u1", "u1", "u1", "i1", "u2", "f4", "?"]),
    labels=st.sampled_from(["u1", "i8", ">i4", "u8", "f4", "?"]),
    low=st.integers(-1, 3),
    names=st.one_of(st.none(), st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True)),
    bytes_names=st.booleans(),
    marks=st.one_of(st.none(), st.integers(0, 7)),
    compressed=st.booleans(),
    grey=st.booleans(),
    seed=st.integers(0, 99),
)
@example((1, 0, 1), "u1", "u1", 0, None, False, None, False, False, 0)  # found by a long search
def test_random_npz_files_mean_the_same_to_both(
    shape, dtype, labels, low, names, bytes_names, marks, compressed, grey, seed
) -> None:
    """Shapes, types, byte orders, labels, names and marks, right and wrong."""
    generator = np.random.default_rng(seed)
    arrays = {
        "images": generator.integers(0, 128, shape).astype(dtype),
        "labels": (generator.integers(0, 3, shape[0]) + (low if labels in ("i8", ">i4") else max(low, 0))).astype(
            labels
        ),
    }
    if names is not None:
        arrays["class_names"] = np.array([name.encode() for name in names] if bytes_names else names)
    if marks is not None:
        arrays["test"] = generator.integers(0, 8, shape[0]) < marks
    with TemporaryDirectory() as folder:
        path = Path(folder) / "d.npz"
        (np.savez_compressed if compressed else np.savez)(path, **arrays)
        agree(path, GREY if grey else RGB)


@given(
    classes=st.lists(st.sampled_from(NAMES[:5]), min_size=1, max_size=4, unique=True),
    files=st.lists(
        st.tuples(
            st.sampled_from(["a.png", "b.JPG", "\u4f8b.bmp", ".hidden.png", "c.txt", "d.webp", "e.png", "f.tif"]),
            st.sampled_from(["RGB", "L", "RGBA", "I;16", "P", "empty", "cut", "text"]),
            st.tuples(st.integers(1, 12), st.integers(1, 12)),
        ),
        min_size=1,
        max_size=5,
    ),
    parts=st.sampled_from([(), ("train", "test"), ("train", "val"), ("train",), ("train", "test", "valid")]),
    skip=st.booleans(),
    grey=st.booleans(),
)
def test_random_folders_mean_the_same_to_both(classes, files, parts, skip, grey) -> None:
    """Names, modes, sizes, damage, parts; what cannot be read is refused by both or skipped by both."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        for part in parts or (".",):
            for number, name in enumerate(classes):
                place = root / part / name
                place.mkdir(parents=True)
                for at, (file, kind, size) in enumerate(files):
                    write(place / file, kind, size, number * 7 + at)
        agree(root, GREY if grey else RGB, skip)


def write(path: Path, kind: str, size: tuple[int, int], seed: int) -> None:
    """An image of a mode, whatever the name says; or none."""
    if kind in ("empty", "text"):
        path.write_bytes(b"" if kind == "empty" else b"no image")
        return
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257) if kind == "I;16" else image
    image = image if kind in ("I;16", "cut") else image.convert(kind)
    image.save(path, "PNG")
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:45])
