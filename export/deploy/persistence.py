"""A board's commands, tried again when the connection is lost: what one deployment or one round is made of."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from edge.files.digest import sha256
from export.deploy.channel import Channel, LostError, RefusedError
from export.deploy.data import Data
from export.deploy.home import fetch, listed

_WAITS = (1.0, 2.0, 4.0, 8.0, 15.0)  # seconds before a lost connection is tried again
_HELD_SECONDS = 60.0  # a connection that held so long was a good one
_RESTARTS = 3  # of a run that died without a word, as in a reset
Answer = TypeVar("Answer")


class Persistence:
    """A channel whose losses are told and tried again, a few times; `say` is told of each."""

    def __init__(self, channel: Channel, say: Callable[[str], None]) -> None:
        self.channel = channel
        self._say = say

    def again(self, act: Callable[[], Answer]) -> Answer:
        """What `act` gives; after a lost connection it is tried again."""
        waits = list(_WAITS)
        while True:
            began = time.monotonic()
            try:
                return act()
            except LostError as error:
                if time.monotonic() - began > _HELD_SECONDS:
                    waits = list(_WAITS)
                if not waits:
                    raise LostError(f"{error}; call again to go on from here") from None
                wait = waits.pop(0)
                self._say(f"{error}; trying again in {wait:.0f} s")
                self.channel.pause(wait)

    def ask(self, command: str, question: object, *words: str) -> dict[str, Any]:
        """The answer of a command that reads a question."""
        return self.again(lambda: self.channel.call(command, *words, feed=[json.dumps(question).encode()]))

    def lay(self, data: Data) -> None:
        """Give data whose contents have arrived their names."""
        files = {name: [member.sha256, member.nbytes] for name, member in data.members.items()}
        self.ask("lay", {"number": data.number, "files": files})

    def run(
        self, asked: Mapping[str, Any], began: Callable[[dict[str, Any]], None], tell: Callable[[str], None]
    ) -> dict[str, Any]:
        """Start a run, or find the one that was started before, tell what it says, and give how it ended.

        `began` is told the answer of each start. Raises RefusedError for one that dies again and again.
        """
        number, offset = str(asked["number"]), 0
        for _ in range(_RESTARTS):
            began(self.ask("start", asked))
            ended, offset = self._follow(number, offset, tell)
            if ended is not None:
                return ended
            self._say("the run ended without a word; continuing it")
        raise RefusedError(f"run {number} died {_RESTARTS} times without saying why", 1)

    def _follow(self, number: str, offset: int, tell: Callable[[str], None]) -> tuple[dict[str, Any] | None, int]:
        """How the run ended, None if it died, and how far its log was read."""
        ended: dict[str, Any] | None = None

        def listen() -> bool:
            nonlocal ended, offset
            rest = b""
            for piece in self.channel.stream("follow", number, str(offset)):
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    said = json.loads(line)
                    offset = int(said.get("offset", offset))
                    for text in str(said.get("text", "")).splitlines():
                        tell(text)
                    ended = said.get("ended", ended)
            return True

        self.again(listen)
        return ended, offset

    def bring(self, number: str, into: Path, wanted: Callable[[str], bool] = lambda name: True) -> None:
        """Bring home what a run left, of it the files that are `wanted` by their names."""
        into.mkdir(parents=True, exist_ok=True)

        def bring() -> None:
            files = self.channel.call("outcome", number)["files"]
            fetch(
                listed({name: facts for name, facts in files.items() if wanted(name)}, into),
                into,
                lambda member, offset: self.channel.stream("fetch", number, member.name, str(offset)),
            )

        self.again(bring)


def number_of(*parts: object) -> str:
    """The number by which a run of these parts, plain JSON, is found again."""
    digest = sha256()
    digest.update(json.dumps(parts).encode())
    return str(digest.hexdigest()[:16])
