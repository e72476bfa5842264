"""Many boards as one client: each trains from the same weights, and what they made is one update."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from logging import INFO, getLogger
from typing import Any

from edge.chance import mix
from edge.errors import EdgeError, InputError
from edge.handover.artifact import Artifact
from export.deploy.channel import Channel
from export.deploy.home import folder_of
from export.deploy.persistence import Persistence
from export.deploy.rollout import Outcome, roll_out
from export.flower.averaging import Update
from export.flower.board_round import BoardRound, place_on
from export.flower.boards import Boards
from export.flower.layout import Layout, Weights
from export.flower.merging import together
from export.flower.orders import Order, Place
from export.flower.rounds import Trained
from mest.errors import MestError

_FOLDER = "boards"
_SAID = getLogger("flwr")


def train_on_boards(
    boards: Boards,
    place: Place,
    artifact: Artifact,
    layout: Layout,
    weights: Weights,
    order: Order,
    wants_scores: bool = False,
) -> Trained:
    """What the boards made of these weights, as one client's update; those that failed are in `left_out`.

    Raises InputError with the lines of all of them where none trained.
    """
    channels = boards.channels()
    until = time.monotonic() + boards.seconds
    late = False

    def over() -> bool:
        nonlocal late
        if not late and time.monotonic() > until:
            late = True
            for channel in channels.values():
                channel.close()
        return late

    def serve(name: str) -> Outcome:
        def say(text: str) -> None:
            _SAID.log(INFO, "%s: %s", name, text)

        own = order.seeded(mix(order.seed, [one.name for one in boards.listed].index(name)))
        try:
            there = _round_of(channels[name], place, name, say)
            done = there.train(artifact, layout, weights, own, wants_scores)
        except (EdgeError, MestError, OSError) as error:
            return {"exit_code": 1, "refused": f"did not end within {boards.seconds:g} s" if late else str(error)}
        return {"exit_code": 0, "trained": done}

    names = list(channels)
    (stage,) = roll_out(names, [len(names)], serve, at_once=boards.at_once, heed=False, stopped=over)
    served = {name: stage.served[name] for name in stage.boards if name in stage.served}
    left_out = [f"{name}: {served[name]['refused']}" for name in stage.failed]
    left_out += [f"{name}: its turn did not come within {boards.seconds:g} s" for name in stage.not_begun]
    done = {name: one["trained"] for name, one in served.items() if not one["exit_code"]}
    if not done:
        raise InputError(f"no board trained: {'; '.join(left_out)}")
    return as_one(layout, place.name, done, left_out)


def as_one(layout: Layout, name: str, done: Mapping[str, Trained], left_out: list[str]) -> Trained:
    """The boards' outcomes as that of one client, with the figures of each under its name."""
    updates = [Update(board, one.samples, one.weights, one.scores) for board, one in done.items()]
    joint = together(layout, name, updates)
    facts: dict[str, int | float] = {"boards": len(done), "boards-left-out": len(left_out)}
    for board, one in done.items():
        facts |= {f"{board}/num-examples": one.samples}
        facts |= {f"{board}/{fact}": value for fact, value in one.facts.items()}
    plans: dict[str, Any] = {board: json.loads(one.plan) for board, one in done.items()}
    plan = json.dumps(plans, sort_keys=True)
    return Trained(joint.weights, joint.samples, facts, plan, joint.scores, tuple(left_out))


def _round_of(channel: Channel, place: Place, name: str, say: Callable[[str], None]) -> BoardRound:
    folder = place.work / _FOLDER / folder_of(name)
    return BoardRound(Persistence(channel, say), folder, place_on(place, name))
