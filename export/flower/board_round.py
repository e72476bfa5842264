"""One board's part of a round: a state goes there over ssh, is fine-tuned within the budget, and comes back.

What a board sends is looked at like a stranger's: whole masks, finite values, no other mask than was asked for.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge.errors import InputError
from edge.handover.artifact import Artifact
from edge.handover.state import STATE_FILE
from edge.install.archive import Member
from edge.install.archive import Place as Bytes
from edge.install.bundle import ARTIFACT
from export.deploy.copying import arrived, fed
from export.deploy.data import THERE, Data, read_data
from export.deploy.home import ANSWER, read_answer
from export.deploy.persistence import Persistence, number_of
from export.flower.boards import BOARD
from export.flower.layout import ENGINE, Layout, Weights
from export.flower.merging import mutable, stored_units
from export.flower.orders import Order, Place
from export.flower.packing import digest_of, pack_masks, pack_values, unpack_masks, unpack_scores, unpack_values
from export.flower.rounds import Trained, trained
from export.flower.states import write_weights

_BEGIN, _HOME, _STATE = "begin", "home", "state"


class BoardRound:
    """A round on one board; `folder` is where what goes there and what comes from there lies here."""

    def __init__(self, line: Persistence, folder: Path, place: Place) -> None:
        self._line = line
        self._folder = folder
        self._place = place
        self._last = ""
        self._copied = 0

    def train(self, artifact: Artifact, layout: Layout, weights: Weights, order: Order, wants_scores: bool) -> Trained:
        """Fine-tune from these weights on the board, and what it made of them.

        Raises LostError where it cannot be reached, RefusedError with its own line where it refuses, and InputError
        for what does not fit in what came.
        """
        started = time.monotonic()
        look = self._line.channel.look(leave_program=True)
        version, root = look["active"], str(look["place"])
        if version is None:
            raise InputError("has nothing installed; 'mest deploy ARTIFACT BOARD' installs the artifact")
        begin = self._begin(artifact, layout, weights, f"{root}/versions/{version}/{ARTIFACT}")
        data = {"data": self._place.data, "eval_data": self._place.eval_data}
        sent = {name: read_data(given) for name, given in data.items() if given is not None}
        there = {
            name: one.place_in(root) if one is not None else str(data[name]).removeprefix(THERE)
            for name, one in sent.items()
        }
        place = replace(self._place, data=there["data"], eval_data=there.get("eval_data"))
        words = ["finetune", *place.words(), *order.words(), f"--engine={ENGINE}"]
        number = number_of(version, words, begin.number)
        self._refuse_busy(look, number)
        self._line.ask("forget", {"but": number})
        self._send([begin, *(one for one in sent.values() if one is not None)])
        asked = {"number": number, "version": version, "words": words, "begin": begin.number, "on_boot": None}
        ended = self._line.run(asked, lambda answer: None, self._heard)
        home, failed = self._folder / _HOME, ended.get("code") != 0
        shutil.rmtree(home, ignore_errors=True)
        if not failed:
            self._line.bring(number, home, _is_needed)
        self._line.ask("forget", {"but": None})
        if failed:
            raise InputError(self._last or f"ended with exit code {ended.get('code')!r:.20} and said nothing")
        done = trained(home / _STATE, artifact, read_answer(home), layout, order, wants_scores)
        _refuse_strange(layout, weights, done, order.mutate != "none")
        beside: dict[str, Any] = {"seconds": time.monotonic() - started, "copied-bytes": self._copied}
        if isinstance(ended.get("seconds"), int | float):
            beside["run-seconds"] = ended["seconds"]
        return replace(done, facts={**done.facts, **beside})

    def _begin(self, artifact: Artifact, layout: Layout, weights: Weights, artifact_there: str) -> Data:
        """The state that the board begins with, which finds the artifact where it lies there."""
        folder = self._folder / _BEGIN
        shutil.rmtree(folder, ignore_errors=True)
        write_weights(folder, artifact, layout, weights, artifact_path=artifact_there, alone=True)
        found = read_data(str(folder.resolve()))
        assert found is not None  # a folder of files
        return found

    def _refuse_busy(self, look: Mapping[str, Any], number: str) -> None:
        """Raise InputError where another run is at work: the budget would be taken twice."""
        for run in look["runs"]:
            if run["running"] and run["run"] != number:
                raise InputError(f"run {run['run']} is at work there; this round goes without it")

    def _send(self, data: list[Data]) -> None:
        """Copy the contents that the board lacks, each from where it was cut, and give them their names."""

        def send() -> None:
            content = self._line.channel.look(leave_program=True)["content"]  # after what was forgotten
            missing: dict[str, tuple[Member, Bytes]] = {
                member.sha256: (member, one.places[name])
                for one in data
                for name, member in one.members.items()
                if content.get(member.sha256) != member.nbytes
            }
            needed = list(missing.values())
            if needed:
                self._copied += sum(member.nbytes - arrived(member, content) for member, _ in needed)
                self._line.channel.call("receive", feed=fed(needed, content))

        self._line.again(send)
        for one in data:
            self._line.lay(one)

    def _heard(self, text: str) -> None:
        """Keep the last line: a run that fails says there why."""
        self._last = text.strip() or self._last


def place_on(place: Place, board: str) -> Place:
    """The same place with the board's name in the paths of its data."""
    held = None if place.eval_data is None else place.eval_data.replace(BOARD, board)
    return replace(place, data=place.data.replace(BOARD, board), eval_data=held)


def _is_needed(name: str) -> bool:
    """True for the answer and the state; each file takes a connection of its own."""
    return name in (ANSWER, f"{_STATE}/{STATE_FILE}") or name.endswith(".bin")


def _refuse_strange(layout: Layout, sent: Weights, done: Trained, mutates: bool) -> None:
    """Raise InputError for what a server would not take either, before it is joined with other boards'."""
    if done.samples < 1:
        raise InputError(f"trained on {done.samples} samples; must be 1 or more")
    packed = pack_masks(layout, done.weights.masks)
    unpack_masks(layout, packed)
    if not mutates and digest_of(packed) != digest_of(pack_masks(layout, sent.masks)):
        raise InputError("moved its masks, and the server moves them in this run")
    unpack_values(layout, pack_values(done.weights.values, {}), done.weights.masks, {})
    if done.scores:
        encoded = layout.encoded(done.weights)
        counts = {name: stored_units(encoded[name]) for name in mutable(layout)}
        unpack_scores(layout, pack_values(done.scores, {}), counts)
