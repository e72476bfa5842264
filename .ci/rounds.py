"""Rounds by Flower's real processes, as docs/federated.md says it: a SuperLink and three SuperNodes with certificates.

usage: rounds.py ARTIFACT WORK     ARTIFACT classifies digits; `python` has flwr, and this checkout on its path

Two rounds under a shared mask, then two with masks that the clients move, in whose second round one client is killed.
Every SuperNode is known by its key, every connection is encrypted. Both joint networks must be better than what any
client reaches alone in as many epochs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from bench.federated import BATCH, BUDGET, CLIENTS, RATE, finetuned, mest, split
from bench.federated_flower import Federation, federation

LAST = CLIENTS - 1  # the client that is killed
ROUNDS, EPOCHS = 2, 3


def main() -> None:
    """Run both and hold every round to what it should be."""
    artifact, work = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    work.mkdir()
    parts, held = split(work)
    before = mest("eval", artifact, "--data", held)["accuracy"]
    alone = [
        finetuned(work, artifact, part, held, f"alone-{number}", ROUNDS * EPOCHS) for number, part in enumerate(parts)
    ]
    clients = [
        {"artifact": str(artifact), "data": str(part), "work": str(work / f"client-{number}"), "threads": 1}
        | {"memory-budget": BUDGET, "name": f"board-{number}", "partition-id": number}
        for number, part in enumerate(parts)
    ]
    given = {"artifact": str(artifact), "eval-data": str(held), "rounds": ROUNDS, "epochs": EPOCHS}
    given |= {"learning-rate": RATE, "batch-size": BATCH}
    with federation(work / "flower", clients, secured=True) as nodes:
        shared = told(nodes, work / "shared", {**given, "min-nodes": CLIENTS})
        own = {"masks": "clients", "mutate-every": 10, "min-nodes": LAST}
        moving = told(nodes, work / "clients", {**given, **own}, kill=work / f"client-{LAST}" / "end")
    for one in (*shared, *moving):
        assert 2 * one["bytes_up"] < len(one["clients"]) * one["dense_bytes"], one
        for figures in one["clients"].values():
            assert figures["measured-peak-bytes"] <= figures["budget-bytes"], figures
    # The server leaves its mask after the last quarter of the rounds, here after the second.
    assert [one["masks_moved"] for one in (*shared, *moving)] == [True, False, True, True]
    assert [len(one["clients"]) for one in (*shared, *moving)] == [CLIENTS, CLIENTS, CLIENTS, LAST]
    assert [len(one["left_out"]) for one in (*shared, *moving)] == [0, 0, 0, 1], moving
    scores = [one["score"] for one in (*shared, *moving)]
    assert min(scores[1], scores[3]) > max(alone), (alone, scores)
    peak = max(each["measured-peak-bytes"] for one in (*shared, *moving) for each in one["clients"].values())
    print(
        f"{CLIENTS} SuperNodes: accuracy {before:.3f}, each alone {alone}; shared mask {scores[0]:.3f}"
        f" {scores[1]:.3f}, clients' masks {scores[2]:.3f} {scores[3]:.3f} with one client killed; at most"
        f" {shared[0]['bytes_up']} bytes up of {CLIENTS * shared[0]['dense_bytes']} dense, peak {peak} of {BUDGET}"
    )


def told(nodes: Federation, out: Path, given: dict[str, Any], kill: Path | None = None) -> list[dict[str, Any]]:
    """What is told of each round; with `kill`, where the last client trains, that one ends there in the second."""
    rounds, left = out / "rounds.jsonl", kill is not None

    def watch() -> None:
        nonlocal left
        # `begin` is written anew for every round, and `end` removed before it.
        if left and kill is not None and rounds.exists() and not kill.exists():
            nodes.kill(LAST)
            left = False

    nodes.run(out, given, watch)
    assert not left, "nobody was killed"
    return [json.loads(line) for line in rounds.read_text().splitlines()]


if __name__ == "__main__":
    main()
