"""Rankings as files, and the pickle reader against hostile ones."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle  # noqa: TID251 - the tests forge what the reader must refuse
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mest.errors import DamagedError, InputError
from mest.ranking.ranking import Provenance, Ranking, check_ranking, rank, read_ranking, write_ranking

COUNTS = np.array([3, 0, 2, 0, 9, 1], np.int64)
MADE_FROM = Provenance("digits", 6, "a1" * 32, "mest train --data digits", 3, "digits", 5, unseen=1)


def published(indices: Any, counts: Any, protocol: int = 3) -> bytes:
    return pickle.dumps({"indices": indices, "forgetting counts": counts}, protocol=protocol)


@pytest.mark.parametrize("suffix", [".npz", ".pkl"])
@pytest.mark.parametrize("provenance", [None, MADE_FROM])
def test_a_ranking_survives_writing_and_reading(tmp_path: Path, suffix: str, provenance: Provenance | None) -> None:
    """Both forms give back the order, the counts and the provenance."""
    ranking = rank(COUNTS, provenance)
    assert set(ranking.indices[:2].tolist()) == {1, 3}
    assert ranking.indices[2:].tolist() == [5, 2, 0, 4]
    assert ranking.counts.tolist() == [0, 0, 1, 2, 3, 9]
    write_ranking(tmp_path / f"r{suffix}", ranking)
    read = read_ranking(tmp_path / f"r{suffix}")
    assert read.indices.tolist() == ranking.indices.tolist()
    assert read.counts.tolist() == ranking.counts.tolist()
    assert read.indices.dtype == read.counts.dtype == np.int64
    assert read.provenance == provenance


def test_the_written_pickle_is_the_published_form(tmp_path: Path) -> None:
    """What others unpickle from our file is a dictionary of two int64 arrays under the published names."""
    write_ranking(tmp_path / "r.pkl", rank(COUNTS))
    loaded = pickle.loads((tmp_path / "r.pkl").read_bytes())
    assert list(loaded) == ["indices", "forgetting counts"]
    assert all(type(array) is np.ndarray and array.dtype == np.int64 for array in loaded.values())
    assert loaded["forgetting counts"].tolist() == [0, 0, 1, 2, 3, 9]


def test_equal_counts_take_from_every_class_alike() -> None:
    """Samples listed class by class, as folders list them, do not lose one class where counts are equal."""
    ranking = rank(np.zeros(10_000, np.int64))
    taken = np.bincount(ranking.indices[:2000] // 1000, minlength=10)
    assert taken.min() > 150
    assert taken.max() < 250
    assert rank(np.zeros(5, np.int64)).indices.tolist() == [2, 4, 1, 0, 3]  # by splitmix64: 06c4 1b39 6e78 e220 f88b


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("dtype", ["<i8", ">i8", "<i4", "<u2", "i1"])
@pytest.mark.parametrize("module", [b"numpy.core.", b"numpy._core."])
def test_every_protocol_and_integer_type_reads(tmp_path: Path, protocol: int, dtype: str, module: bytes) -> None:
    """Protocols 0 to 5, either byte order, and the module names of numpy 1 and 2."""
    indices = np.random.default_rng(0).permutation(100).astype(dtype)
    content = published(indices, np.arange(100).astype(dtype), protocol)
    own, names = (b"numpy._core.", b"numpy.core.") if b"numpy._core." in content else (b"numpy.core.", b"numpy._core.")
    if protocol < 4 and module != own:  # later protocols give the length of the text before it
        content = content.replace(own, names)
    (tmp_path / "r.pkl").write_bytes(content)
    ranking = read_ranking(tmp_path / "r.pkl")
    assert ranking.indices.tolist() == indices.tolist()
    assert ranking.counts.tolist() == list(range(100))


class Calls:
    """An object whose pickle calls a function when it is read."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def _raw(*parts: bytes) -> bytes:
    return b"\x80\x04" + b"".join(parts) + b"."


def hostile(sign: Path) -> dict[str, bytes]:
    """Pickles that would leave `sign` behind or hurt otherwise, by the way they try it."""
    touch = f"open({str(sign)!r}, 'w')"
    good = np.arange(3)
    array = pickle.dumps(good, protocol=2)[2:-1]
    return {
        "os.system": pickle.dumps(Calls(os.system, f"touch {sign}")),
        "builtins.eval": pickle.dumps(Calls(eval, touch)),
        "builtins.exec": pickle.dumps(Calls(exec, touch)),
        "nested getattr": _raw(b"cbuiltins\ngetattr\n(cos\nsystem\n\x8c\x08__call__tR(\x8c\x05touchtR"),
        "dotted name": _raw(b"\x8c\x05numpy\x8c\x10core.os.system\x93(\x8c\x02ls\x85R"),
        "a numpy function": _raw(b"cnumpy\nfromfile\n(\x8c\x09/dev/zerotR"),
        "numpy testing": _raw(b"cnumpy.testing._private.utils\nrunstring\n(\x8c\x01aN}tR"),
        "in a key": published(good, good).replace(b"X\x07\x00\x00\x00indices", b"cos\nsystem\n(X\x02\x00\x00\x00lstR"),
        "in a value": published(Calls(os.system, f"touch {sign}"), good),
        "behind a ranking": published(good, good)[:-1] + pickle.dumps(Calls(os.system, f"touch {sign}"))[2:],
        "after the end": published(good, np.zeros(2, int)) + pickle.dumps(Calls(os.system, f"touch {sign}")),
        "object instance": _raw(b"(ios\nsystem\n"),
        "new object": _raw(b"csubprocess\nPopen\n)\x81"),
        "extension": _raw(b"\x82\x01"),
        "persistent id": _raw(b"\x8c\x01aQ"),
        "out-of-band buffer": pickle.dumps(
            {"indices": good, "forgetting counts": good}, protocol=5, buffer_callback=lambda _: False
        ),
        "objects in an array": published(np.array([Calls(os.system, f"touch {sign}")], object), good),
        "objects by type": published(good, good).replace(b"i8", b"O8"),
        "floats": published(good.astype(float), good),
        "texts": published(np.array(["a"]), good),
        "records": published(np.zeros(3, [("a", "i8")]), good),
        "lists": published([0, 1, 2], [0, 0, 0]),
        "a huge shape": published(good, good).replace(b"K\x03\x85", b"\x8a\x05\x00\x00\x00\x00\x7f\x85"),
        "a huger shape": published(good, good).replace(b"K\x03\x85", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"),
        "a negative shape": published(good, good).replace(b"K\x03\x85", b"J\xfd\xff\xff\xff\x85"),
        "a shape of thousands of large numbers": published(good, good, 3).replace(
            b"K\x03\x85", b"(I" + b"9" * 4200 + b"\nq\x60" + b"h\x60" * 2000 + b"t"
        ),
        "a hundred thousand dictionaries": b"\x80\x04" + b"}" * 100_000 + b".",
        "a shape of texts": published(good, good).replace(b"K\x03\x85", b"\x8c\x01a\x85"),
        "a huge text": _raw(b"\x8d" + struct.pack("<Q", 1 << 62)),
        "a huge bytearray": _raw(b"\x96" + struct.pack("<Q", 1 << 40)),
        "a huge frame": _raw(b"\x95" + struct.pack("<Q", 1 << 62)),
        "a huge memo": _raw(b"}r" + struct.pack("<I", 0xFFFFFFFF)),
        "a large number": _raw(b"\x8b" + struct.pack("<i", 1 << 30)),
        "itself": _raw(b"}q\x00X\x07\x00\x00\x00indicesh\x00s"),
        "the array as its own shape": _raw(array, b"q\x20(K\x01h\x20h\x20\x89h\x20tb"),
        "a state for a dictionary": _raw(b"}}b"),
        "another name": pickle.dumps({"indices": good, "forgetting counts": good, "more": good}),
        "an array alone": pickle.dumps(good),
        "text": b"not a pickle at all",
        "nothing": b"",
        "cut short": published(good, good)[:-9],
    }


@pytest.mark.parametrize("attack", hostile(Path("sign")))
def test_a_hostile_pickle_executes_nothing(tmp_path: Path, attack: str) -> None:
    """Each attack is refused with one line, and what it wanted to do has not happened."""
    sign = tmp_path / "sign"
    (tmp_path / "r.pkl").write_bytes(hostile(sign)[attack])
    with pytest.raises(DamagedError) as refused:
        read_ranking(tmp_path / "r.pkl")
    assert not sign.exists()
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_a_small_file_cannot_ask_for_much_memory(tmp_path: Path) -> None:
    """A text of a million characters, turned into bytes ten thousand times, is never turned at all."""
    text = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20) + b"q\x00"
    turned = b"c_codecs\nencode\nq\x01" + b"h\x01h\x00\x8c\x06latin1\x86R" * 10_000
    (tmp_path / "r.pkl").write_bytes(_raw(text, turned))
    tracemalloc.start()
    with pytest.raises(DamagedError):
        read_ranking(tmp_path / "r.pkl")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 << 20


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_pickle_is_refused_or_reads_as_an_order(tmp_path: Path, seed: int) -> None:
    """Flipped bytes never raise anything but the refusal."""
    generator = np.random.default_rng(seed)
    content = bytearray(published(generator.permutation(50), np.arange(50), int(generator.integers(0, 6))))
    for _ in range(3):
        content[int(generator.integers(0, len(content)))] = int(generator.integers(0, 256))
    (tmp_path / "r.pkl").write_bytes(bytes(content))
    with contextlib.suppress(DamagedError):
        assert len(read_ranking(tmp_path / "r.pkl")) > 0


def test_what_is_no_order_is_refused(tmp_path: Path) -> None:
    """Not a permutation, falling or negative counts, two lengths, two dimensions: damaged."""
    order, counts = np.arange(4), np.array([0, 1, 1, 5])
    wrong = [(np.array([0, 1, 1, 3]), counts), (order + 1, counts), (order, counts[::-1].copy()), (order, counts - 1)]
    wrong += [(order[:3], counts), (order.reshape(2, 2), counts.reshape(2, 2)), (order[:0], counts[:0])]
    for indices, falling in wrong:
        (tmp_path / "r.pkl").write_bytes(published(indices, falling))
        with pytest.raises(DamagedError, match=r"r\.pkl: not a (pickled )?ranking"):
            read_ranking(tmp_path / "r.pkl")


def test_a_damaged_npz_is_refused(tmp_path: Path) -> None:
    """Objects, missing arrays, foreign provenance and cut files are damaged; nothing is unpickled."""
    path = tmp_path / "r.npz"
    good = {"indices": np.arange(3), "forgetting_counts": np.arange(3), "provenance": np.array("null")}
    objects = np.array([Calls(os.system, f"touch {tmp_path / 'sign'}")] * 3, object)
    wrong: list[dict[str, Any]] = [
        {**good, "indices": objects},
        {**good, "indices": np.arange(3.0)},
        {"indices": np.arange(3)},
        {**good, "provenance": np.array("{}")},
        {**good, "provenance": np.array(json.dumps({**vars(MADE_FROM), "samples": "3"}))},
        {**good, "provenance": np.array(json.dumps(vars(MADE_FROM)))},
        {**good, "provenance": np.array("{")},
    ]
    for arrays in wrong:
        np.savez(path, **arrays)
        with pytest.raises(DamagedError):
            read_ranking(path)
    write_ranking(path, rank(COUNTS))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DamagedError):
        read_ranking(path)
    assert not (tmp_path / "sign").exists()


@pytest.mark.parametrize("seed", range(60))
def test_flipped_bytes_of_an_npz_raise_nothing_but_the_refusal(tmp_path: Path, seed: int) -> None:
    """Whatever zip, zlib, numpy and json think of them."""
    generator = np.random.default_rng(seed)
    write_ranking(tmp_path / "r.npz", rank(generator.integers(0, 9, 300), None))
    content = bytearray((tmp_path / "r.npz").read_bytes())
    for _ in range(2):
        content[int(generator.integers(0, len(content)))] = int(generator.integers(0, 256))
    (tmp_path / "r.npz").write_bytes(bytes(content))
    with contextlib.suppress(DamagedError):
        assert len(read_ranking(tmp_path / "r.npz")) > 0


def test_what_an_npz_can_hide_is_refused(tmp_path: Path) -> None:
    """Members that are no arrays, a shape beyond all bounds, provenance nested without end, counts that wrap around."""
    header = b"\x93NUMPY\x01\x00v\x00{'descr': '<i8', 'fortran_order': False, 'shape': (%d,), }" % (1 << 70)
    deep = np.array("[" * 100_000)
    good = {"indices": np.arange(3), "forgetting_counts": np.arange(3), "provenance": np.array("null")}
    path = tmp_path / "r.npz"
    for change in (
        {"indices": b"no array"},
        {"indices": header.ljust(127) + b"\n"},
        {"provenance": deep},
        {"forgetting_counts": np.array([0, 2**63 - 1, -(2**63)])},
        {"forgetting_counts": np.zeros((3, 1), np.int64)},
    ):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in {**good, **change}.items():
                member = io.BytesIO()
                np.save(member, content) if isinstance(content, np.ndarray) else member.write(content)
                archive.writestr(f"{name}.npy", member.getvalue())
        with pytest.raises(DamagedError, match="not a ranking"):
            read_ranking(path)


@pytest.mark.parametrize("text", ["null", "3", '"x"', "[" * 100_000, "{"])
def test_a_sidecar_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    """The pickle beside it is not taken for one without provenance."""
    write_ranking(tmp_path / "r.pkl", rank(COUNTS, MADE_FROM))
    (tmp_path / "r.pkl.json").write_text(text)
    with pytest.raises(DamagedError, match="not a ranking"):
        read_ranking(tmp_path / "r.pkl")


def test_a_sidecar_belongs_to_its_pickle(tmp_path: Path) -> None:
    """A provenance written for another pickle, or edited, is refused."""
    write_ranking(tmp_path / "r.pkl", rank(COUNTS, MADE_FROM))
    beside = (tmp_path / "r.pkl.json").read_text()
    write_ranking(tmp_path / "r.pkl", rank(COUNTS[::-1].copy(), MADE_FROM))
    (tmp_path / "r.pkl.json").write_text(beside)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["r.pkl", "r.pkl.json"]
    with pytest.raises(DamagedError, match="belongs to another file"):
        read_ranking(tmp_path / "r.pkl")


def test_missing_files_and_other_endings_are_bad_input(tmp_path: Path) -> None:
    """A file that is not there, or of another kind, says what is allowed."""
    with pytest.raises(InputError, match=r"r\.pkl: no such file"):
        read_ranking(tmp_path / "r.pkl")
    (tmp_path / "r.json").write_text("{}")
    with pytest.raises(InputError, match=r"a \.npz or \.pkl file"):
        read_ranking(tmp_path / "r.json")
    with pytest.raises(InputError, match=r"written as \.npz or \.pkl"):
        write_ranking(tmp_path / "r.json", rank(COUNTS))


def test_a_ranking_of_other_data_is_refused() -> None:
    """Length and checksum must be those of the data; an unknown origin is taken for cifar10 or on request alone."""
    known, unknown = rank(COUNTS, MADE_FROM), rank(COUNTS)
    check_ranking(known, "npz:renamed.npz", 6, MADE_FROM.checksum)
    check_ranking(unknown, "cifar10", 6, "any")
    check_ranking(unknown, "digits", 6, "any", unchecked=True)
    for unchecked in (False, True):
        with pytest.raises(InputError, match="6 samples for digits with 7"):
            check_ranking(known, "digits", 7, MADE_FROM.checksum, unchecked)
        with pytest.raises(InputError, match="6 samples for cifar10 with 7"):
            check_ranking(unknown, "cifar10", 7, "any", unchecked)
        with pytest.raises(InputError, match=r"of digits .* for cifar10"):
            check_ranking(known, "cifar10", 6, "b2" * 32, unchecked)
    with pytest.raises(DamagedError, match="add unchecked"):
        check_ranking(unknown, "imagefolder:cifar", 6, "any")


def test_a_file_of_the_published_shape_loads(tmp_path: Path) -> None:
    """50,000 samples with 15,254 never forgotten, as published, are read and taken for cifar10."""
    generator = np.random.default_rng(1)
    counts = np.sort(np.r_[np.zeros(15254, int), generator.integers(1, 36, 50000 - 15254)])
    (tmp_path / "r.pkl").write_bytes(published(generator.permutation(50000), counts))
    _is_published(read_ranking(tmp_path / "r.pkl"))


@pytest.mark.skipif("MEST_PUBLISHED_RANKING" not in os.environ, reason="MEST_PUBLISHED_RANKING names no file")
def test_the_published_file_loads() -> None:
    """The file itself, where it is at hand."""
    _is_published(read_ranking(Path(os.environ["MEST_PUBLISHED_RANKING"])))


def _is_published(ranking: Ranking) -> None:
    assert len(ranking) == 50000
    assert int((ranking.counts == 0).sum()) == 15254
    check_ranking(ranking, "cifar10", 50000, "any")
    assert ranking.provenance is None
