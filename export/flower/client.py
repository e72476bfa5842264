"""Flower's side of a client: a message becomes a round in a child process, its outcome the reply.

Every node says in its own configuration where its artifact and its data lie, where it may write and how much memory it
grants (docs/federated.md); nothing of that comes from the server.
"""

from __future__ import annotations

from typing import Any

from flwr.app import ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from edge.chance import mix
from edge.errors import EdgeError, InputError
from edge.files.lock import holding
from edge.handover.artifact import open_artifact
from export.flower import records
from export.flower.boards import BOARD, Boards
from export.flower.gateway import train_on_boards
from export.flower.kept_masks import KeptMasks
from export.flower.layout import ENGINE, Weights, layout_of_artifact, weights_of
from export.flower.orders import Order, Place
from export.flower.packing import digest_of, pack_masks, pack_values, unpack_masks, unpack_values
from export.flower.rounds import Trained, train
from mest.errors import MestError

REFUSED = 200  # the code of an error that is a refusal of ours; Flower's own end far below
_SIMULATED = "num-partitions"  # what a simulation gives a node instead of a configuration of its own
_OF_RUN = "node-"
app = ClientApp()


@app.train()
def fine_tune(message: Message, context: Context) -> Message:
    """The reply of a round, or an error with the one line that says why there is none."""
    try:
        return Message(_outcome(message.content, context), reply_to=message)
    except (EdgeError, MestError) as refused:
        return Message(Error(code=REFUSED, reason=str(refused)), reply_to=message)


def given_of(context: Context) -> dict[str, Any]:
    """This node's configuration. In a simulation, whose nodes have none, the run's `node-…` values say it."""
    given: dict[str, Any] = dict(context.node_config)
    if _SIMULATED in given and "artifact" not in given:
        own = {
            name.removeprefix(_OF_RUN): value for name, value in context.run_config.items() if name.startswith(_OF_RUN)
        }
        given = {**own, **given}
    return given


def _outcome(content: RecordDict, context: Context) -> RecordDict:
    asked = records.to_plain(content, records.ORDER)
    given, order = given_of(context), Order.read(asked, "the server's order")
    filled: dict[str, object] = {"partition": given.get("partition-id", 0), "node": context.node_id}
    boards = Boards.read(given)
    place = Place.read(given, filled if boards is None else {**filled, BOARD.strip("{}"): BOARD})
    with holding(place.work):
        artifact = open_artifact(place.artifact)
        layout = layout_of_artifact(artifact)
        identity, wanted = artifact.identity(ENGINE)["sha256"], records.field(asked, records.ARTIFACT, str)
        if identity != wanted:
            raise InputError(
                f"{place.artifact}: is artifact {identity:.12}, the server's is {wanted:.12}; deploy that one here"
            )
        known = weights_of(layout, layout.parameters)
        packed_masks = KeptMasks(place.work / "masks", pack_masks(layout, known.masks)).take(
            records.field(asked, records.DIGEST, str), records.masks_in(asked)
        )
        masks = unpack_masks(layout, packed_masks)
        begun = unpack_values(layout, records.to_packed(content, records.WEIGHTS), masks, known.values)
        seed = mix(order.seed, records.field(asked, records.ROUND, int), _number(context))
        wants_scores = records.field(asked, records.WANTS_SCORES, bool)
        own = order.seeded(seed)
        if boards is None:
            done = train(place, artifact, layout, begun, own, wants_scores)
        else:
            done = train_on_boards(boards, place, artifact, layout, begun, own, wants_scores)
    return _reply(place.name, begun, done, packed_masks, pack_masks(layout, done.weights.masks))


def _reply(name: str, begun: Weights, done: Trained, masks_before: bytes, masks: bytes) -> RecordDict:
    """What changed of the weights, the masks where they moved, scores where they were asked for, and the figures."""
    said: dict[str, Any] = {"name": name, "plan": done.plan, records.DIGEST: digest_of(masks)}
    if masks != masks_before:
        said[records.MASKS] = masks
    if done.left_out:
        said[records.LEFT_OUT] = list(done.left_out)
    content = RecordDict(
        {
            records.WEIGHTS: records.to_arrays(pack_values(done.weights.values, begun.values)),
            records.FACTS: MetricRecord({"num-examples": done.samples, **done.facts}),
            records.CLIENT: ConfigRecord(said),
        }
    )
    if done.scores:
        content[records.SCORES] = records.to_arrays(pack_values(done.scores, {}))
    return content


def _number(context: Context) -> int:
    """What makes this node's chance its own: its partition, the same in every run, or its number in the federation."""
    return int(context.node_config.get("partition-id", context.node_id))
