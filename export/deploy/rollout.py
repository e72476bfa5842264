"""Many boards: so many at once, stage after stage; a failure ends its stage, and nothing that has begun."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

Outcome = dict[str, Any]  # of one board: "board", "exit_code" (0 if all went well), and whatever else is known
_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Stage:
    """The boards of a stage in their order, and what became of those that began."""

    boards: tuple[str, ...]
    served: dict[str, Outcome]

    @property
    def failed(self) -> tuple[str, ...]:
        """Those that ended with another exit code than 0."""
        return tuple(name for name in self.boards if name in self.served and self.served[name]["exit_code"])

    @property
    def not_begun(self) -> tuple[str, ...]:
        """Those that were kept from beginning."""
        return tuple(name for name in self.boards if name not in self.served)


def roll_out(
    boards: Sequence[str],
    sizes: Sequence[int],
    serve: Callable[[str], Outcome],
    *,
    at_once: int,
    heed: bool,
    stopped: Callable[[], bool],
) -> Iterator[Stage]:
    """Each stage as it ends: `serve` was called with the name of every board in it, `at_once` at a time.

    With `heed`, a board that fails keeps those that have not begun from beginning, in its stage and in all later ones;
    those that have are served to their end. Without it nobody waits for another or fails with it. Once `stopped()` is
    true nothing begins any more. `serve` must not raise; what it raises is raised here, after the others have ended.
    """
    waiting, halted = list(boards), False
    for size in sizes:
        chosen, waiting = waiting[:size], waiting[size:]
        stage = Stage(tuple(chosen), {} if halted else _served(chosen, serve, at_once, heed, stopped))
        yield stage
        halted = halted or (heed and bool(stage.failed))


def _served(
    names: Sequence[str], serve: Callable[[str], Outcome], at_once: int, heed: bool, stopped: Callable[[], bool]
) -> dict[str, Outcome]:
    """The outcomes of those that began."""
    queue, changing = list(names), threading.Lock()
    raised: list[BaseException] = []
    served: dict[str, Outcome] = {}

    def work() -> None:
        while True:
            with changing:
                failed = heed and any(outcome["exit_code"] for outcome in served.values())
                if not queue or failed or raised or stopped():
                    return
                name = queue.pop(0)
            try:
                outcome = serve(name)
            except BaseException as error:
                raised.append(error)
                return
            with changing:
                served[name] = outcome

    # Each in a copy of this context: messages are spelled there as they are here.
    workers = [
        threading.Thread(target=copy_context().run, args=(work,), daemon=True) for _ in range(min(at_once, len(names)))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        while worker.is_alive():  # so that a signal is heard, and `stopped` asked, by this thread
            worker.join(_LOOK_SECONDS)
            stopped()
    if raised:
        raise raised[0]
    return served
