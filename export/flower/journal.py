"""What a federated run leaves: after every round the joint weights as a state, and a line about the round."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge.handover.artifact import Artifact
from export.flower.layout import Layout, Weights
from export.flower.rounds import evaluate
from export.flower.states import write_weights

STATE, ROUNDS = "state", "rounds.jsonl"


@dataclass(frozen=True)
class Told:
    """What is told of a round. Bytes are payload: values, scores and masks.

    `clients` has the figures of each whose update was taken; `left_out` a line for each other one. `dense_bytes` is
    what the values of all parameters would take one way, for one client.
    """

    number: int
    clients: Mapping[str, Mapping[str, Any]]
    left_out: Sequence[str]
    bytes_down: int
    bytes_up: int
    dense_bytes: int
    seconds: float
    masks_sha256: str
    masks_moved: bool
    score: float | None = None


class Journal:
    """The folder of a run."""

    def __init__(self, folder: Path, artifact: Artifact, layout: Layout, eval_data: str | None = None) -> None:
        """`eval_data` is what every round's weights are judged by, here, in a process of its own."""
        self._folder = folder
        self._artifact = artifact
        self._layout = layout
        self._eval_data = eval_data
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def state(self) -> Path:
        """The joint weights after the last round, for any command that takes a state."""
        return self._folder / STATE

    def keep(self, number: int, weights: Weights) -> float | None:
        """Write the weights after a round; their score on the server's data, None without any."""
        write_weights(self.state, self._artifact, self._layout, weights, {"federated": {"round": number}})
        if self._eval_data is None:
            return None
        found = evaluate(self.state, self._eval_data)
        score = found.get("accuracy", found.get("metric"))
        return None if score is None else float(score)

    def tell(self, told: Told) -> None:
        """Add a line of JSON."""
        with open(self._folder / ROUNDS, "a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(told), allow_nan=False) + "\n")
