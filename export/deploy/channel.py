"""One board over the system's OpenSSH client, with its keys, its configuration and its jump hosts."""

from __future__ import annotations

import json
import shlex
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import edge.install.look
from edge.files.digest import sha256
from edge.install.health import last_line
from export.deploy.program import program, zipped
from mest.errors import InputError, MestError

# No question is ever asked, and a connection that died is noticed within half a minute.
_OPTIONS = {"BatchMode": "yes", "ConnectTimeout": "20", "ServerAliveInterval": "10", "ServerAliveCountMax": "3"}
_LOST = 255  # how ssh itself ends when it could not connect, or no longer is
_LOADER = "import sys;n=int(sys.argv.pop(1));exec(compile(sys.stdin.buffer.read(n),'look','exec'))"


class RefusedError(MestError):
    """What a board refused, with the exit code that it gave."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class LostError(MestError):
    """The connection could not be made, or was lost."""

    exit_code = 2


class Channel:
    """Commands on one board, each over a connection of its own; to be used by one thread.

    `board` is what it is called here; `host` what ssh takes, if that is something else.
    `close`, from any thread, ends what is under way and everything that would come after it.
    """

    def __init__(self, board: str, place: str, python: str, ssh: Sequence[str], host: str | None = None) -> None:
        host = board if host is None else host
        if not host or host.startswith("-"):
            raise InputError(
                f"board {host!r}: must be a host as ssh takes it: board, user@board or a name of its config"
            )
        self.board = board
        self._asked_place = place
        self._python = python
        options = [word for name, value in _OPTIONS.items() for word in ("-o", f"{name}={value}")]
        self._ssh = [*ssh, "-T", *options, "--", host]
        self._program = zipped(program("remote"))
        digest = sha256()
        digest.update(self._program)
        self._name = str(digest.hexdigest())
        self._root = ""
        self._running: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        self._changing = threading.Lock()

    def close(self) -> None:
        """End what is under way; what runs on the board goes on."""
        with self._changing:
            self._stop.set()
            if self._running is not None:
                self._running.terminate()

    def pause(self, seconds: float) -> None:
        """Wait, or raise LostError as soon as the channel is closed."""
        if self._stop.wait(seconds):
            raise LostError("stopped")

    def look(self, leave_program: bool) -> dict[str, Any]:
        """What the board is and holds; with `leave_program` it has our program afterwards, else nothing is written."""
        text = Path(edge.install.look.__file__).read_bytes()
        words = [self._python, "-c", _LOADER, str(len(text)), self._asked_place, self._name]
        answer = b"".join(self._run(words, [text, self._program if leave_program else b""]))
        try:
            found: dict[str, Any] = json.loads(answer)
            self._root = str(found["place"])
        except (ValueError, KeyError, TypeError):
            raise RefusedError(f"answers {answer[:80]!r} where a line of JSON was expected", 2) from None
        return found

    def call(self, command: str, *words: str, feed: Iterable[bytes] = ()) -> dict[str, Any]:
        """The answer of a command of `edge.install.remote`."""
        answer = b"".join(self.stream(command, *words, feed=feed))
        try:
            found: dict[str, Any] = json.loads(answer)
        except ValueError:
            raise RefusedError(f"answers {answer[:80]!r} to {command}", 1) from None
        return found

    def stream(self, command: str, *words: str, feed: Iterable[bytes] = ()) -> Iterator[bytes]:
        """The same as it comes."""
        tool = f"{self._root}/tools/{self._name}.pyz"
        return self._run([self._python, "-I", tool, self._root, command, *words], feed)

    def _run(self, words: Sequence[str], feed: Iterable[bytes]) -> Iterator[bytes]:
        with tempfile.TemporaryFile() as said:
            process = self._begin(shlex.join(words), said)
            assert process.stdin is not None and process.stdout is not None  # noqa: PT018 - for the type checker
            try:
                with suppress(BrokenPipeError):
                    for piece in feed:
                        process.stdin.write(piece)
                    process.stdin.close()
                while piece := process.stdout.read1(1 << 16):  # type: ignore[attr-defined]
                    yield piece
                code = process.wait()
            finally:
                with suppress(BrokenPipeError):
                    process.stdin.close()
                process.terminate()
                process.wait()
                process.stdout.close()
                with self._changing:
                    self._running = None
            if code:
                said.seek(0)
                self._refuse(code, said.read().decode("utf-8", "replace"))

    def _begin(self, remote: str, said: IO[bytes]) -> subprocess.Popen[bytes]:
        with self._changing:
            if self._stop.is_set():
                raise LostError("stopped")
            try:
                self._running = subprocess.Popen(
                    [*self._ssh, remote],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    start_new_session=True,
                )
            except OSError as error:
                raise InputError(
                    f"{self._ssh[0]}: cannot be run ({error.strerror}); install an OpenSSH client"
                ) from None
            return self._running

    def _refuse(self, code: int, said: str) -> None:
        line = last_line(said)
        if code == _LOST or code < 0:
            raise LostError(f"no connection: {line}")
        if code == 127:
            raise RefusedError(f"has no {self._python} ({line}); install Python 3.10 or newer there", 2)
        raise RefusedError(line, code)
