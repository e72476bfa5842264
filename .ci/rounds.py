"""Rounds by Flower's real processes, as docs/federated.md says it: a SuperLink and three SuperNodes with certificates.

usage: rounds.py ARTIFACT WORK     ARTIFACT classifies digits; `python` has flwr, and this checkout on its path

Two rounds under a shared mask, then two with masks that the clients move, in whose second round one client is killed.
Every SuperNode is known by its key, every connection is encrypted. One of the others speaks for two boards behind a
real sshd on 127.0.0.1, where one is installed. Both joint networks must be better than what a client reaches alone in
as many epochs, on average: two rounds are few. How they compare with the best one: `python -m bench.federated`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "builders")]

from board_wheels import PYTHON, write_wheels  # noqa: E402
from loopback_sshd import MISSING, Sshd, loopback_sshd  # noqa: E402

from bench.federated import BATCH, BUDGET, CLIENTS, RATE, finetuned, mest, saved, split  # noqa: E402
from bench.federated_flower import Federation, federation  # noqa: E402
from edge.host.limits import parse_size  # noqa: E402

LAST = CLIENTS - 1  # the client that is killed
GATEWAY, BOARDS = 1, ("one", "two")  # the client that speaks for boards, and these
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
    boards = () if MISSING else BOARDS
    with ExitStack() as ends:
        if boards:
            server = ends.enter_context(loopback_sshd(work / "sshd", boards))
            clients[GATEWAY] |= gateway(work, server, artifact, parts[GATEWAY])
        else:
            print(f"LEFT OUT, a client that speaks for boards: {MISSING}")
        nodes = ends.enter_context(federation(work / "flower", clients, secured=True))
        shared = told(nodes, work / "shared", {**given, "min-nodes": CLIENTS})
        own = {"masks": "clients", "mutate-every": 10, "min-nodes": LAST}
        moving = told(nodes, work / "clients", {**given, **own}, kill=work / f"client-{LAST}" / "end")
    for one in (*shared, *moving):
        assert 2 * one["bytes_up"] < len(one["clients"]) * one["dense_bytes"], one
        assert len(peaks(one)) == len(one["clients"]) + max(len(boards) - 1, 0), one
    # The server leaves its mask after the last quarter of the rounds, here after the second.
    assert [one["masks_moved"] for one in (*shared, *moving)] == [True, False, True, True]
    assert [len(one["clients"]) for one in (*shared, *moving)] == [CLIENTS, CLIENTS, CLIENTS, LAST]
    assert [len(one["left_out"]) for one in (*shared, *moving)] == [0, 0, 0, 1], moving
    scores = [one["score"] for one in (*shared, *moving)]
    assert min(scores[1], scores[3]) > fmean(alone), (alone, scores)
    peak = max(peak for one in (*shared, *moving) for peak in peaks(one))
    assert peak <= parse_size(BUDGET), peak
    print(
        f"{CLIENTS} SuperNodes, one for {len(boards)} boards: accuracy {before:.3f}, each alone {alone}; shared"
        f" mask {scores[0]:.3f} {scores[1]:.3f}, clients' masks {scores[2]:.3f} {scores[3]:.3f} with one client killed;"
        f" at most {shared[0]['bytes_up']} bytes up of {CLIENTS * shared[0]['dense_bytes']}, peak {peak} of {BUDGET}"
    )


def gateway(work: Path, server: Sshd, artifact: Path, part: Path) -> dict[str, Any]:
    """The configuration of a client that speaks for the boards. They get the artifact, and half of the data each."""
    with np.load(part) as file:
        images, labels = file["images"], file["labels"]
    for number, name in enumerate(BOARDS):
        saved(work / f"{name}.npz", images[number :: len(BOARDS)], labels[number :: len(BOARDS)])
    python = str(Path(sys.base_prefix) / "bin" / f"python{PYTHON}")
    words = ("--ssh-config", server.config, "--board-python", python, "--wheels", write_wheels(work / "wheels"))
    mest("deploy", artifact, *BOARDS, *words, "--out", work / "home")
    (work / "boards.yaml").write_text(json.dumps({"boards": BOARDS}))
    there = {"boards": str(work / "boards.yaml"), "data": str(work / "{board}.npz")}
    return {**there, "board-python": python, "ssh-config": str(server.config)}


def peaks(one: Mapping[str, Any]) -> list[int]:
    """The measured peak of every client and board of a round."""
    return [
        value
        for figures in one["clients"].values()
        for name, value in figures.items()
        if name.rpartition("/")[2] == "measured-peak-bytes"
    ]


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
