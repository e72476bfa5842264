"""A headless Chromium, driven over a pipe by the standard library alone: pages opened, pressed, drawn on, looked at."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = next((found for found in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if found), None)
PATIENCE_SECONDS = 60.0
_KEYS = {"Tab": (9, ""), "Enter": (13, "\r"), "Space": (32, " ")}  # code and text
_OPTIONS = (
    "--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-default-browser-check",
)  # fmt: skip


class Browser:
    """One browser with its own profile, and the tab that is driven."""

    def __init__(self, profile: Path, options: Sequence[str] = ()) -> None:
        (theirs, ours_out), (ours_in, back) = _high(os.pipe()), _high(os.pipe())
        shell = f'exec "$0" "$@" 3<&{theirs} 4>&{back} {theirs}<&- {back}>&-'
        words = [str(PROGRAM), *_OPTIONS, *options, f"--user-data-dir={profile}", "about:blank"]
        self._log = open(profile.with_suffix(".log"), "wb")  # noqa: SIM115 - as long as the browser
        self.process = subprocess.Popen(
            ["bash", "-c", shell, *words], pass_fds=(theirs, back), stdout=self._log, stderr=self._log
        )
        os.close(theirs)
        os.close(back)
        self._out, self._in, self._left, self._number = ours_out, ours_in, b"", 0
        self.events: list[dict[str, Any]] = []
        self._session: str | None = None
        self._drive(self._first_tab())

    def _first_tab(self) -> str:
        """The tab that the browser starts with; it answers before it has one."""
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            for each in self.call("Target.getTargets")["targetInfos"]:
                if each["type"] == "page":
                    tab: str = each["targetId"]
                    return tab
            time.sleep(0.05)
        raise AssertionError("the browser opens no tab")

    def _drive(self, tab: str) -> None:
        self._session = self.call("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    @contextmanager
    def another_tab(self) -> Iterator[str | None]:
        """Drive a second tab, which is closed again, instead of the first; gives the first, for `driving`."""
        first, tab = self._session, self.call("Target.createTarget", url="about:blank")["targetId"]
        self._drive(tab)
        try:
            yield first
        finally:
            if self.process.poll() is None:
                self.call("Target.closeTarget", targetId=tab)
            self._session = first

    @contextmanager
    def driving(self, tab: str | None) -> Iterator[None]:
        """Drive the other tab meanwhile."""
        self._session, back = tab, self._session
        try:
            yield
        finally:
            self._session = back

    def close(self) -> None:
        """End it; what it leaves on the disk is its profile."""
        session, self._session = self._session, None
        try:
            self.call("Browser.close")
        except (OSError, AssertionError):  # it was killed
            self.process.kill()
        try:
            self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._session = session
        for end in (self._out, self._in):
            os.close(end)
        self._log.close()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What the browser answers to a command of its protocol; what happened meanwhile goes to `events`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session and not method.startswith(("Target.", "Browser.")):
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            found = self._next(end)
            if found.get("id") == self._number:
                assert "error" not in found, (method, found["error"])
                answer: dict[str, Any] = found["result"]
                return answer
            self.events.append(found)

    def _next(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._in], [], [], max(0.0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            more = os.read(self._in, 1 << 20)
            assert more, "the browser ended"
            self._left += more
        message, _, self._left = self._left.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def open(self, address: str, ready: str) -> None:
        """Go to an address, anew if it is this one, and wait until the expression `ready` holds there.

        Nothing is asked of a page that is being left: its answer may be lost with it.
        """
        loader = self.call("Page.navigate", url=address)["loaderId"]
        end = time.monotonic() + PATIENCE_SECONDS
        while not any(_arrived(event, loader) for event in self.events):
            self.events.append(self._next(end))
        self.wait(ready)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression, or its promise, gives in the page."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, expression: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until an expression gives something that is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.value(f"(() => {{ try {{ return Boolean({expression}); }} catch {{ return false; }} }})()"):
                return
            time.sleep(0.05)
        raise AssertionError(
            f"never came true: {expression}; the page says {self.value('document.body.innerText')[:2000]}"
        )

    def press(self, selector: str) -> None:
        """Click the middle of an element with the mouse."""
        x, y = self.place(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def key(self, name: str) -> None:
        """Press a key of the keyboard: "Tab", "Enter" or "Space"."""
        code, text = _KEYS[name]
        given: dict[str, Any] = {"key": text or name, "code": name, "windowsVirtualKeyCode": code}
        if name == "Enter":
            given["key"] = name
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **given)
        self.call("Input.dispatchKeyEvent", type="keyUp", **given)

    def focused(self) -> str:
        """The name of the element that the keyboard speaks to; empty for none."""
        name: str = self.value("document.activeElement === document.body ? '' : document.activeElement.id")
        return name

    def tab_to(self, name: str, most: int = 60) -> None:
        """Press Tab until an element has the focus."""
        for _ in range(most):
            self.key("Tab")
            if self.focused() == name:
                return
        raise AssertionError(f"{name}: Tab never comes to it")

    def accessible(self, role: str) -> list[dict[str, Any]]:
        """What a screen reader is told of the elements of a role: name and value."""
        nodes = [each for each in self.call("Accessibility.getFullAXTree")["nodes"] if not each["ignored"]]
        return [
            {"name": each.get("name", {}).get("value", ""), "value": each.get("value", {}).get("value")}
            for each in nodes
            if each["role"]["value"] == role
        ]

    def choose_by_keyboard(self, files: Sequence[Path]) -> None:
        """Press Enter on the file input that has the focus, and pick files in the dialog that opens."""
        self.call("Page.setInterceptFileChooserDialog", enabled=True)
        before = len(self.events)
        self.key("Enter")
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            self.value("0")  # takes in what has happened
            opened = [each for each in self.events[before:] if each.get("method") == "Page.fileChooserOpened"]
            if opened:
                element = opened[0]["params"]["backendNodeId"]
                self.call("DOM.setFileInputFiles", backendNodeId=element, files=[str(file) for file in files])
                return
            time.sleep(0.05)
        raise AssertionError("no dialog for files opened")

    def place(self, selector: str) -> tuple[float, float]:
        """The middle of an element, once it is scrolled into view."""
        x, y = self.value(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)});"
            "one.scrollIntoView({block: 'center'});"
            "const box = one.getBoundingClientRect(); return [box.left + box.width / 2, box.top + box.height / 2]; })()"
        )
        return x, y

    def drag(self, points: Sequence[tuple[float, float]]) -> None:
        """Draw a line with the mouse held down."""
        (x, y), *rest = points
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, button="left", clickCount=1)
        for x, y in rest:
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, button="left", buttons=1)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, button="left", clickCount=1)

    def give_files(self, selector: str, files: Sequence[Path]) -> None:
        """Pick files in a file input, as a person does."""
        found = self.call("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")
        self.call("DOM.setFileInputFiles", objectId=found["result"]["objectId"], files=[str(file) for file in files])

    def downloaded(self, folder: Path, selector: str, name: str) -> bytes:
        """What an element's download gives, once it is whole."""
        folder.mkdir(exist_ok=True)
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        (folder / name).unlink(missing_ok=True)
        self.press(selector)
        end = time.monotonic() + PATIENCE_SECONDS
        while not (folder / name).is_file() and time.monotonic() < end:
            time.sleep(0.05)
        return (folder / name).read_bytes()

    def screenshot(self, file: Path, width: int, height: int, dark: bool = False) -> None:
        """The whole page at a width, as a PNG."""
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
        )
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        time.sleep(0.2)
        found = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(found["data"]))

    def requests(self) -> list[str]:
        """Addresses that pages asked for so far, the page's own file and what it made itself aside."""
        asked = [
            each["params"]["request"]["url"]
            for each in self.events
            if each.get("method") == "Network.requestWillBeSent"
        ]
        return [address for address in asked if not address.startswith(("file:", "blob:", "data:", "about:"))]


def _arrived(event: dict[str, Any], loader: str) -> bool:
    """Whether an event says that a tab shows another document now, the one that this loader fetched."""
    return bool(event.get("method") == "Page.frameNavigated" and event["params"]["frame"]["loaderId"] == loader)


def _high(ends: tuple[int, int]) -> tuple[int, int]:
    """The ends of a pipe under numbers from 10 on, as 3 and 4 are what the browser reads and writes."""
    one, other = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)
    return one, other


@contextmanager
def browser(profile: Path, *options: str) -> Iterator[Browser]:
    """A browser that is closed again."""
    opened = Browser(profile, options)
    try:
        yield opened
    finally:
        opened.close()
