"""A hand's digits on the page that the demo wrote: drawn in a headless Chromium, trained on, read, and brought home.

usage: .ci/by_hand.py DEMO WORK     DEMO is a folder of `mest demo`, WORK a new folder

Fails unless the page reads more of another hand's drawings than before, `mest eval` finds that very accuracy for the
state that it hands out, and its memory is at most 3 MiB.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "builders"))
import chromium

Point = tuple[float, float]
MOST_MIB = 3
HANDS = ((115, 0.0, 0.0), (105, 0.06, 0.12))  # how large, how far right and how slanted; two that are trained on
OTHER_HAND = (110, -0.04, 0.06)


def arc(x: float, y: float, wide: float, high: float, start: float, end: float) -> list[Point]:
    """Points of an ellipse, from an angle to another in degrees, downwards from the right."""
    angles = np.radians(np.linspace(start, end, 20))
    return [(x + wide * math.cos(angle), y + high * math.sin(angle)) for angle in angles]


STROKES: list[list[list[Point]]] = [  # of each digit, from -1 to 1 to the right and down
    [arc(0, 0, 0.5, 0.8, -90, 270)],
    [[(-0.25, -0.5), (0.1, -0.85), (0.1, 0.85)]],
    [[*arc(0, -0.4, 0.5, 0.42, 180, 380), (-0.5, 0.8), (0.55, 0.8)]],
    [arc(0, -0.42, 0.45, 0.4, 200, 450) + arc(0, 0.4, 0.5, 0.42, -90, 150)],
    [[(0.1, -0.85), (-0.55, 0.25), (0.55, 0.25)], [(0.25, -0.2), (0.25, 0.85)]],
    [[(0.5, -0.8), (-0.4, -0.8), (-0.42, -0.1), *arc(0, 0.3, 0.5, 0.5, -120, 140)]],
    [[(0.3, -0.85), (-0.3, -0.1), *arc(0, 0.38, 0.45, 0.42, 200, -160)]],
    [[(-0.5, -0.8), (0.5, -0.8), (-0.1, 0.85)]],
    [arc(0, -0.42, 0.38, 0.38, 90, 450) + arc(0, 0.4, 0.45, 0.42, -90, 270)],
    [[*arc(0, -0.4, 0.42, 0.42, 0, -360), (0.35, 0.85)]],
]


def draw(page: chromium.Browser, digit: int, hand: tuple[float, float, float]) -> str:
    """Draw a digit on the pad; what the page reads."""
    (size, right, slant), (x, y) = hand, page.place("#pad")
    for stroke in STROKES[digit]:
        page.drag([(x + size * (across + right - slant * down), y + size * down) for across, down in stroke])
    page.wait("document.querySelector('#reading li')")
    return str(page.value("document.querySelector('#reading li span').textContent"))


def read_all(page: chromium.Browser) -> tuple[float, np.ndarray]:
    """Share of another hand's digits that the page reads, and their pixels as the network sees them."""
    right, pixels = 0, []
    dots = "(({ width, height }, drawing) => [...drawing.getImageData(0, 0, width, height).data])"
    canvas = "document.querySelector('#tray canvas')"
    for digit in range(10):
        right += draw(page, digit, OTHER_HAND) == str(digit)
        pixels.append(page.value(f"{dots}({canvas}, {canvas}.getContext('2d'))")[::4])
        page.press("#pad-clear")
        page.wait("!document.querySelector('#reading li')")
    return right / 10, np.array(pixels, np.uint8)


def mest(*words: object) -> str:
    """What a command prints; it must end well."""
    command = [sys.executable, "-m", "mest", *map(str, words)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main(demo: Path, work: Path) -> None:
    """Draw, train, read, download, evaluate."""
    work.mkdir()
    with chromium.browser(work / "profile") as page:
        page.open(f"file://{demo.resolve()}/by_hand.html", "!document.getElementById('work').inert")
        before, pixels = read_all(page)
        for count, (hand, digit) in enumerate(((hand, digit) for hand in HANDS for digit in range(10)), start=1):
            draw(page, digit, hand)
            page.press(f"#class-{digit}")
            page.wait(f"document.getElementById('counted').textContent.startsWith('{count}')")
        page.press("#train")
        page.wait("document.getElementById('status').textContent.startsWith('Done')")
        after, _ = read_all(page)
        state = page.downloaded(work / "downloads", "#download", "artifact.state")
        held = re.search(
            r"Memory reserved([\d.]+)\s(KiB|MiB)", page.value("document.getElementById('facts').textContent")
        )
    assert held is not None
    mib = float(held[1]) / (1024 if held[2] == "KiB" else 1)
    (work / "page.state").write_bytes(state)
    names = np.array([str(digit) for digit in range(10)])
    side = math.isqrt(pixels.shape[1])
    np.savez(work / "hand.npz", images=pixels.reshape(10, side, side), labels=np.arange(10), class_names=names)
    mest("unpack", work / "page.state", "--for", demo / "by_hand.mest", "--out", work / "state")
    found = json.loads(mest("eval", work / "state", "--data", work / "hand.npz", "--json"))["accuracy"]
    print(f"of ten digits by another hand the page read {before:.0%}, and {after:.0%} after it was trained on twenty;")
    print(f"mest eval: {found:.0%}; linear memory {mib:.2f} MiB")
    assert before < after
    assert after == found
    assert mib <= MOST_MIB


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
