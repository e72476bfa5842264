"""Rankings of training samples by forgetting count, with what they were computed from.

A ranking is a file in one of two forms, told apart by the ending:

- `*.npz`: arrays `indices` and `forgetting_counts`, and `provenance` as JSON text;
- `*.pkl`: the published form, a dictionary of `indices` and `forgetting counts`, with the provenance beside it in
  `*.pkl.json` (the published file itself has none). It is read by `mest.ranking.restricted_pickle`.

Indices always mean the full training set, before a validation split. An order of samples is worth nothing for other
data, so a ranking names its data by length and checksum (`mest.data.DataSet.checksum`) and is refused for any other.
One without a checksum is taken for `cifar10`, whose order every copy shares, or with `--ranking-unchecked`.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mest.durable import write_durably, write_json
from mest.errors import DamagedError, InputError, MestError
from mest.packaged import resolve_packaged
from mest.ranking.forgetting import Indices
from mest.ranking.restricted_pickle import MOST_BYTES, MOST_SAMPLES, pickle_integer_arrays, read_integer_arrays
from mest.spelling import named

PICKLE_NAMES = frozenset({"indices", "forgetting counts"})
ASSUMED_DATA = "cifar10"


@dataclass(frozen=True)
class Provenance:
    """What made a ranking: the data (name, number of training samples, SHA-256), the command, its seed and model.

    `epochs` were trained when the counts were taken; `unseen` samples were never presented, because a validation split
    held them out: they rank among the never-learned ones. Samples that a ranking file removed before they were ever
    presented come first, in the order of that file.
    """

    dataset: str
    samples: int
    checksum: str
    command: str
    seed: int
    model: str
    epochs: int
    unseen: int = 0


@dataclass(frozen=True, eq=False)
class Ranking:
    """Sample indices (n,), the least forgotten first, with their counts (n,) in that order."""

    indices: Indices
    counts: Indices
    provenance: Provenance | None = None

    def __post_init__(self) -> None:
        """Raise ValueError unless this is an order of samples: a permutation, counts from 0 up, never falling."""
        size = self.indices.size
        if self.indices.shape != (size,) or self.counts.shape != (size,) or size == 0:
            raise ValueError(f"indices {self.indices.shape} and counts {self.counts.shape}, expected (n,) twice")
        if not np.array_equal(np.sort(self.indices), np.arange(size)):
            raise ValueError(f"the indices are no permutation of 0 to {size - 1}")
        if self.counts[0] < 0 or (self.counts[1:] < self.counts[:-1]).any():
            raise ValueError("the forgetting counts are not sorted from the least forgotten up")
        if self.provenance is not None and self.provenance.samples != size:
            raise ValueError(f"{size} indices, but the provenance names {self.provenance.samples} samples")

    def __len__(self) -> int:
        return self.indices.size


def rank(counts: Indices, provenance: Provenance | None = None) -> Ranking:
    """The ranking of samples with these forgetting counts (n,).

    Equal counts rank in a fixed order that has nothing to do with the index: folders list their images class by class,
    and thousands of samples share a count, so by index the first classes would lose them all.
    """
    order = np.lexsort((_scattered(counts.size), counts)).astype(np.int64)
    return Ranking(order, counts[order].astype(np.int64), provenance)


def _scattered(size: int) -> npt.NDArray[np.uint64]:
    """A different number for each index (size,), the same everywhere and always: the splitmix64 sequence."""
    mixed = (np.arange(1, size + 1, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def write_ranking(path: Path, ranking: Ranking) -> None:
    """Write `ranking` to a `.npz` file, or to a `.pkl` file with its provenance in `.pkl.json` beside it.

    A full disk leaves no half of one.
    """
    if path.suffix == ".npz":
        provenance = np.array(json.dumps(_as_dict(ranking.provenance), sort_keys=True))
        content = io.BytesIO()
        arrays = {"indices": ranking.indices, "forgetting_counts": ranking.counts, "provenance": provenance}
        np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
        write_durably(path, lambda file: file.write(content.getbuffer()))
    elif path.suffix == ".pkl":
        pickled = pickle_integer_arrays({"indices": ranking.indices, "forgetting counts": ranking.counts})
        _sidecar(path).unlink(missing_ok=True)
        write_durably(path, lambda file: file.write(pickled))
        if ranking.provenance is not None:
            beside = {**asdict(ranking.provenance), "sha256": hashlib.sha256(pickled).hexdigest()}
            write_json(_sidecar(path), beside)
    else:
        raise InputError(f"{path}: a ranking is written as .npz or .pkl; give one of these endings")


def read_ranking(path: Path) -> Ranking:
    """The ranking in a `.npz` or `.pkl` file, here or among the packaged ones (`pkl/...`).

    Raises InputError if there is none, DamagedError if it is not one.
    """
    if path.suffix not in (".npz", ".pkl"):
        raise InputError(f"{path}: a ranking is a .npz or .pkl file; mest train --write-ranking writes one")
    path = resolve_packaged(path)
    try:
        return _read_npz(path) if path.suffix == ".npz" else _read_pickle(path)
    except (MestError, OSError):
        raise
    except Exception as damaged:  # what zip, zlib, numpy and json raise on damaged bytes is no short list
        reason = str(damaged).splitlines()[0] if str(damaged) else type(damaged).__name__
        raise DamagedError(f"{path}: not a ranking ({reason})") from None


def check_ranking(ranking: Ranking, dataset: str, samples: int, checksum: str, unchecked: bool = False) -> None:
    """Raise unless `ranking` orders the training samples of this data.

    InputError where it orders other data; DamagedError where it does not say what it orders, the data is not `cifar10`
    and `unchecked` does not vouch for it. The number of samples must fit in any case.
    """
    if len(ranking) != samples:
        raise InputError(
            f"a ranking of {len(ranking)} samples for {dataset} with {samples}; "
            "give the ranking of these data, over the training set before any validation split"
        )
    made_from = ranking.provenance
    if made_from is not None and made_from.checksum != checksum:
        raise InputError(
            f"a ranking of {made_from.dataset} (checksum {made_from.checksum[:12]}) for {dataset} "
            f"(checksum {checksum[:12]}): the samples differ; compute one with mest train --write-ranking"
        )
    if made_from is None and dataset != ASSUMED_DATA and not unchecked:
        raise DamagedError(
            f"a ranking that does not say which data it orders is only taken for {ASSUMED_DATA}, not for {dataset}; "
            f"add {named('unchecked')} if its indices mean these data"
        )


def _read_npz(path: Path) -> Ranking:
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes unpacked")
    with np.load(path, allow_pickle=False) as file:
        indices, counts, text = file["indices"], file["forgetting_counts"], file["provenance"]
    if indices.dtype.kind not in "iu" or counts.dtype.kind not in "iu" or text.dtype.kind != "U":
        raise ValueError(f"arrays of {indices.dtype}, {counts.dtype} and {text.dtype}")
    if indices.shape != counts.shape or indices.size > MOST_SAMPLES:
        raise ValueError(f"arrays of {indices.shape} and {counts.shape}; at most {MOST_SAMPLES} samples each")
    return Ranking(indices.astype(np.int64), counts.astype(np.int64), _from_dict(json.loads(str(text))))


def _read_pickle(path: Path) -> Ranking:
    arrays = read_integer_arrays(path, PICKLE_NAMES)
    provenance = None
    if _sidecar(path).is_file():
        beside = json.loads(_sidecar(path).read_text())
        if not isinstance(beside, dict) or beside.pop("sha256", None) != hashlib.sha256(path.read_bytes()).hexdigest():
            raise ValueError(f"{_sidecar(path).name} belongs to another file")
        provenance = _from_dict(beside)
    return Ranking(arrays["indices"], arrays["forgetting counts"], provenance)


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _as_dict(provenance: Provenance | None) -> dict[str, Any] | None:
    return None if provenance is None else asdict(provenance)


def _from_dict(given: Any) -> Provenance | None:
    """The provenance in parsed JSON; raises ValueError for anything else."""
    if given is None:
        return None
    kinds = {field.name: {"str": str, "int": int}[str(field.type)] for field in fields(Provenance)}
    if not isinstance(given, dict) or {name: type(value) for name, value in given.items()} != kinds:
        raise ValueError(f"its provenance does not have exactly {', '.join(kinds)}")
    return Provenance(**given)
