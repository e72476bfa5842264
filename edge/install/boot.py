"""A run that goes on by itself after its board has restarted: a systemd user unit, or a line of cron."""

from __future__ import annotations

import getpass
import hashlib
import os
import shlex
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from edge.errors import InputError
from edge.files.durable import sync_folder, write_durably

_RUNNING = Path("/run/systemd/system")  # is there while systemd is (sd_booted(3))
_TARGET = "default.target"
_MARK = "on_boot"  # in a run's folder: by which way it is continued
_LINGERING = Path("/var/lib/systemd/linger")  # a file for each user whose units start with the system, not at a login


class Way(ABC):
    """One way to have a command run when the board starts; entries are known by name."""

    name: str

    @abstractmethod
    def works(self) -> bool:
        """True if what is written now would run at the next start."""

    @abstractmethod
    def write(self, entry: str, words: Sequence[str]) -> None:
        """Have the command run at every start from now on; again, nothing changes."""

    @abstractmethod
    def remove(self, entry: str) -> None:
        """Let it not run any more; nothing happens where there is no such entry."""


class Systemd(Way):
    """A unit of the user's own service manager, which must start with the system."""

    name = "systemd"

    def __init__(self, running: Path = _RUNNING, lingering: Path = _LINGERING) -> None:
        self._running = running
        self._lingering = lingering

    def works(self) -> bool:
        """Where systemd is and lets this user's units start without a login."""
        if not self._running.is_dir():
            return False
        mark = self._lingering / getpass.getuser()
        if not mark.exists():
            with suppress(OSError):  # a user may ask it for themselves, where the system's policy allows it
                subprocess.run(
                    ["loginctl", "enable-linger"], stdin=subprocess.DEVNULL, capture_output=True, check=False
                )
        return mark.exists()

    def write(self, entry: str, words: Sequence[str]) -> None:
        """A unit, and what enables it; systemd reads both when it starts."""
        unit, wanted = self._paths(entry)
        wanted.parent.mkdir(parents=True, exist_ok=True)
        command = " ".join(map(_quoted, words))
        sections = (
            f"[Unit]\nDescription=Continues {entry}",
            f"[Service]\nExecStart={command}",
            f"[Install]\nWantedBy={_TARGET}",
        )
        write_durably(unit, ("\n\n".join(sections) + "\n").encode())
        if not wanted.is_symlink():  # what `systemctl enable` does, which would need a session of the user's
            wanted.symlink_to(unit)
            sync_folder(wanted.parent)

    def remove(self, entry: str) -> None:
        """Both files; a run under that unit goes on."""
        for path in reversed(self._paths(entry)):
            path.unlink(missing_ok=True)

    @staticmethod
    def _paths(entry: str) -> tuple[Path, Path]:
        folder = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "systemd" / "user"
        return folder / f"{entry}.service", folder / f"{_TARGET}.wants" / f"{entry}.service"


def _quoted(word: str) -> str:
    """A word as ExecStart= takes it (systemd.service(5), "Command lines")."""
    for char, written in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        word = word.replace(char, written)
    return f'"{word}"'


class Cron(Way):
    """A line of the user's crontab."""

    name = "cron"

    def works(self) -> bool:
        """Where there is a crontab."""
        return shutil.which("crontab") is not None

    def write(self, entry: str, words: Sequence[str]) -> None:
        """A line that ends with the entry's name; the other lines stay as they are."""
        command = shlex.join(words).replace("%", "\\%")  # a bare one would end the line (crontab(5))
        self._replace(entry, [f"@reboot {command} # {entry}"])

    def remove(self, entry: str) -> None:
        """That line alone."""
        if self.works():
            self._replace(entry, [])

    @staticmethod
    def _replace(entry: str, lines: list[str]) -> None:
        listed = subprocess.run(
            ["crontab", "-l"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        before = listed.stdout.splitlines() if listed.returncode == 0 else []  # 1: the user has none yet
        after = [line for line in before if not line.endswith(f" # {entry}")] + lines
        if after == before:
            return
        text = "".join(f"{line}\n" for line in after)
        done = subprocess.run(["crontab", "-"], input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InputError(f"crontab refuses: {done.stderr.strip()[:200]}; leave out the option, or mend that")


WAYS: tuple[Way, ...] = (Systemd(), Cron())


def continue_on_boot(folder: Path, words: Sequence[str], ways: Sequence[Way] = WAYS) -> str:
    """Have a command that continues the run in `folder` run at every start of the board; the name of the way.

    Raises InputError where the board has none.
    """
    if any("\n" in word for word in words):
        raise InputError(f"{str(folder)!r}: a line break in its name cannot be written down; choose another place")
    way = next((way for way in ways if way.works()), None)
    if way is None:
        raise InputError(
            "cannot be resumed on boot: this board has no cron, and no systemd that starts units of this user with it; "
            "install cron, or run 'loginctl enable-linger' as root for this user"
        )
    write_durably(folder / _MARK, way.name.encode())  # first: whatever is written from here on will be removed again
    way.write(_entry(folder), words)
    return way.name


def let_lie_on_boot(folder: Path, ways: Sequence[Way] = WAYS) -> None:
    """Let the run in `folder` not be continued any more when the board starts; only what was written is touched."""
    mark = folder / _MARK
    if mark.is_file():
        name = mark.read_text()
        for way in ways:
            if way.name == name:
                way.remove(_entry(folder))
        mark.unlink()


def _entry(folder: Path) -> str:
    """A name of its own for each run of each place on this board."""
    place = hashlib.sha256(os.fsencode(folder.parent)).hexdigest()[:8]
    return f"mest-{place}-{folder.name}"
