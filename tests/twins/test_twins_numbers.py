"""Windows, vectors and spectrograms: the workstation and the board see the same numbers, or both refuse."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="one of the twins is training, which needs PyTorch")

from edge.data.batches import Batches  # noqa: E402
from edge.data.npz import NpzSource  # noqa: E402
from edge.data.open import open_source  # noqa: E402
from edge.data.preprocess import Preprocess as OnBoard  # noqa: E402
from edge.errors import EdgeError  # noqa: E402
from edge.inputs import as_image  # noqa: E402
from mest.data import DataSpec, Preprocess, open_data  # noqa: E402
from mest.data.labelled import open_labelled  # noqa: E402
from mest.data.loader import Samples  # noqa: E402
from mest.data.preprocess import ARRAY  # noqa: E402
from mest.errors import MestError  # noqa: E402

CLASSES = ("0", "1", "2")
shapes = st.one_of(
    st.tuples(st.integers(1, 9)),
    st.tuples(st.integers(1, 4), st.integers(1, 9)),
    st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6)),
)
files = st.fixed_dictionaries(
    {
        "shape": shapes,
        "dtype": st.sampled_from(["u1", "<i2", ">i2", "<f4", ">f4"]),
        "seed": st.integers(0, 99),
        "compressed": st.booleans(),
    }
)


def written(folder: str, shape, dtype, seed: int, compressed: bool, name: str = "inputs") -> Path:
    """An npz file of nine entries of three classes."""
    generator = np.random.default_rng(seed)
    low = 0 if dtype == "u1" else -99
    numbers = generator.integers(low, 200, (9, *shape)) + (generator.random((9, *shape)) if "f" in dtype else 0)
    path = Path(folder) / "d.npz"
    (np.savez_compressed if compressed else np.savez)(path, **{name: numbers.astype(dtype)}, labels=np.arange(9) % 3)
    return path


@given(files)
def test_every_number_reaches_the_network_bit_by_bit(file) -> None:
    """Of every type and byte order, stored or compressed; mean and deviation are those of the training entries."""
    with TemporaryDirectory() as folder:
        path = written(folder, **file)
        data = open_data(DataSpec(f"npz:{path}"))
        assert data.train.shape == file["shape"]
        assert data.preprocess.mode == ARRAY
        assert len(data.preprocess.mean) == file["shape"][0]
        preprocess = OnBoard.from_json(data.preprocess.as_dict())
        source = open_source(str(path), CLASSES, None, preprocess)
        batches = Batches(source, preprocess, as_image(file["shape"]), 9)
        board, labels = batches.read(np.arange(9))
        labelled = open_labelled(DataSpec(f"npz:{path}"), data.preprocess, CLASSES).images
        numbers, wanted, _ = Samples(labelled, data.augment).__getitems__(range(9))
        ours = data.preprocess.normalise(numbers).numpy()
        source.close()
    assert ours.shape == (9, *file["shape"])
    np.testing.assert_array_equal(board.reshape(ours.shape), ours)
    np.testing.assert_array_equal(labels, wanted.numpy())


@given(
    st.lists(st.integers(0, 4), min_size=0, max_size=5),
    st.sampled_from(["u1", "i1", "u2", "i2", "i4", "f2", "f4", "f8", "?", "c8"]),
    st.sampled_from(["inputs", "images", "x"]),
)
def test_files_of_any_content_mean_the_same_to_both(sizes, dtype, name) -> None:
    """The same labels and numbers, or a refusal in one line from each."""
    preprocess = Preprocess(ARRAY, (0.0,), (1.0,))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "d.npz"
        np.savez(path, **{name: np.ones(sizes, dtype)}, labels=np.arange(sizes[0] if sizes else 0) % 3)
        try:
            labelled = open_labelled(DataSpec(f"npz:{path}"), preprocess, CLASSES).images
            ours = labelled.array.tobytes()
        except MestError as refused:
            ours = refused
        try:
            plan = OnBoard.from_json(preprocess.as_dict())
            source = NpzSource(path, CLASSES, None, plan)
            height, width, bands = source.pixels(0, plan).shape
            theirs = b"".join(source.pixels(i, plan).transpose(2, 0, 1).tobytes() for i in range(len(source.labels)))
            assert as_image(labelled.shape) == (bands, height, width)
            source.close()
        except EdgeError as refused:
            theirs = refused
    if isinstance(ours, bytes):
        assert ours == theirs
    else:
        assert isinstance(theirs, EdgeError)
        assert str(ours).count("\n") == str(theirs).count("\n") == 0
