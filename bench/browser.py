"""A headless Chromium that is told what to do over a pipe: pages opened, files given, screenshots taken."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

WAIT_S = 60.0


class Page:
    """One tab of the browser, of a size in CSS pixels."""

    def __init__(self, send: int, receive: int, width: int, height: int, dark: bool) -> None:
        self._send, self._receive, self._count, self._left = send, receive, 0, b""
        self._session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def resize(self, width: int, height: int) -> None:
        """Make the window so large, in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What a method of the DevTools protocol answers; raises RuntimeError with what it complains of."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                break
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        found: dict[str, Any] = answer["result"]
        return found

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            more = os.read(self._receive, 1 << 16)
            if not more:
                raise RuntimeError("the browser ended")
            self._left += more
        line, _, self._left = self._left.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        return found

    def evaluate(self, script: str) -> Any:
        """The value of an expression, awaited if it is a promise; raises RuntimeError with what it throws."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"].get("exception", answer["exceptionDetails"])))
        return answer["result"].get("value")

    def wait_for(self, script: str) -> None:
        """Return once an expression is true; raises TimeoutError."""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            if self.evaluate(f"Boolean({script})"):
                return
            time.sleep(0.2)
        raise TimeoutError(f"{script}: not within {WAIT_S:.0f} s")

    def give_file(self, selector: str, path: Path) -> None:
        """Choose a file in an input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", files=[str(path.resolve())], nodeId=node)

    def screenshot(self, path: Path) -> None:
        """Write what is seen as a PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextmanager
def browser(
    width: int, height: int, dark: bool = False, command: str = "chromium", more: tuple[str, ...] = ("--disable-gpu",)
) -> Iterator[Page]:
    """A page of a browser that ends with the block; the browser sees no network beyond this machine.

    `more` are options of the browser beside those that it always gets.
    """
    to_browser, from_browser = os.pipe(), os.pipe()
    with TemporaryDirectory(prefix="chromium-") as profile:
        flags = ("--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--no-first-run", *more)
        redirected = f'exec "$@" 3<&{to_browser[0]} 4>&{from_browser[1]}'  # the numbers that it speaks on
        started = subprocess.Popen(
            ["bash", "-c", redirected, "browser", command, *flags, f"--user-data-dir={profile}"],
            pass_fds=(to_browser[0], from_browser[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser[0])
        os.close(from_browser[1])
        try:
            yield Page(to_browser[1], from_browser[0], width, height, dark)
        finally:
            started.terminate()
            started.wait()
            os.close(to_browser[1])
            os.close(from_browser[0])
