"""Samples added to a data file on the device: the file that `mest pack` writes, wherever the power went meanwhile."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from compiled_example import Compiled, compiled, mest_run  # noqa: F401 - a fixture
from native_artifact import write_artifact, write_images
from native_networks import resnet

from edge.libmest import library
from edge.plan.search import Request

pytestmark = pytest.mark.skipif(not library.available()[0], reason=f"needs the library: {library.available()[1]}")
HEAD, RECORD, PIXELS = 48, 8 + 192, 192  # of images of 3x8x8


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> Compiled:
    """A plan, and the data file of nine samples."""
    folder, network = tmp_path_factory.mktemp("collect"), resnet("block", 0.75, blocks=1, width=8, size=8, classes=5)
    artifact, source = write_artifact(folder / "artifact", network), write_images(folder / "images.npz", network, 9)
    return compiled(folder, artifact, source, Request(batch_size=4), counted=False)


def collect(program: Path, example: Compiled, data: Path, raw: bytes, label: object, *more: object) -> tuple[int, str]:
    """The exit code, and what was said or printed."""
    command = [program, "collect", example.plan, "--data", data, "--label", label, *more]
    done = subprocess.run([*map(str, command)], input=raw, capture_output=True, check=False, timeout=60)
    return done.returncode, (done.stderr or done.stdout).decode()


def samples(content: bytes) -> list[tuple[int, bytes]]:
    """Label and pixels of the whole records of a data file."""
    records = [content[at : at + RECORD] for at in range(HEAD, len(content) - RECORD + 1, RECORD)]
    return [(int.from_bytes(one[:4], "little"), one[8:]) for one in records]


def test_a_file_that_was_collected_is_one_that_was_packed(mest_run: Path, example: Compiled, tmp_path: Path) -> None:  # noqa: F811
    """Begun by the first sample; some at once; one that is held out is marked."""
    packed, data = example.data.read_bytes(), tmp_path / "new.data"
    for number, (label, pixels) in enumerate(samples(packed)):
        code, said = collect(mest_run, example, data, pixels, label, "--json")
        assert (code, json.loads(said)) == (0, {"data": str(data), "added": 1, "samples": number + 1})
    assert data.read_bytes() == packed
    assert collect(mest_run, example, data, samples(packed)[0][1] * 3, 4, "--test") == (
        0,
        "added    3 of class 4\nsamples  12\n",
    )
    assert data.read_bytes()[HEAD + 9 * RECORD :] == (bytes([4, 0, 0, 0, 1, 0, 0, 0]) + samples(packed)[0][1]) * 3
    assert example.run(mest_run, "eval", "--data", data)["samples"] == 3


def test_what_a_loss_of_power_cut_off_is_written_over(mest_run: Path, example: Compiled, tmp_path: Path) -> None:  # noqa: F811
    """In the head, in a record, at its last byte: what was whole stays, and the next sample comes behind it."""
    packed, data = example.data.read_bytes(), tmp_path / "cut.data"
    for end in (0, 1, 47, 48, 49, 56, HEAD + RECORD - 1, HEAD + RECORD, HEAD + RECORD + 100):
        data.write_bytes(packed[:end])
        whole = max(0, end - HEAD) // RECORD
        label, pixels = samples(packed)[whole]
        assert collect(mest_run, example, data, pixels, label)[0] == 0
        assert data.read_bytes() == packed[: HEAD + (whole + 1) * RECORD], end


def test_two_collect_at_once(mest_run: Path, example: Compiled, tmp_path: Path) -> None:  # noqa: F811
    """Every sample of either is there, whole."""
    data, pixels = tmp_path / "shared.data", [bytes([value]) * PIXELS for value in (1, 2)]
    command = [mest_run, "collect", example.plan, "--data", data, "--quiet", "--label"]
    running = [subprocess.Popen([*map(str, command), str(k)], stdin=subprocess.PIPE) for k in (1, 2)]
    for process, one in zip(running, pixels, strict=True):
        process.stdin.write(one * 20)
        process.stdin.close()
    assert [process.wait(timeout=60) for process in running] == [0, 0]
    found = samples(data.read_bytes())
    assert sorted(found) == [(1, pixels[0])] * 20 + [(2, pixels[1])] * 20


def test_refusals(mest_run: Path, example: Compiled, tmp_path: Path) -> None:  # noqa: F811
    """One line and the exit code; a file that was there stays as it was."""
    whole, data = np.zeros(PIXELS, np.uint8).tobytes(), tmp_path / "kept.data"
    other = bytearray(example.data.read_bytes())
    other[32] = 9  # rows of a sample
    (tmp_path / "other.data").write_bytes(other)
    cases = [
        (data, whole, 5, (), 2, "allowed are 0 to 4"),
        (data, whole, "2x", (), 2, "whole number"),
        (data, whole, 1, ("--numbers", "float64"), 2, "must be uint8, int16 or float32"),
        (data, whole * 4, 1, ("--numbers", "float32"), 2, "takes pixels of LIBMEST_UINT8"),
        (data, b"\xff\xd8\xff\xe0\x00\x10JFIF" + whole, 1, (), 2, "is a JPEG file"),
        (data, b"\x89PNG\r\n\x1a\n" + whole, 1, (), 2, "is a PNG file"),
        (data, whole[:-1], 1, (), 2, "191 bytes after 0 samples that were added; a sample is 192 bytes, 3x8x8"),
        (data, b"", 1, (), 2, "0 bytes after 0 samples"),
        (tmp_path / "lost" / "new.data", whole, 1, (), 2, "where one can be begun"),
        (example.plan, whole, 1, (), 4, "is no data file"),
        (tmp_path / "other.data", whole, 1, (), 2, "pack the data for it"),
    ]
    kept = [path.read_bytes() for path in (example.plan, tmp_path / "other.data")]
    for path, raw, label, more, code, said in cases:
        found, line = collect(mest_run, example, path, raw, label, *more)
        assert (found, said in line, line.count("\n")) == (code, True, 1), (said, line)
    assert not data.exists()
    assert kept == [path.read_bytes() for path in (example.plan, tmp_path / "other.data")]
