"""Artifacts and states that the first version wrote, one of each scheme, open as they did then.

tests/data/written_by_first_version/SCHEME.zip holds `artifact-SCHEME` and `state-SCHEME` as commit 69fa2fb wrote them:
three convolutions trained on the packaged digits at weight sparsity 0.6, fine-tuned for two epochs by the native
engine, with mutation where the scheme mutates; and `evaluated.json`, the accuracy that it gave on the digits kept for
testing.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from edge.engines.available import engine_available
from mest.cli import main

OLD = Path(__file__).resolve().parents[2] / "data" / "written_by_first_version"
DIGITS = Path(__file__).resolve().parents[3] / "mest" / "data" / "digits.npz"

pytestmark = pytest.mark.skipif(not engine_available("native")[0], reason="needs the native engine")


@pytest.fixture
def old(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, Path, dict]:
    """Artifact, state, and what the first version said of them."""
    scheme = request.param
    with zipfile.ZipFile(OLD / f"{scheme}.zip") as archive:
        archive.extractall(tmp_path)
    return (
        tmp_path / f"artifact-{scheme}",
        tmp_path / f"state-{scheme}",
        json.loads((tmp_path / "evaluated.json").read_text()),
    )


def answer(capsys: pytest.CaptureFixture[str], *words: object) -> dict:
    """The JSON of a command that ends well."""
    capsys.readouterr()
    assert main([*map(str, words), "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


@pytest.mark.parametrize("old", ["irregular", "block", "pattern", "channel"], indirect=True)
def test_what_the_first_version_wrote_is_read_as_it_was(old, capsys) -> None:
    """The artifact verifies, both give the accuracy of then up to one image, and the state goes on where it stopped."""
    artifact, state, evaluated = old
    answer(capsys, "verify", artifact)
    for what, path in (("artifact", artifact), ("state", state)):
        found = answer(capsys, "eval", path, "--data", DIGITS)
        assert found["samples"] == evaluated[what]["samples"]
        assert abs(found["accuracy"] - evaluated[what]["accuracy"]) * found["samples"] < 1.5
    went_on = answer(capsys, "finetune", artifact, "--data", DIGITS, "--resume", "--epochs", 3, "--out", state)
    assert went_on["epochs"] == 3
    began = answer(capsys, "finetune", state, "--data", DIGITS, "--epochs", 1, "--out", state.with_name("new"))
    assert began["epochs"] == 1
    for number in (went_on, began):
        assert number["accuracy_after"] > 0.8
