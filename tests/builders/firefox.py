"""A headless Firefox, driven through its Marionette protocol by the standard library alone."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = next((found for found in map(shutil.which, ("firefox-esr", "firefox")) if found), None)
PATIENCE_SECONDS = 60.0
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # how WebDriver marks a reference


class Browser:
    """One browser with its own profile; downloads go to `profile`/downloads."""

    def __init__(self, profile: Path) -> None:
        (profile / "downloads").mkdir(parents=True, exist_ok=True)
        preferences = {
            "marionette.port": 0,  # any; it writes which
            "browser.download.folderList": 2,
            "browser.download.dir": str(profile / "downloads"),
            "browser.shell.checkDefaultBrowser": False,
            "datareporting.policy.dataSubmissionEnabled": False,
        }
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items()]
        (profile / "user.js").write_text("".join(lines))
        port = profile / "MarionetteActivePort"
        port.unlink(missing_ok=True)
        words = [str(PROGRAM), "--headless", "--marionette", "--no-remote", "--profile", str(profile)]
        self._log = open(profile / "browser.log", "wb")  # noqa: SIM115 - as long as the browser
        self.process = subprocess.Popen(words, stdout=self._log, stderr=self._log)
        self.profile, self._number = profile, 0
        end = time.monotonic() + PATIENCE_SECONDS
        while not (port.is_file() and port.read_text().strip()):
            assert self.process.poll() is None and time.monotonic() < end, "Firefox does not start"  # noqa: PT018
            time.sleep(0.05)
        self._socket = socket.create_connection(("127.0.0.1", int(port.read_text())), PATIENCE_SECONDS)
        self._stream = self._socket.makefile("rb")
        self._read()  # its greeting
        self.version: str = self.call("WebDriver:NewSession")["capabilities"]["browserVersion"]

    def call(self, command: str, **parameters: Any) -> dict[str, Any]:
        """What the browser answers to a command of WebDriver."""
        self._number += 1
        message = json.dumps([0, self._number, command, parameters]).encode()
        self._socket.sendall(b"%d:%b" % (len(message), message))
        _, number, error, found = self._read()
        assert (number, error) == (self._number, None), (command, error)
        answer: dict[str, Any] = found
        return answer

    def _read(self) -> Any:
        length = b""
        while not length.endswith(b":"):
            more = self._stream.read(1)
            assert more, "the browser ended"
            length += more
        return json.loads(self._stream.read(int(length[:-1])))

    def open(self, address: str, ready: str) -> None:
        """Go to an address, and wait until the expression `ready` holds there."""
        self.call("WebDriver:Navigate", url=address)
        self.wait(ready)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives in the page."""
        return self.call("WebDriver:ExecuteScript", script=f"return ({expression});", args=[])["value"]

    def wait(self, expression: str) -> None:
        """Wait until an expression gives something that is true."""
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            if self.value(f"(() => {{ try {{ return Boolean({expression}); }} catch {{ return false; }} }})()"):
                return
            time.sleep(0.05)
        raise AssertionError(f"never came true: {expression}; the page says {self.value('document.body.innerText')}")

    def press(self, selector: str) -> None:
        """Click the middle of an element."""
        self.call("WebDriver:ElementClick", id=self._element(selector))

    def give_files(self, selector: str, files: Sequence[Path]) -> None:
        """Pick files in a file input."""
        self.call("WebDriver:ElementSendKeys", id=self._element(selector), text="\n".join(map(str, files)))

    def downloaded(self, selector: str, name: str) -> bytes:
        """What an element's download gives, once it is whole."""
        file = self.profile / "downloads" / name
        file.unlink(missing_ok=True)
        self.press(selector)
        end = time.monotonic() + PATIENCE_SECONDS
        while not (file.is_file() and file.stat().st_size and not file.with_name(f"{name}.part").exists()):
            assert time.monotonic() < end, f"{name}: is not downloaded"
            time.sleep(0.05)
        return file.read_bytes()

    def close(self) -> None:
        """End it."""
        self._stream.close()
        self._socket.close()
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()

    def _element(self, selector: str) -> str:
        found = self.call("WebDriver:FindElement", using="css selector", value=selector)["value"]
        identity: str = found[_ELEMENT]
        return identity


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser that is closed again."""
    opened = Browser(profile)
    try:
        yield opened
    finally:
        opened.close()
