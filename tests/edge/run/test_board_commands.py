"""plan, board, predict and eval as commands: their objects, their text and their refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest
from finetune_example import make_artifact, mest, shifted  # noqa: F401 - fixtures
from PIL import Image

from edge.engines.available import engine_available
from edge.engines.choice import choose
from edge.errors import BudgetError, InputError
from edge.handover.artifact import open_artifact
from edge.host.counters import untrusted_reason
from edge.plan.choices import ENGINES, OptimizerChoice
from edge.plan.process import DataNeeds
from edge.plan.search import Request

MIB = 1 << 20
HERE = [name for name in ENGINES if engine_available(name)[0]]
pytestmark = pytest.mark.skipif(not HERE, reason="needs an engine: neither native nor ort runs here")


def board(tmp_path, **baselines):
    """A saved board on which the named engines weigh so much."""
    engines = {
        name: {"available": name in baselines, "reason": "as said", "baseline_bytes": baselines.get(name)}
        for name in ENGINES
    }
    path = tmp_path / "board.json"
    path.write_text(json.dumps({"schema": "mest-board/1", "cores": 4, "engines": engines}))
    return path


def test_plan_says_what_fits(make_artifact):  # noqa: F811
    """The object has the peak, its parts and the choices; the parts add up."""
    done = mest("plan", make_artifact(), "--memory-budget", "128MiB", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["planned_peak_bytes"] <= plan["budget_bytes"] == 128 * MIB
    assert plan["plan"]["micro_batch"] == 32
    assert sum(part["bytes"] for part in plan["contributors"]) == plan["planned_peak_bytes"]


def test_plan_refuses_with_exit_3(make_artifact):  # noqa: F811
    """One line, with the budget that would do."""
    done = mest("plan", make_artifact(), "--memory-budget", "2MiB")
    assert done.returncode == 3
    assert len(done.stderr.strip().splitlines()) == 1 or untrusted_reason()
    assert "give --memory-budget" in done.stderr


def test_plan_for_another_board_takes_its_baseline(make_artifact, tmp_path):  # noqa: F811
    """Its engines, its cores and its bytes, whatever this machine has."""
    path = board(tmp_path, native=25 * MIB)
    done = mest("plan", make_artifact(), "--board", path, "--memory-budget", "48MiB", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["engine"] == "native"
    assert plan["baseline_bytes"] == 25 * MIB
    assert plan["plan"]["threads"] == 4
    refused = mest("plan", make_artifact(), "--board", path, "--engine", "ort")
    assert refused.returncode == 2
    assert "not available on that board" in refused.stderr


def choose_on(tmp_path, make_artifact, asked="auto", budget=None, request=None, **baselines):  # noqa: F811
    artifact = open_artifact(make_artifact())
    found = {name: baselines.get(name) for name in ENGINES}
    return choose(asked, artifact, request or Request(), DataNeeds(), budget, None, found)


def test_auto_takes_the_fastest_that_fits(make_artifact, tmp_path):  # noqa: F811
    """Native where it is there, ort where only that is, and says why."""
    chosen = choose_on(tmp_path, make_artifact, native=20 * MIB, ort=40 * MIB)
    assert chosen.candidate.name == "native"
    assert "fastest" in chosen.why
    chosen = choose_on(tmp_path, make_artifact, ort=40 * MIB)
    assert chosen.candidate.name == "ort"
    assert "native: not available" in chosen.why


def test_auto_refuses_where_nothing_fits_or_nothing_is_there(make_artifact, tmp_path):  # noqa: F811
    """The budget of the fastest engine's smallest plan, or what every engine lacks."""
    with pytest.raises(BudgetError, match="engine native"):
        choose_on(tmp_path, make_artifact, budget=20 * MIB, native=20 * MIB, ort=40 * MIB)
    with pytest.raises(BudgetError, match=r"engine ort.*; native: not available on that board"):
        choose_on(tmp_path, make_artifact, budget=20 * MIB, ort=40 * MIB)
    with pytest.raises(InputError, match=r"native: not available.*ort: not available"):
        choose_on(tmp_path, make_artifact)
    with pytest.raises(InputError, match="allowed are auto, native, ort"):
        choose_on(tmp_path, make_artifact, asked="tpu", native=1)


def test_ort_says_which_choices_it_lacks(make_artifact, tmp_path):  # noqa: F811
    """And what to use instead."""
    for request, word in (
        (Request(recompute="blocks"), "recompute none"),
        (Request(batch_norm="frozen"), "batch_norm train"),
        (Request(saved="bfloat16"), "float32 alone"),
        (Request(label_smoothing=0.1), "label smoothing"),
        (Request(densest_sparsity={"3.weight": 0.1}), "mutate ems"),
        (Request(trainable="nothing.*"), "selects no parameter"),
    ):
        with pytest.raises(InputError, match=word):
            choose_on(tmp_path, make_artifact, asked="ort", request=request, ort=40 * MIB)


def test_every_engine_takes_every_optimizer(make_artifact, tmp_path):  # noqa: F811
    """So that auto never has to pass one over."""
    for optimizer in (OptimizerChoice(nesterov=True), OptimizerChoice(kind="adamw")):
        for name in HERE:
            chosen = choose_on(tmp_path, make_artifact, asked=name, request=Request(optimizer=optimizer), **{name: 1})
            assert chosen.plan.choices.optimizer == optimizer
            assert chosen.candidate.name == name


def test_board_prints_facts():
    """As text and as an object that plan reads."""
    done = mest("board")
    assert done.returncode == 0
    assert "architecture" in done.stdout
    assert "engine native" in done.stdout


def test_the_native_baseline_is_small():
    """Interpreter, numpy and the library below 32 MiB before a network is loaded."""
    if untrusted_reason() is not None or "native" not in HERE:
        pytest.skip(f"needs true counters and the native engine: {untrusted_reason()}")
    engines = json.loads(mest("board", "--json").stdout)["engines"]
    assert engines["native"]["baseline_bytes"] < 32 * MIB


def test_predict_names_what_it_cannot_read(make_artifact, tmp_path):  # noqa: F811
    """A missing file, a broken one, and neither artifact nor state."""
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"")
    for image, word in ((tmp_path / "no.png", "no such file"), (broken, "empty")):
        done = mest("predict", make_artifact(), image, "--engine", HERE[0])
        assert done.returncode == 2
        assert image.name in done.stderr
        assert word in done.stderr
    done = mest("predict", tmp_path, broken)
    assert done.returncode == 2
    assert "neither an artifact nor a state" in done.stderr


def test_predict_shows_classes(make_artifact, tmp_path):  # noqa: F811
    """Best first; scores are shares."""
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    done = mest("predict", make_artifact(), tmp_path / "a.png", tmp_path / "a.png", "--json", "--engine", HERE[0])
    found = json.loads(done.stdout)["predictions"]
    assert len(found) == 2
    scores = [row["score"] for row in found[0]["classes"]]
    assert found[0]["class"] == found[0]["classes"][0]["class"]
    assert scores == sorted(scores, reverse=True)
    assert 0 < sum(scores) <= 1.0001


def test_eval_needs_data_and_measures(make_artifact, shifted):  # noqa: F811
    """Within a budget, like everything on the board."""
    done = mest("eval", make_artifact())
    assert done.returncode == 2
    assert "--data" in done.stderr
    assert "no such directory; give an artifact" in mest("eval", "nowhere", "--data", shifted).stderr
    budget = {"native": "64MiB", "ort": "128MiB"}[HERE[0]]
    command = ("eval", make_artifact(), "--data", shifted, "--engine", HERE[0], "--memory-budget", budget)
    result = json.loads(mest(*command, "--json").stdout)
    assert 0 < result["accuracy"] < 1
    assert result["samples"] == 400
    if untrusted_reason() is None:
        assert result["measured_peak_bytes"] < result["budget_bytes"]


def test_an_altered_artifact_is_refused_with_exit_4(make_artifact, tmp_path):  # noqa: F811
    """By the file's name."""
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(make_artifact(), copy)
    content = bytearray((copy / "network.bin").read_bytes())
    content[100] ^= 1
    (copy / "network.bin").write_bytes(content)
    done = mest("plan", copy)
    assert done.returncode == 4
    assert "network.bin" in done.stderr


@pytest.mark.parametrize("command", ["plan", "finetune"])
def test_a_refused_budget_answers_a_program_with_the_budget_that_would_do(command, make_artifact, shifted, tmp_path):  # noqa: F811
    """The same figure as in the message for a person, beside the budget that was asked for; a plan of it is found."""
    words = [command, make_artifact(), "--data", shifted, "--engine", "native", "--threads", 1, "--json"]
    words += ["--out", tmp_path / "state"] if command == "finetune" else []
    refused = mest(*words, "--memory-budget", "1MiB")
    answer = json.loads(refused.stdout)
    assert (refused.returncode, answer["exit_code"], answer["budget_bytes"]) == (3, 3, MIB)
    smallest = answer["smallest_budget_bytes"]
    assert f"give --memory-budget {smallest / MIB:.1f}MiB or more" in refused.stderr
    assert answer["planned_peak_bytes"] <= smallest == int(float(f"{smallest / MIB:.1f}") * MIB)
    assert sum(part["bytes"] for part in answer["contributors"]) == answer["planned_peak_bytes"]
    assert answer["refused"] in refused.stderr
    kept = mest("plan", make_artifact(), "--data", shifted, "--engine", "native", "--memory-budget", smallest, "--json")
    assert kept.returncode == 0, kept.stderr


def test_other_refusals_answer_a_program_with_nothing(tmp_path):
    """Standard output stays empty, as it has been; the message and the exit code say it."""
    refused = mest("plan", tmp_path, "--json")
    assert (refused.returncode, refused.stdout) == (2, "")
