"""What Weights & Biases itself keeps of a run: its own library, offline, and the file that `wandb sync` would send."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mest.cli import main

wandb = pytest.importorskip("wandb", reason="wandb is not installed (the extra wandb)")

RUN = ["train", "--model", "digits", "--data", "digits", "--device", "cpu", "--method", "ems", "--threads", "1", "-q"]
HEAD, BLOCK, PREFIX = 7, 32768, 7  # bytes: of the file's head, of a block, and before each part of a record
LAST = (1, 4)  # kinds of a part that ends its record: the whole of it, or the last of several


@pytest.fixture(autouse=True)
def _offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without a network, a login, or files beside the test's; and tensors this small are slower on several threads."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    for name in ("WANDB_PROJECT", "WANDB_NAME", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def records(path: Path) -> Iterator[Any]:
    """The messages of wandb's file: a log in blocks, in which a record may be cut into parts."""
    from wandb.proto.wandb_internal_pb2 import Record

    raw, at, whole = path.read_bytes(), HEAD, b""
    assert raw.startswith(b":W&B")
    while at + PREFIX <= len(raw):
        left = BLOCK - at % BLOCK
        if left < PREFIX:  # too little for another part: zeros
            at += left
            continue
        size, kind = int.from_bytes(raw[at + 4 : at + 6], "little"), raw[at + 6]
        whole += raw[at + PREFIX : at + PREFIX + size]
        at += PREFIX + size
        if kind in LAST:
            yield Record.FromString(whole)
            whole = b""


def history(record: Any) -> dict[str, float]:
    """A row of the run's history by name, without what wandb adds."""
    items = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
    return {name: value for name, value in items.items() if not name.startswith("_")}


def test_wandb_keeps_what_the_run_measured(tmp_path: Path) -> None:
    """Project, name, options and every epoch."""
    out = tmp_path / "run"
    assert main([*RUN, "--epochs", "2", "--log", "wandb:sparse", "--out", str(out)]) == 0
    (path,) = out.glob("wandb/offline-run-*/run-*.wandb")
    found = list(records(path))
    (run,) = (record.run for record in found if record.WhichOneof("record_type") == "run")
    assert (run.project, run.display_name) == ("sparse", "run")
    assert run.run_id == json.loads((out / "wandb.json").read_text())["id"]
    config = {entry.key: json.loads(entry.value_json) for entry in run.config.update}
    assert (config["model"], config["method"]) == ("digits", "ems")
    rows = [history(record) for record in found if record.WhichOneof("record_type") == "history"]
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["loss/train"] for row in rows[:2]] == [line["train_loss"] for line in metrics]
    assert [row["sparsity"] for row in rows[:2]] == [line["weight_sparsity"] for line in metrics]
    summary = json.loads((out / "summary.json").read_text())
    assert rows[2]["accuracy/test"] == summary["accuracy"]
