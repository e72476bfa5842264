"""Flower's entry of a server: the run's configuration becomes a strategy, and the rounds are run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from edge.errors import InputError
from edge.files.lock import holding
from edge.handover.artifact import open_artifact
from export.flower import records
from export.flower.given import typed
from export.flower.journal import Journal
from export.flower.layout import layout_of_artifact, weights_of
from export.flower.merging import MERGINGS, Merging
from export.flower.orders import Order
from export.flower.packing import pack_values
from export.flower.states import read_weights
from export.flower.strategy import Schedule, SparseRounds

_DEFAULTS: Mapping[str, Any] = {
    "rounds": 3,
    "masks": "shared",
    "mutate-every-rounds": 1,
    "min-nodes": 2,
    "share": 1.0,
    "wait-seconds": 600.0,
    "round-seconds": 3600.0,
}
app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds that the configuration asks for."""
    run(grid, context.run_config)


def run(grid: Grid, given: Mapping[str, Any]) -> SparseRounds:
    """The strategy after its rounds. `given` is a run's configuration as docs/federated.md describes it.

    An empty text is as good as none. Raises InputError for a value that is missing, of another type or not allowed.
    """
    given = {name: value for name, value in given.items() if value != ""}
    values = {name: typed(given, name, default, "run configuration") for name, default in _DEFAULTS.items()}
    artifact_path, out = _text(given, "artifact"), Path(_text(given, "out"))
    artifact = open_artifact(Path(artifact_path))
    layout = layout_of_artifact(artifact)
    weights = (
        read_weights(Path(str(given["start"])), layout)[0]
        if "start" in given
        else weights_of(layout, layout.parameters)
    )
    merging = merging_of(str(values["masks"]), int(values["mutate-every-rounds"]))
    if merging.client_mutates and "mutate" not in given:
        given = {**given, "mutate": "em"}
    order = Order.read(given, "run configuration")
    schedule = Schedule(values["rounds"], values["min-nodes"], values["share"], values["wait-seconds"])
    with holding(out):
        journal = Journal(out, artifact, layout, str(given["eval-data"]) if "eval-data" in given else None)
        strategy = SparseRounds(artifact, layout, weights, merging, order, schedule, journal)
        arrays = records.to_arrays(pack_values(weights.values, {}))
        strategy.start(grid, arrays, num_rounds=schedule.rounds, timeout=values["round-seconds"])
    return strategy


def merging_of(masks: str, every_rounds: int) -> Merging:
    """The way of merging by its name; raises InputError with those that there are."""
    if masks not in MERGINGS:
        raise InputError(f"masks {masks!r:.40}: allowed are {', '.join(MERGINGS)}")
    if every_rounds < 0:
        raise InputError(f"mutate-every-rounds {every_rounds}: must be 0 (never) or more")
    return MERGINGS[masks](every_rounds)


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value:
        raise InputError(f'run configuration: {name} is missing; give {name}="..."')
    return value
