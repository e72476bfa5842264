"""What an exploded step leaves is neither saved as a good state nor shown as an answer."""

from __future__ import annotations

import json

import numpy as np
import pytest
from finetune_example import make_artifact, mest, shifted  # noqa: F401 - fixtures
from PIL import Image

from edge.engines.available import engine_available
from edge.errors import InputError
from edge.handover.state import read_state, write_state
from edge.plan.choices import ENGINES
from edge.run.finite import not_finite, refuse_not_finite

HERE = [name for name in ENGINES if engine_available(name)[0]]
pytestmark = pytest.mark.skipif(not HERE, reason="needs an engine: neither native nor ort runs here")


@pytest.mark.parametrize("engine", HERE)
@pytest.mark.parametrize("more", [("--epochs", 1, "--batch-size", 400), ("--save-every", 1)])
def test_a_step_that_explodes_is_not_saved(make_artifact, shifted, tmp_path, engine, more):  # noqa: F811
    """The last of a run or one before a save, whose own loss was still finite: exit 2, and the state is that before."""
    words = ("finetune", make_artifact(), "--data", shifted, "--out", tmp_path / "s", "--engine", engine)
    done = mest(*words, "--lr", "1e38", "--lr-scheduler", "constant", "--threads", 1, *more)
    assert done.returncode == 2, done.stdout
    assert "no longer finite" in done.stderr
    assert "of step 0, is the last good one" in done.stderr
    saved = read_state(tmp_path / "s")
    assert saved.facts["position"]["step"] == 0
    assert not_finite(saved.tensors) is None
    assert mest("eval", tmp_path / "s", "--data", shifted).returncode == 0


@pytest.mark.parametrize("engine", HERE)
def test_a_ruined_state_answers_nothing(make_artifact, shifted, tmp_path, engine):  # noqa: F811
    """One that another program wrote: predict and eval refuse it by name instead of printing nan."""
    words = ("finetune", make_artifact(), "--data", shifted, "--out", tmp_path / "s", "--engine", engine)
    assert mest(*words, "--epochs", 1).returncode == 0
    saved = read_state(tmp_path / "s")
    ruined = {
        name: array * np.float32(1e37) if array.dtype == np.float32 and "optimizer" not in name else array
        for name, array in saved.tensors.items()
    }
    write_state(tmp_path / "s", saved.facts, ruined)
    Image.fromarray(np.full((8, 8), 200, np.uint8)).save(tmp_path / "a.png")
    for command in (("predict", tmp_path / "s", tmp_path / "a.png"), ("eval", tmp_path / "s", "--data", shifted)):
        done = mest(*command, "--json")
        assert done.returncode == 2, done.stdout
        assert "not finite" in done.stderr
        assert done.stdout == ""


def test_every_kind_of_array_is_looked_through():
    """The name of the first that holds something else than numbers, however far in; whole numbers are not looked at."""
    late = np.zeros(200_000, np.float32)
    late[-1] = np.inf
    assert not_finite({"a": np.zeros(3, np.float32), "b": np.array([1 << 40]), "c": late, "d": late}) == "c"
    assert not_finite({"a": np.zeros((0, 4), np.float32)}) is None
    refuse_not_finite(np.zeros((2, 3), np.float32))
    with pytest.raises(InputError, match="its answers to 1 of 2 images are not finite"):
        refuse_not_finite(np.array([[0, np.nan], [1, 2]]))


def test_facts_that_are_no_json_are_refused_before_anything_is_written(tmp_path):
    """A number that is not finite, or an object: the state before stays."""
    write_state(tmp_path, {"step": 1}, {})
    for wrong in (float("nan"), object()):
        with pytest.raises(InputError, match="nothing was saved"):
            write_state(tmp_path, {"loss": wrong}, {})
    assert json.loads((tmp_path / "state.json").read_text())["generation"] == 1
