"""The reference of commands and of the Python API as Markdown, written from the code.

The site appends what these functions return to docs/commands.md and docs/python-api.md.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

import mest.cli as cli

PACKAGES = ("mest", "mest.sparse", "mest.ranking", "export", "edge")


def commands() -> str:
    """Every command with its description and every option that its parser takes."""
    return "\n\n".join(_command(name) for name in cli.SUMMARIES)


def parser_of(name: str) -> argparse.ArgumentParser:
    """The parser of one command, complete."""
    program = cli.build_parser(name)
    chosen = next(action for action in program._actions if isinstance(action, argparse._SubParsersAction))
    parser: argparse.ArgumentParser = chosen.choices[name]
    return parser


def _command(name: str) -> str:
    parser = parser_of(name)
    parts = [f"## mest {name}", textwrap.dedent(inspect.cleandoc(parser.description or ""))]
    for group in parser._action_groups:
        entries = [_entry(action, parser) for action in group._group_actions if action.help != argparse.SUPPRESS]
        if entries:
            parts += [f"**{(group.title or '').capitalize()}**", *entries]
    return "\n\n".join(parts)


def _entry(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    """An option and its help as an entry of a definition list, which a narrow screen shows whole."""
    formatter = parser._get_formatter()
    value = "" if action.nargs == 0 else formatter._format_args(action, _metavar(action))
    names = ", ".join(f"`{name}`" for name in action.option_strings) or f"`{value}`"
    given = f" `{value}`" if action.option_strings and value else ""
    text = formatter._expand_help(action) if action.help else ""
    return f"{names}{given}\n: {text}"


def _metavar(action: argparse.Action) -> str:
    if action.choices:
        return "|".join(map(str, action.choices))
    return action.dest.rsplit("_", 1)[-1].upper() if action.option_strings else action.dest


def python_api() -> str:
    """Every public name with its signature and docstring, by package."""
    return "\n\n".join(part for package in PACKAGES for part in _package(package))


def _package(package: str) -> Iterator[str]:
    module = importlib.import_module(package)
    yield f"## Reference: {package}"
    for name in sorted(module.__all__):
        yield from _name(f"{package}.{name}", getattr(module, name))


def _name(name: str, thing: Any) -> Iterator[str]:
    ours = getattr(thing, "__module__", "").split(".")[0] in ("edge", "export", "mest")
    if not ours or not (inspect.isclass(thing) or inspect.isroutine(thing)):
        yield f"### `{name}`\n\n```text\n{thing!r:.200}\n```"
        return
    yield f"### `{name}`"
    yield from _documented(name, thing)
    if inspect.isclass(thing):
        for member, value in vars(thing).items():
            function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            if not member.startswith("_") and inspect.isfunction(function) and function.__doc__:
                yield f"#### `{name.rpartition('.')[2]}.{member}`"
                yield from _documented(member, function)


def _documented(name: str, thing: Any) -> Iterator[str]:
    try:
        signature = inspect.signature(thing)
        plain = signature.replace(
            parameters=[each.replace(annotation=_unquoted(each.annotation)) for each in signature.parameters.values()],
            return_annotation=_unquoted(signature.return_annotation),
        )
        one = f"{name}{plain}"
        lines = [f"    {each}," for each in plain.parameters.values()]
        yield "```python\n" + (one if len(one) < 100 else "\n".join([f"{name}(", *lines, ")"])) + "\n```"
    except (TypeError, ValueError):  # an enumeration or the like has none
        pass
    text = inspect.cleandoc(thing.__doc__ or "")
    if text:
        yield text.replace("<", "&lt;") if "`" not in text else text


def _unquoted(annotation: Any) -> Any:
    """An annotation that prints without quotation marks."""
    return _Word(annotation) if isinstance(annotation, str) else annotation


class _Word:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text
