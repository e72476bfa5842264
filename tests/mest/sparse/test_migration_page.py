"""docs/migration.md: our blocks run as they stand, theirs too where their library is installed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch

PAGE = Path(__file__).resolve().parents[3] / "docs" / "migration.md"
BLOCK = re.compile(r"^```(py|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECTION = re.compile(r"^## (.+)\n", re.MULTILINE)
ALREADY = "A model that is already pruned"
TEXT = PAGE.read_text(encoding="utf-8")
OPENING, *PARTS = SECTION.split(TEXT)
SECTIONS = dict(zip(PARTS[::2], PARTS[1::2], strict=True))
LIBRARIES = [name for name in SECTIONS if name != ALREADY]


@pytest.fixture(autouse=True)
def _one_thread():
    """Tensors this small are slower on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def blocks(section: str, kind: str) -> list[str]:
    return [block for found, block in BLOCK.findall(section) if found == kind]


def run(block: str, names: dict) -> None:
    line = TEXT[: TEXT.index(block)].count("\n")
    exec(compile("\n" * line + block, str(PAGE), "exec"), names)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict:
    """What the opening block of the page defines."""
    module = type(sys)("migration")
    monkeypatch.setitem(sys.modules, "migration", module)
    (opening,) = blocks(OPENING, "python")
    run(opening, module.__dict__)
    return module.__dict__


def ours(names: dict, theirs: torch.nn.Module) -> None:
    """The last section's blocks, on a model that another library pruned."""
    names["theirs"] = theirs
    found = blocks(SECTIONS[ALREADY], "python")
    assert len(found) == 2
    for block in found:
        run(block, names)


@pytest.mark.parametrize("library", LIBRARIES)
def test_our_block_comes_to_what_it_asserts(library: str, names: dict) -> None:
    """Each library's section has one block of theirs and one of ours with an assertion."""
    assert len(blocks(SECTIONS[library], "py")) == 1
    (block,) = blocks(SECTIONS[library], "python")
    assert "\nassert " in block
    run(block, names)


def test_a_pruned_model_comes_over(names: dict) -> None:
    """With the masks that its zeros are."""
    model = names["net"]()
    with torch.no_grad():
        for name in ("2.weight", "5.weight"):
            weight = model.get_parameter(name)
            weight[weight.abs() < weight.abs().quantile(0.8)] = 0
    ours(names, model)


@pytest.mark.parametrize("library", LIBRARIES)
def test_their_block_runs_with_their_library(library: str, names: dict) -> None:
    """And what it pruned comes over."""
    (block,) = blocks(SECTIONS[library], "py")
    module, name = re.match(r"from (\S+) import (\S+)\n", block).groups()  # type: ignore[union-attr]
    if not hasattr(pytest.importorskip(module), name):
        pytest.skip(f"this {module} has no {name}")
    run(block, names)
    masks = names["mest"].masks_of(names["theirs"])
    assert masks
    ours(names, names["theirs"])
    assert names["mest"].masks_of(names["theirs"]).keys() == masks.keys()
