"""The boards of a YAML list and its groups, and the stages in which they are served."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Any

from edge.spelling import named
from mest.errors import InputError

MAX_BOARDS = 10_000
_KEYS = ("boards", "groups")
_OF_A_BOARD = ("name", "host", "place", "python")
_STAGE = re.compile(r"([0-9]{1,5})(%?)")


@dataclass(frozen=True)
class Listed:
    """A board: `name` is that of its results, `host` what ssh takes; place and Python where they are its own."""

    name: str
    host: str
    place: str | None = None
    python: str | None = None


def read_boards(path: Path, groups: Sequence[str] = ()) -> list[Listed]:
    """The boards of a YAML list, those of the groups alone if any is named, in the order of the list.

    ```yaml
    boards:
    - pi@10.0.0.7                                            # a host as ssh takes it
    - {name: attic, host: pi@10.0.0.8, place: /data/mest, python: python3.11}
    groups:
      indoor: [attic]
    ```

    Raises InputError with everything that is wrong with the list.
    """
    content = _parsed(path)
    problems = [f"unknown key {key!r} (allowed: {', '.join(_KEYS)})" for key in content if key not in _KEYS]
    listed = content.get("boards")
    if not isinstance(listed, list) or not listed:
        raise InputError(f"{path}: needs the key 'boards' with a list of them")
    if len(listed) > MAX_BOARDS:
        raise InputError(f"{path}: {len(listed)} boards are more than {MAX_BOARDS}; make several lists")
    boards = [board for entry in listed if (board := _board(entry, problems)) is not None]
    names = [board.name for board in boards]
    problems += [f"board {name!r} is listed twice" for name in sorted({one for one in names if names.count(one) > 1})]
    known = _groups(content.get("groups"), names, problems)
    for group in groups:
        if group not in known:
            allowed = f"allowed are {', '.join(known)}" if known else "the list has none"
            problems.append(f"{named('group')} {group}: no such group; {allowed}")
    if problems:
        raise InputError(f"{path}: {'; '.join(problems)}")
    wanted = {name for group in groups for name in known[group]}
    return [board for board in boards if not groups or board.name in wanted]


def _parsed(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as reason:
        raise InputError(f"{path}: not a readable YAML list of boards: {' '.join(str(reason).split())}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: needs the key 'boards' with a list of them, and may have 'groups'")
    return content


def _board(entry: object, problems: list[str]) -> Listed | None:
    """One entry of the list: a host, or a mapping with its name; what is wrong goes into `problems`."""
    facts = {"name": entry} if isinstance(entry, str) else entry
    if not isinstance(facts, dict):
        problems.append(f"{entry!r:.60} is neither a host nor a mapping with 'name'")
        return None
    about = f"board {facts.get('name', entry)!r:.60}"
    found = []
    for key, value in facts.items():
        if key not in _OF_A_BOARD:
            near = [f", did you mean {name}" for name in get_close_matches(str(key), _OF_A_BOARD, 1)]
            found.append(f"{about}: unknown key {key!r}{''.join(near)}")
        elif not isinstance(value, str) or not value:
            found.append(f"{about}: {key} must be a text, not {value!r:.40}")
    if "name" not in facts:
        found.append(f"{about}: has no 'name'")
    problems += found
    return None if found else Listed(**{"host": facts["name"], **facts})


def _groups(content: object, names: Sequence[str], problems: list[str]) -> Mapping[str, list[str]]:
    """The names of the boards by group."""
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(group, list) for group in content.values()):
        problems.append("'groups' must map the name of each group to a list of boards")
        return {}
    strangers = [(group, name) for group, inside in content.items() for name in inside if name not in names]
    problems += [f"group {group}: {name!r:.60} is not among the boards" for group, name in strangers]
    return {str(group): [name for name in inside if name in names] for group, inside in content.items()}


def stages(text: str | None, count: int) -> list[int]:
    """How many of `count` boards each stage serves, for a text such as 1,10%,100%: how many are served after each.

    One stage without a text. Shares are rounded up; a stage that adds nobody is none. Raises InputError unless the
    numbers grow and the last is all of them.
    """
    if text is None:
        return [count]
    found = [_STAGE.fullmatch(word) for word in text.split(",")]
    reached = [0]
    for word, match in zip(text.split(","), found, strict=True):
        if match is None or not int(match[1]) or (match[2] and int(match[1]) > 100):
            raise InputError(f"{named('stage')} {text}: {word!r} is neither a number of boards nor a share such as 10%")
        served = -(-count * int(match[1]) // 100) if match[2] else min(int(match[1]), count)
        if served < reached[-1]:
            raise InputError(f"{named('stage')} {text}: must grow, and {word} of {count} is less than before it")
        reached.append(served)
    if reached[-1] != count:
        raise InputError(f"{named('stage')} {text}: leaves out {count - reached[-1]} of {count} boards; end with 100%")
    return [after - before for before, after in pairwise(reached) if after > before]
