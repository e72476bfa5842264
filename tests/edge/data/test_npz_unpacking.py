"""A compressed npz is unpacked where there is room: beside itself, or where temporary files go."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from finetune_example import PREPROCESS

from edge.data.npz import NpzSource
from edge.data.preprocess import Preprocess
from edge.errors import InputError

PLAIN = Preprocess.from_json({**PREPROCESS, "mean": [0.0], "std": [1.0]})


@pytest.fixture
def packed(tmp_path):
    """Six images of random pixels, compressed."""
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8)
    np.savez_compressed(tmp_path / "data.npz", images=images, labels=np.arange(6) % 2)
    return tmp_path / "data.npz", images


def only_elsewhere(monkeypatch, refused: Path, code: int):
    """No file can be made in a folder, as on a read-only mount or a full disk."""
    real = tempfile.TemporaryFile

    def make(dir):
        if dir == str(refused):
            raise OSError(code, os.strerror(code))
        return real(dir=dir)

    monkeypatch.setattr(tempfile, "TemporaryFile", make)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_it_is_unpacked_elsewhere(packed, tmp_path, monkeypatch, code):
    """The same pixels, whatever the folder of the file refuses."""
    path, images = packed
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    only_elsewhere(monkeypatch, tmp_path, code)
    source = NpzSource(path, ["a", "b"])
    for number in range(6):
        np.testing.assert_array_equal(source.pixels(number, PLAIN)[:, :, 0], images[number])
    source.close()


def test_no_room_anywhere_says_what_to_do(packed, tmp_path, monkeypatch):
    """With each folder and its reason."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    only_elsewhere(monkeypatch, tmp_path, errno.EROFS)
    with pytest.raises(InputError, match=r"Read-only file system.*set TMPDIR.*numpy\.savez"):
        NpzSource(packed[0], ["a", "b"])


def test_a_disk_that_fills_meanwhile_is_left_for_another(packed, tmp_path, monkeypatch):
    """What was unpacked so far is given up, and the whole is unpacked again."""
    path, images = packed
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    real = tempfile.TemporaryFile

    class Full:
        def write(self, piece):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def close(self):
            pass

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir: Full() if dir == str(tmp_path) else real(dir=dir))
    source = NpzSource(path, ["a", "b"])
    np.testing.assert_array_equal(source.pixels(5, PLAIN)[:, :, 0], images[5])
    source.close()
