"""Rounds through Flower's own messages, apps and records, clients and server in one process, children apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("flwr", reason="needs flwr (the extra flower)")

from flower_example import sparse_artifact
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg
from flwr.supercore.task_identity import TaskIdentity
from native_artifact import write_images

from edge.errors import InputError
from edge.handover.artifact import open_artifact
from export.flower import client, records, server, strategy
from export.flower.accepting import accept
from export.flower.board_round import place_on
from export.flower.client import app as client_app
from export.flower.gateway import as_one
from export.flower.journal import ROUNDS, STATE
from export.flower.layout import layout_of_artifact, weights_of
from export.flower.packing import digest_of, pack_masks, pack_values
from export.flower.rounds import train
from export.flower.states import read_weights

IMAGES = {11: 40, 22: 80}  # of each node
SUPERLINK = 1  # what it calls itself


@pytest.fixture(autouse=True)
def task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages are made in a task of Flower's; here there is none that a SuperLink has begun."""
    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


class Nodes:
    """What a strategy asks of a grid: every node answers at once, unless it is told not to."""

    def __init__(self, folder: Path, artifact: Path, simulated: bool = False) -> None:
        self.sent: list[RecordDict] = []
        self.silent: set[int] = set()
        self.gone = ""  # what the SuperLink says of those that are silent
        self.altered = lambda reply: reply
        network = open_artifact(artifact).network
        self.contexts = {}
        for node, count in IMAGES.items():
            data = write_images(folder / f"part-{node}.npz", network, count, node)
            own = {"artifact": str(artifact), "data": str(data), "work": str(folder / f"work-{node}"), "threads": 1}
            run = {}
            if simulated:
                run = {"node-artifact": str(artifact), "node-data": str(folder / "part-{partition}.npz")}
                run |= {"node-work": str(folder / "work-{partition}"), "node-threads": 1}
                own = {"partition-id": node, "num-partitions": len(IMAGES)}
            self.contexts[node] = Context(1, node, own, RecordDict(), run)

    def get_node_ids(self) -> list[int]:
        return list(self.contexts)

    def send_and_receive(self, messages, *, timeout=None) -> list[Message]:
        replies = []
        for message in messages:
            self.sent.append(message.content)
            node = message.metadata.dst_node_id
            if node not in self.silent:
                replies.append(self.altered(client_app(message, self.contexts[node])))
            elif self.gone:
                asked = Message(RecordDict(), dst_node_id=SUPERLINK, message_type="train")
                replies.append(Message(Error(5, self.gone), reply_to=asked))
        return replies


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    return sparse_artifact(tmp_path / "artifact", "block").path


def configuration(artifact: Path, out: Path, **beside: object) -> dict[str, object]:
    given = {"artifact": str(artifact), "out": str(out), "rounds": 2, "learning-rate": 0.05, "batch-size": 8}
    return {**given, **{name.replace("_", "-"): value for name, value in beside.items()}}


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / ROUNDS).read_text().splitlines()]


def test_a_shared_mask_is_moved_by_the_server(artifact: Path, tmp_path: Path) -> None:
    """Two clients, four rounds: the mask moves and then stays, masks travel when they moved, peaks are told."""
    nodes, out = Nodes(tmp_path, artifact), tmp_path / "out"
    held = write_images(tmp_path / "held.npz", open_artifact(artifact).network, 12, 5)
    strategy = server.run(nodes, configuration(artifact, out, rounds=4, eval_data=str(held)))
    layout = layout_of_artifact(open_artifact(artifact))
    own = weights_of(layout, layout.parameters)
    told = lines(out)
    assert [one["masks_moved"] for one in told] == [True, True, False, False]
    assert [records.MASKS in content[records.ORDER] for content in nodes.sent] == [False] * 2 + [True] * 4 + [False] * 2
    for one in told:
        assert one["score"] is not None
        assert one["left_out"] == []
        assert one["bytes_up"] < 2 * one["dense_bytes"]
        for figures in one["clients"].values():
            assert figures["planned-peak-bytes"] > 0
            assert figures["seconds"] > 0
            assert figures["plan"]["micro_batch"] == 8
    saved, _ = read_weights(out / STATE, layout)
    for name in layout.sparse:
        assert (strategy.weights.masks[name] != own.masks[name]).any()
        assert strategy.weights.masks[name].sum() == own.masks[name].sum()
    for name in layout.parameters:
        assert saved.values[name].tobytes() == strategy.weights.values[name].tobytes()


def test_clients_move_their_masks(artifact: Path, tmp_path: Path) -> None:
    """What they send is joined and pruned back; the next round begins under the joined mask."""
    nodes, out = Nodes(tmp_path, artifact), tmp_path / "out"
    beside = {"masks": "clients", "mutate-every": 1, "epochs": 2}
    strategy = server.run(nodes, {**configuration(artifact, out), **beside})
    layout = layout_of_artifact(open_artifact(artifact))
    own = weights_of(layout, layout.parameters)
    assert all(one["masks_moved"] and len(one["clients"]) == 2 for one in lines(out))
    for name, parameter in layout.sparse.items():
        assert (strategy.weights.masks[name] != own.masks[name]).any()
        assert layout.encoded(strategy.weights)[name].nonzeros == parameter.nonzeros


def test_the_mean_is_of_what_the_clients_sent(artifact: Path, tmp_path: Path) -> None:
    """By samples, of the replies as they came; 36 and 72 samples are trained on."""
    nodes, replies = Nodes(tmp_path, artifact), []

    def noted(reply: Message) -> Message:
        replies.append(reply.content)
        return reply

    nodes.altered = noted
    given = configuration(artifact, tmp_path / "out", rounds=1, mutate_every_rounds=0)
    strategy = server.run(nodes, given)
    assert sorted(one[records.FACTS]["num-examples"] for one in replies) == [36, 72]
    layout = layout_of_artifact(open_artifact(artifact))
    for name in layout.sparse:
        arrays = [np.frombuffer(one[records.WEIGHTS][name].data, "<f4") for one in replies]
        counts = [one[records.FACTS]["num-examples"] for one in replies]
        np.testing.assert_allclose(strategy.weights.values[name], np.average(arrays, axis=0, weights=counts), rtol=1e-5)


def test_a_round_ends_without_a_client_that_is_silent(artifact: Path, tmp_path: Path) -> None:
    """And with one that refuses; both are named, and what the others trained counts."""
    nodes, out = Nodes(tmp_path, artifact), tmp_path / "out"
    nodes.silent = {22}
    server.run(nodes, configuration(artifact, out, rounds=1))
    (one,) = lines(out)
    assert list(one["clients"]) == ["client 11"]
    assert one["left_out"] == ["client 22: did not answer in time"]
    nodes.gone = "Node Unavailable"
    server.run(nodes, configuration(artifact, tmp_path / "gone", rounds=1))
    assert lines(tmp_path / "gone")[0]["left_out"] == ["client 22: Node Unavailable"]
    nodes = Nodes(tmp_path, artifact)
    nodes.contexts[11].node_config["memory-budget"] = "1MiB"
    server.run(nodes, configuration(artifact, tmp_path / "other", rounds=1))
    (one,) = lines(tmp_path / "other")
    assert list(one["clients"]) == ["client 22"]
    assert one["left_out"][0].startswith("client 11: mest finetune: ")
    assert "budget" in one["left_out"][0]


def test_a_round_that_nobody_ends_changes_nothing(artifact: Path, tmp_path: Path) -> None:
    """The next one begins from the same weights."""
    nodes = Nodes(tmp_path, artifact)
    nodes.silent = {11, 22}
    strategy = server.run(nodes, configuration(artifact, tmp_path / "out", rounds=2))
    layout = layout_of_artifact(open_artifact(artifact))
    own = weights_of(layout, layout.parameters)
    assert all((strategy.weights.values[name] == own.values[name]).all() for name in own.values)
    assert len(lines(tmp_path / "out")) == 2


def test_nodes_of_a_simulation_are_told_by_the_run(artifact: Path, tmp_path: Path) -> None:
    """They have a partition alone; braces are filled with it."""
    nodes = Nodes(tmp_path, artifact, simulated=True)
    server.run(nodes, configuration(artifact, tmp_path / "out", rounds=1))
    assert len(lines(tmp_path / "out")[0]["clients"]) == 2
    assert (tmp_path / "work-11" / "end").is_dir()


def test_a_node_obeys_no_run_about_its_files(artifact: Path, tmp_path: Path) -> None:
    """Outside a simulation what a run says of a node's files is not looked at."""
    nodes = Nodes(tmp_path, artifact)
    for context in nodes.contexts.values():
        context.run_config.update({"node-artifact": "/elsewhere", "node-data": "/elsewhere"})
        del context.node_config["data"]
    server.run(nodes, configuration(artifact, tmp_path / "out", rounds=1))
    assert all("node configuration: data is missing" in line for line in lines(tmp_path / "out")[0]["left_out"])


def test_a_gateway_counts_as_the_samples_of_its_boards(artifact: Path, tmp_path: Path, monkeypatch) -> None:
    """Its figures are those of each board, and the line of a board that was left out comes with them."""
    pytest.importorskip("yaml", reason="needs yaml for the list of boards")
    replies, nodes = [], Nodes(tmp_path, artifact)
    (tmp_path / "boards.yaml").write_text("boards: [one, two, attic]\n")
    network = open_artifact(artifact).network
    for name, count in (("one", 40), ("two", 20)):
        write_images(tmp_path / f"of-{name}.npz", network, count, count)
    own = nodes.contexts[11].node_config
    own |= {"boards": str(tmp_path / "boards.yaml"), "data": str(tmp_path / "of-{board}.npz"), "name": "gate"}

    def here(boards, place, artifact, layout, weights, order, wants_scores):  # what ssh would reach, as children
        names = [one.name for one in boards.listed][:2]
        done = {name: train(place_on(place, name), artifact, layout, weights, order, wants_scores) for name in names}
        return as_one(layout, place.name, done, ["attic: no connection: timed out\x1b"])

    def noted(reply: Message) -> Message:
        replies.append(reply.content)
        return reply

    monkeypatch.setattr(client, "train_on_boards", here)
    nodes.altered = noted
    joint = server.run(nodes, configuration(artifact, tmp_path / "out", rounds=1)).weights
    (told,) = lines(tmp_path / "out")
    assert told["left_out"] == ["client 11 (gate): attic: no connection: timed out_"]
    figures = told["clients"]["client 11 (gate)"]
    assert figures["num-examples"] == figures["one/num-examples"] + figures["two/num-examples"] == 36 + 16
    assert figures["one/planned-peak-bytes"] > 0
    assert figures["plan"]["two"]["micro_batch"] == 8
    assert sorted(one[records.FACTS]["num-examples"] for one in replies) == [52, 72]
    layout = layout_of_artifact(open_artifact(artifact))
    own_weights = weights_of(layout, layout.parameters)
    assert all(joint.values[name].shape == own_weights.values[name].shape for name in layout.parameters)


def test_a_gateway_without_any_board_is_left_out(artifact: Path, tmp_path: Path) -> None:
    """A list that cannot be read is its line, as is one whose boards all fail."""
    nodes = Nodes(tmp_path, artifact)
    nodes.contexts[11].node_config["boards"] = str(tmp_path / "none.yaml")
    server.run(nodes, configuration(artifact, tmp_path / "out", rounds=1))
    (told,) = lines(tmp_path / "out")
    assert list(told["clients"]) == ["client 22"]
    assert "none.yaml: not a readable YAML list of boards" in told["left_out"][0]


def test_a_plan_that_is_no_json_of_ours_harms_no_round(artifact: Path) -> None:
    """NaN is a number in no file of ours."""
    assert strategy._plan('{"micro_batch": NaN}') == {"micro_batch": None}
    assert strategy._plan("[" * 100_000) is None


def test_masks_that_were_lost_are_sent_again(artifact: Path, tmp_path: Path) -> None:
    """A client whose disk was emptied leaves one round out and gets the masks with the next."""
    nodes, out = Nodes(tmp_path, artifact), tmp_path / "out"
    server.run(nodes, configuration(artifact, out))
    given = configuration(artifact, tmp_path / "more", rounds=4, mutate_every_rounds=0, start=str(out / STATE))
    seen = []

    def lose(reply: Message) -> Message:
        seen.append(reply.metadata.src_node_id)
        if len(seen) == 2:
            for kept in (tmp_path / "work-11" / "masks").iterdir():
                kept.unlink()
        return reply

    nodes.altered = lose
    server.run(nodes, given)
    told = lines(tmp_path / "more")
    assert [len(one["clients"]) for one in told] == [2, 1, 2, 2]
    assert "are not kept here any more" in told[1]["left_out"][0]


def reply_to(artifact: Path, **altered: object) -> tuple:
    """A reply that fits but for what is altered, with what else `accept` takes."""
    layout = layout_of_artifact(open_artifact(artifact))
    weights = weights_of(layout, layout.parameters)
    digest = digest_of(pack_masks(layout, weights.masks))
    said = {"name": "pi 3", "plan": "{}", records.DIGEST: digest, **altered.get("said", {})}
    values = {**weights.values, **altered.get("values", {})}
    content = RecordDict(
        {
            records.WEIGHTS: records.to_arrays(pack_values(values, {})),
            records.FACTS: MetricRecord({"num-examples": altered.get("samples", 5)}),
            records.CLIENT: ConfigRecord(said),
        }
    )
    asked = Message(RecordDict(), dst_node_id=7, message_type="train")
    return Message(content, reply_to=asked), layout, weights, digest


@pytest.mark.parametrize(
    ("altered", "said"),
    [
        ({"values": {"g1": np.full(8, np.nan, np.float32)}}, "g1: holds values that are not finite"),
        ({"values": {"g1": np.ones(7, np.float32)}}, "g1: 28 bytes of values; its mask keeps 8 of 4 bytes each"),
        ({"samples": 0}, "num-examples 0: must be 1 or more"),
        ({"samples": 1.5}, "num-examples 1.5: must be 1 or more"),
        ({"said": {records.DIGEST: "0" * 64}}, "trained under masks 000000000000"),
        ({"said": {records.MASKS: b"\x01"}}, "moved its masks, and the server moves them in this run"),
        ({"said": {"plan": 3}}, "'plan': 3 is no str"),
    ],
)
def test_what_does_not_fit_names_its_client(artifact: Path, altered: dict, said: str) -> None:
    """One line, with the node and the name that it gave itself."""
    with pytest.raises(InputError) as refused:
        accept(*reply_to(artifact, **altered), False, False)
    assert str(refused.value).startswith(f"client 7 (pi_3): {said}")
    assert str(refused.value).endswith("its update is left out")


def test_stock_averaging_fails_on_our_values(artifact: Path) -> None:
    """Rather than averaging what belongs to other positions without a word."""
    replies = [reply_to(artifact)[0] for _ in range(2)]
    for reply in replies:
        del reply.content[records.CLIENT]
    with pytest.raises(TypeError):
        FedAvg().aggregate_train(1, replies)


def test_other_serialisations_are_refused(artifact: Path) -> None:
    """A client of stock Flower does not slip in."""
    reply, *rest = reply_to(artifact)
    reply.content[records.WEIGHTS] = ArrayRecord({"g1": Array(np.ones(8, np.float32))})
    with pytest.raises(InputError, match=r"serialised as 'numpy\.ndarray'"):
        accept(reply, *rest, False, False)


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        ({"masks": "both"}, "allowed are shared, clients"),
        ({"rounds": 0}, "rounds 0: must be 1 or more"),
        ({"rounds": "3"}, "rounds '3': must be like 3"),
        ({"share": 2.0}, "share 2: must be above 0"),
        ({"mutate": "em"}, "mutate em: this way of merging needs none"),
        ({"masks": "clients", "mutate": "none"}, "mutate none: this way of merging needs em or ems"),
        ({"min_nodes": 3, "wait_seconds": 0.0}, "2 of at least 3 nodes are there"),
    ],
)
def test_strange_configurations_are_refused(artifact: Path, tmp_path: Path, beside: dict, said: str) -> None:
    """By name, with what is allowed."""
    with pytest.raises(InputError) as refused:
        server.run(Nodes(tmp_path, artifact), configuration(artifact, tmp_path / "out", **beside))
    assert said in str(refused.value)
