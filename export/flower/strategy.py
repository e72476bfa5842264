"""Flower's side of a server: what goes to whom in a round, and what becomes of what comes back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from logging import INFO, WARNING, getLogger
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from edge.chance import permutation
from edge.errors import InputError
from edge.handover.artifact import Artifact
from export.flower import records
from export.flower.accepting import Accepted, accept
from export.flower.journal import Journal, Told
from export.flower.layout import ENGINE, Layout, Weights, weights_of
from export.flower.merging import Course, Merging
from export.flower.orders import Order
from export.flower.packing import digest_of, pack_masks, pack_values

_LOOK_SECONDS = 1.0
_SAID = getLogger("flwr")


@dataclass(frozen=True)
class Schedule:
    """How many rounds, and with whom: at least `min_nodes`, and the `share` of those that are there."""

    rounds: int
    min_nodes: int = 2
    share: float = 1.0
    wait_seconds: float = 600.0

    def __post_init__(self) -> None:
        for name, value in (("rounds", self.rounds), ("min-nodes", self.min_nodes)):
            if value < 1:
                raise InputError(f"{name} {value}: must be 1 or more")
        if not 0 < self.share <= 1:
            raise InputError(f"share {self.share:g}: must be above 0, up to 1")


class SparseRounds(Strategy):
    """Rounds over sparse weights: values under masks, masks only to nodes that do not have them.

    What cannot be read, is not finite or does not fit is left out with a line that names the client, and the round goes
    on with the others; a round that nobody ends changes nothing.
    """

    def __init__(
        self,
        artifact: Artifact,
        layout: Layout,
        weights: Weights,
        merging: Merging,
        order: Order,
        schedule: Schedule,
        journal: Journal,
    ) -> None:
        if (order.mutate != "none") != merging.client_mutates:
            needs = "em or ems" if merging.client_mutates else "none, since the server moves the mask"
            raise InputError(f"mutate {order.mutate}: this way of merging needs {needs}")
        self.weights = weights
        self._identity = artifact.identity(ENGINE)["sha256"]
        self._layout = layout
        self._own = weights_of(layout, layout.parameters)
        self._own_digest = digest_of(pack_masks(layout, self._own.masks))
        self._merging = merging
        self._order = order
        self._schedule = schedule
        self._journal = journal
        self._digest_at: dict[int, str] = {}  # the masks that each node is known to keep
        self._sent: dict[int, int] = {}  # payload bytes of the round, by node
        self._started = 0.0

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The round's messages; raises InputError where too few nodes are there after a while."""
        self._started = time.monotonic()
        packed_masks = pack_masks(self._layout, self.weights.masks)
        digest = digest_of(packed_masks)
        values = pack_values(self.weights.values, self._own.values)
        course = self._course(server_round)
        order: dict[str, Any] = {
            **self._order.plain(),
            records.ARTIFACT: self._identity,
            records.DIGEST: digest,
            records.ROUND: server_round,
            records.WANTS_SCORES: self._merging.wants_scores(course),
        }
        messages = []
        self._sent = {}
        for node in self._nodes(server_round, grid):
            known = self._digest_at.get(node, self._own_digest)
            beside = {} if known == digest else {records.MASKS: packed_masks}
            content = RecordDict(
                {records.WEIGHTS: records.to_arrays(values), records.ORDER: ConfigRecord({**order, **beside})}
            )
            self._sent[node] = records.payload_bytes(content)
            messages.append(Message(content, dst_node_id=node, message_type=MessageType.TRAIN))
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Join what came back, write it down and say what it took."""
        accepted, left_out = self._accepted(server_round, replies)
        before, score = digest_of(pack_masks(self._layout, self.weights.masks)), None
        if accepted:
            updates = [each.update for _, each in accepted]
            self.weights = self._merging.merge(self._layout, updates, self._course(server_round))
            score = self._journal.keep(server_round, self.weights)
        after = digest_of(pack_masks(self._layout, self.weights.masks))
        told = Told(
            number=server_round,
            clients={each.update.client: self._figures(node, each) for node, each in accepted},
            left_out=left_out,
            bytes_down=sum(self._sent.values()),
            bytes_up=sum(each.payload_bytes for _, each in accepted),
            dense_bytes=self._layout.dense_bytes,
            seconds=time.monotonic() - self._started,
            masks_sha256=after,
            masks_moved=after != before,
            score=score,
        )
        self._journal.tell(told)
        self._say(told)
        return (records.to_arrays(pack_values(self.weights.values, {})) if accepted else None), _metrics(told)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Nothing: clients judge on held-out samples while they train, the server by its own data."""
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Nothing."""
        return None

    def summary(self) -> None:
        """Say what is trained, and how much of it travels."""
        kept = sum(len(values) for values in self.weights.values.values())
        total = self._layout.dense_bytes // 4
        _SAID.log(INFO, "artifact %.12s: %s of %s weights travel", self._identity, f"{kept:,}", f"{total:,}")

    def _course(self, number: int) -> Course:
        return Course(number, self._schedule.rounds, self._order.seed)

    def _nodes(self, number: int, grid: Grid) -> list[int]:
        """The nodes of a round, chosen at random where not all take part."""
        ends = time.monotonic() + self._schedule.wait_seconds
        while len(found := sorted(grid.get_node_ids())) < self._schedule.min_nodes:
            if time.monotonic() > ends:
                raise InputError(
                    f"round {number}: {len(found)} of at least {self._schedule.min_nodes} nodes are there after "
                    f"{self._schedule.wait_seconds:g} s; start more SuperNodes, or give a smaller min-nodes"
                )
            time.sleep(_LOOK_SECONDS)
        count = max(self._schedule.min_nodes, round(self._schedule.share * len(found)))
        return [found[place] for place in permutation(len(found), self._order.seed, number)[:count].tolist()]

    def _accepted(self, number: int, replies: Iterable[Message]) -> tuple[list[tuple[int, Accepted]], list[str]]:
        """The updates that fit, by node, and a line for every node without one."""
        wants_scores = self._merging.wants_scores(self._course(number))
        digest = digest_of(pack_masks(self._layout, self.weights.masks))
        accepted: list[tuple[int, Accepted]] = []
        left_out, silent, why = [], set(self._sent), "did not answer in time"
        for reply in sorted(replies, key=lambda reply: reply.metadata.src_node_id):
            node = reply.metadata.src_node_id
            if node not in self._sent:  # the SuperLink answers for a node that is gone, and does not say for which
                why = reply.error.reason if reply.has_error() else why
                continue
            silent.discard(node)
            try:
                mutates = self._merging.client_mutates
                one = accept(reply, self._layout, self.weights, digest, mutates, wants_scores)
            except InputError as refused:
                left_out.append(str(refused))
                self._digest_at[node] = ""
                continue
            self._digest_at[node] = digest
            left_out += one.left_out
            accepted.append((node, one))
        for node in sorted(silent):
            left_out.append(f"client {node}: {why}")
            self._digest_at[node] = ""
        return accepted, left_out

    def _figures(self, node: int, one: Accepted) -> dict[str, Any]:
        figures = {"num-examples": one.update.samples, **one.facts}
        return {**figures, "bytes-down": self._sent[node], "bytes-up": one.payload_bytes, "plan": _plan(one.plan)}

    def _say(self, told: Told) -> None:
        for line in told.left_out:
            _SAID.log(WARNING, "round %s: %s", told.number, line)
        clients, dense = len(told.clients), told.dense_bytes
        _SAID.log(
            INFO,
            "round %s: %s clients, %s bytes down, %s up; dense %s each way for each%s%s",
            told.number,
            clients,
            f"{told.bytes_down:,}",
            f"{told.bytes_up:,}",
            f"{dense:,}",
            "; the masks moved" if told.masks_moved else "",
            "" if told.score is None else f"; score {told.score:.4f}",
        )


def _plan(said: str) -> Any:
    """A client's plan, as far as it is JSON."""
    try:
        return json.loads(said, parse_constant=lambda name: None)  # NaN and the like are none
    except (ValueError, RecursionError):
        return None


def _metrics(told: Told) -> MetricRecord:
    """What Flower keeps of a round: the figures of every client under its name, and the round's own."""
    found: dict[str, int | float] = {
        f"{client}/{name}": value
        for client, figures in told.clients.items()
        for name, value in figures.items()
        if type(value) in (int, float)
    }
    found |= {"clients": len(told.clients), "left-out": len(told.left_out), "seconds": told.seconds}
    found |= {"bytes-down": told.bytes_down, "bytes-up": told.bytes_up, "dense-bytes": told.dense_bytes}
    return MetricRecord(found if told.score is None else {**found, "score": told.score})
