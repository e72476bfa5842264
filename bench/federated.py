"""Three real Flower clients with different classes: the joint network beside each client's own, and what it took.

    python -m bench.federated                            (needs the extras train, export and flower; some minutes)
    python -m bench.federated --out FILE                 (a JSON record as well)

The digits that come with mest, as another sensor gives them (negative, a pixel to the right), in three parts: most of
a class is at one client. All start from one artifact, 90 % of whose weights are gone in blocks, trained on the digits
as they were; every client is a SuperNode whose fine-tuning runs within its budget. Once the server moves the shared
mask, once every client its own, and once a client is killed while it trains in the second round.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.circumstances import circumstances
from bench.federated_flower import ROOT, Federation, federation
from bench.step_network import residual_network
from edge.network import Network
from export.flower.layout import layout_of, weights_of
from export.flower.packing import pack_masks, pack_values
from mest.packaged import DATA_SETS

CLIENTS, CLASSES = 3, 10
HELD = 400  # images that no client has
SHARE = 0.9  # of a class's images at its own client
ROUNDS, EPOCHS, RATE, BATCH = 8, 2, 0.05, 16
BUDGET = "40MiB"
MIB = 2**20


@dataclass(frozen=True)
class Run:
    """A federated run: the score on held-out images after each round, and per round bytes and the clients' figures."""

    name: str
    scores: list[float]
    rounds: list[dict[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="a JSON file for the record")
    parser.add_argument("--work", type=Path, help="where logs and states stay; default: a folder that is removed")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mest-bench-") as name:
        work = (args.work or Path(name)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        record = measured(work)
    show(record)
    if args.out:
        args.out.write_text(json.dumps(record, indent=1) + "\n")


def measured(work: Path) -> dict[str, Any]:
    """Everything that is shown."""
    artifact = trained(work)
    parts, held = split(work)
    before = mest("eval", artifact, "--data", held)["accuracy"]
    alone = [finetuned(work, artifact, part, held, f"alone-{number}") for number, part in enumerate(parts)]
    together = finetuned(work, artifact, everything(work, parts), held, "together")
    clients = [
        {
            "artifact": str(artifact),
            "data": str(part),
            "work": str(work / f"client-{number}"),
            "memory-budget": BUDGET,
            "name": f"board-{number}",
            "threads": 1,
            "partition-id": number,
        }
        for number, part in enumerate(parts)
    ]
    given = {"artifact": str(artifact), "eval-data": str(held), "rounds": ROUNDS, "min-nodes": CLIENTS}
    given |= {"epochs": EPOCHS, "learning-rate": RATE, "batch-size": BATCH}
    own = {"masks": "clients", "mutate-every": 10}
    killed = {"rounds": 3, "min-nodes": CLIENTS - 1, "epochs": 10}
    with federation(work / "flower", clients) as nodes:
        runs = [run(nodes, work, "shared", given), run(nodes, work, "clients", {**given, **own})]
        peaks = [nodes.peak_bytes(number) for number in range(CLIENTS)]
        runs.append(run(nodes, work, "killed", {**given, **killed}))
    return {
        "circumstances": circumstances(("numpy", "flwr")),
        "budget_bytes": int(BUDGET.removesuffix("MiB")) * MIB,
        "settings": {"rounds": ROUNDS, "epochs": EPOCHS, "learning_rate": RATE, "batch_size": BATCH},
        "images": [len(np.load(part)["labels"]) for part in parts],
        "before": before,
        "alone": alone,
        "together": together,
        "supernode_peak_bytes": peaks,
        "runs": [asdict(one) for one in runs],
        "payload": {scheme: payload(residual_network(scheme, 0.9)) for scheme in ("irregular", "block")},
    }


def payload(network: Network) -> dict[str, int]:
    """Bytes of a network's values and masks as they travel one way, and of its dense values."""
    layout = layout_of(network)
    weights = weights_of(layout, layout.parameters)
    values = sum(len(data) for data in pack_values(weights.values, {}).values())
    return {"values": values, "masks": len(pack_masks(layout, weights.masks)), "dense": layout.dense_bytes}


def run(nodes: Federation, work: Path, name: str, given: Mapping[str, Any]) -> Run:
    """A run; in the one called killed the last client's processes end while it trains in the second round."""
    out, begun = work / f"out-{name}", work / f"client-{CLIENTS - 1}"
    left = {"kill": name == "killed"}

    def watch() -> None:
        first = (out / "rounds.jsonl").exists()
        if left["kill"] and first and (begun / "end" / "state.json").exists() is False and (begun / "begin").exists():
            nodes.kill(CLIENTS - 1)
            left["kill"] = False

    nodes.run(out, given, watch)
    rounds = [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]
    return Run(name, [one["score"] for one in rounds], rounds)


def trained(work: Path) -> Path:
    """An artifact of the digits as they were."""
    words = ("--data", "digits", "--model", "digits", "--scheme", "block", "--sparsity", 0.9, "--method", "em")
    mest("train", *words, "--epochs", 20, "--out", work / "run")
    mest("export", work / "run", "--out", work / "artifact")
    return work / "artifact"


def split(work: Path) -> tuple[list[Path], Path]:
    """The other sensor's images: a file a client, and one that nobody trains on."""
    with np.load(DATA_SETS["digits"]) as file:
        images, labels = 255 - np.roll(file["images"].reshape(-1, 8, 8), 1, axis=2), file["labels"].astype(np.int64)
    random = np.random.default_rng(0)
    order = random.permutation(len(labels))
    held, rest = order[:HELD], order[HELD:]
    at_own = random.random(len(rest)) < SHARE
    elsewhere = random.integers(1, CLIENTS, len(rest))
    client = (labels[rest] + np.where(at_own, 0, elsewhere)) % CLIENTS
    parts = []
    for number in range(CLIENTS):
        chosen = rest[client == number]
        parts.append(saved(work / f"part-{number}.npz", images[chosen], labels[chosen]))
    return parts, saved(work / "held.npz", images[held], labels[held])


def everything(work: Path, parts: Sequence[Path]) -> Path:
    """All parts in one file, as if data could travel."""
    found = [dict(np.load(part)) for part in parts]
    images, labels = (np.concatenate([each[name] for each in found]) for name in ("images", "labels"))
    return saved(work / "together.npz", images, labels)


def saved(path: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    np.savez(path, images=images, labels=labels)
    return path


def finetuned(work: Path, artifact: Path, data: Path, held: Path, name: str, epochs: int = ROUNDS * EPOCHS) -> float:
    """Held-out accuracy after so many epochs, by default as many as the rounds have together."""
    words = ("--epochs", epochs, "--lr", RATE, "--lr-scheduler", "constant", "--batch-size", BATCH)
    words += ("--memory-budget", BUDGET, "--threads", 1, "--engine", "native", "--eval-data", held, "--hold-out", 0)
    result = mest("finetune", artifact, "--out", work / name, "--data", data, *words)
    return float(result["accuracy_after"])


def mest(*words: object) -> dict[str, Any]:
    """The answer of a command in a process of its own."""
    command = [sys.executable, "-m", "mest", *map(str, words), "--json", "--quiet"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def show(record: Mapping[str, Any]) -> None:
    facts = record["circumstances"]
    print(f"{facts['machine']}, {facts['cores']} cores; {facts['versions']}; commit {facts['commit']}\n")
    alone = ", ".join(f"{each:.1%}" for each in record["alone"])
    print(
        f"images {record['images']}; before {record['before']:.1%}; alone {alone}; together {record['together']:.1%}\n"
    )
    print("| run | round | clients | accuracy | bytes down | up | dense | mask moved | highest peak | s | left out |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for one in record["runs"]:
        for told in one["rounds"]:
            clients = told["clients"].values()
            both = 2 * told["dense_bytes"] * len(clients)
            peak = max((each.get("measured-peak-bytes", 0) for each in clients), default=0) / MIB
            print(
                f"| {one['name']} | {told['number']} | {len(clients)} | {told['score']:.1%} | {told['bytes_down']:,} | "
                f"{told['bytes_up']:,} | {both:,} | {'yes' if told['masks_moved'] else 'no'} | {peak:.1f} MiB | "
                f"{told['seconds']:.1f} | {'; '.join(told['left_out'])} |"
            )
    held = ", ".join("not known" if each is None else f"{each / MIB:.0f}" for each in record["supernode_peak_bytes"])
    print("\n| resnet32, 90 % | values | masks | dense |\n|---|---|---|---|")
    for scheme, sizes in record["payload"].items():
        print(f"| {scheme} | {sizes['values']:,} | {sizes['masks']:,} | {sizes['dense']:,} |")
    print(f"\nbudget {record['budget_bytes'] / MIB:.0f} MiB a client; SuperNodes themselves {held} MiB")


if __name__ == "__main__":
    main()
