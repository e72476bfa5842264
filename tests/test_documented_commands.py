"""Every command that the documentation shows exists, with the options that it is shown with.

`.ci/documented.py` runs the shell blocks; these are those within sentences, tables and blocks that take too long.
"""

from __future__ import annotations

import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from finetune_example import make_artifact  # noqa: F401 - a fixture

import mest.cli as cli

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "pkl/README.md", "bench/records/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
COMMAND = re.compile(r"(?:^|(?<=[`$(|]))\s*((?:mest|python -m) [^`#\n|>]+)", re.MULTILINE)
CONTINUED = re.compile(r"\\\n\s*")
OPTION = re.compile(r"(?<!\S)--[a-z][a-z-]+")
# Prose that only looks like a command, and programs that are not ours.
NOT_OURS = ("python -m pytest", "python -m venv", "python -m build", "python -m ziglang", "python -m pip")


def shown() -> list[tuple[str, str]]:
    """The page and the text of every command, with a line that a code span breaks joined again."""
    found = []
    for page in PAGES:
        if page.exists():
            text = re.sub(
                r"`[^`\n]*\n[^`\n]*`", lambda span: span[0].replace("\n", " "), page.read_text(encoding="utf-8")
            )
            found += [(page.name, command.strip()) for command in COMMAND.findall(CONTINUED.sub(" ", text))]
    return [(page, command) for page, command in found if not command.startswith(NOT_OURS)]


def options_of(command: str) -> set[str]:
    """Every option that a program takes: of ours by its parser, of a module by the texts of its source."""
    if command.startswith("mest "):
        name = command.split()[1]
        parsers = next(action for action in cli.build_parser(name)._actions if action.dest == "command")
        assert name in parsers.choices, f"{command}: no such command"  # type: ignore[operator]
        return set(parsers.choices[name]._option_string_actions)  # type: ignore[union-attr, call-overload]
    module = command.split()[2]
    found = find_spec(module)
    assert found is not None, f"{command}: no such module"
    assert found.origin is not None
    return set(re.findall(r"\"(--[a-z-]+)\"", Path(found.origin).read_text(encoding="utf-8")))


@pytest.mark.parametrize(("page", "command"), shown())
def test_documented_options_exist(page: str, command: str) -> None:
    """No command is shown with an option that it does not take."""
    if command.split()[1].startswith("--"):  # of the program itself
        return
    for part in command.split(" -- "):  # a command of its own may follow
        given = part if part.startswith(("mest ", "python ")) else f"mest {part}"
        assert set(OPTION.findall(given)) <= options_of(given), f"{page}: {command}"


def test_the_pages_show_commands() -> None:
    """The search finds what it is for: commands in sentences, in tables and in blocks."""
    texts = [command for _, command in shown()]
    assert len(texts) > 60
    assert any(text.startswith("python -m bench.budget_train") for text in texts)
    assert any(text.startswith("mest train --recipe profiles/recipes/resnet32/EM/") for text in texts)


def test_the_example_of_a_camera_runs(make_artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """The Python block of docs/artifact.md, as it stands, in a folder with an artifact."""
    shutil.copytree(make_artifact(), tmp_path / "artifact")
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "artifact.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    # This process holds PyTorch, so no budget of a board fits it.
    exec(compile(block.replace('"64MiB"', "None"), "docs/artifact.md", "exec"), {})
