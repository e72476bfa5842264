"""The boards that one client speaks for, as its configuration names them, and how they are reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.errors import InputError
from export.deploy.channel import Channel
from export.deploy.fleet import Listed, read_boards
from export.deploy.home import folder_of
from export.flower.given import typed

BOARD = "{board}"  # in a path of data: the name of the board
_LIST = "boards"
_DEFAULTS: Mapping[str, Any] = {
    "group": "",
    "board-place": "~/.mest",
    "board-python": "python3",
    "ssh-config": "",
    "board-seconds": 3000.0,
    "at-once": 8,
}


@dataclass(frozen=True)
class Boards:
    """The boards of a list, where mest lies on them if the list does not say, and how long a round waits for them."""

    listed: tuple[Listed, ...]
    place: str
    python: str
    ssh_config: str
    seconds: float
    at_once: int

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Boards | None:
        """The boards that a node's configuration names by `boards`, a list as `mest boards` reads it; None without.

        Raises InputError for a value of another type, and for one that is about boards where there are none.
        """
        values = {name: typed(given, name, default, "node configuration") for name, default in _DEFAULTS.items()}
        if not given.get(_LIST):
            idle = next((name for name in _DEFAULTS if name in given), None)
            if idle is not None:
                raise InputError(f'node configuration: {idle} is about boards; give {_LIST}="FILE", or leave it out')
            return None
        for name in ("board-seconds", "at-once"):
            if not values[name] > 0:
                raise InputError(f"node configuration: {name} {values[name]:g}: must be above 0")
        listed = read_boards(Path(str(given[_LIST])), [values["group"]] if values["group"] else ())
        if len({folder_of(one.name) for one in listed}) < len(listed):
            raise InputError(f"{given[_LIST]}: two boards would have one folder here; give one of them another name")
        return cls(
            tuple(listed),
            values["board-place"],
            values["board-python"],
            values["ssh-config"],
            values["board-seconds"],
            values["at-once"],
        )

    def channels(self) -> dict[str, Channel]:
        """A channel to each board, by its name; raises InputError for what cannot be a host."""
        ssh = ["ssh", *(["-F", self.ssh_config] if self.ssh_config else [])]
        return {
            one.name: Channel(one.name, one.place or self.place, one.python or self.python, ssh, one.host)
            for one in self.listed
        }
