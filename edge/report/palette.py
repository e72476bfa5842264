"""The colours of every page and picture, by role: light, and what replaces them on a dark page."""

from __future__ import annotations

from collections.abc import Mapping

# `kN` belongs to the Nth of moments.KINDS.
LIGHT = {
    "paper": "#ffffff", "card": "#f5f7fa", "ink": "#1c2430", "soft": "#56606e", "grid": "#d9dee6", "shade": "#1c243040",
    "good": "#0b6b3a", "mark": "#b3261e", "plain": "#2459b8",
    "k0": "#8d95a3", "k1": "#2f6fde", "k2": "#79aef2", "k3": "#7a4fc9", "k4": "#c2559f", "k5": "#a07450",
    "k6": "#1f9480", "k7": "#7ccabb", "k8": "#e07b00", "k9": "#f0bf3a",
}  # fmt: skip
DARK = {
    "paper": "#161b22", "card": "#1f2630", "ink": "#e8ecf2", "soft": "#a3aebd", "grid": "#39424f", "shade": "#000000cc",
    "good": "#5fd08f", "mark": "#ff8a80", "plain": "#8ab4ff",
}  # fmt: skip
# Which way an operator runs, as a colour class and in words.
DIRECTION_CLASS = {"forward": "kind-1", "recomputed": "kind-3", "backward": "kind-8", "update": "kind-6"}
DIRECTION_COLOURS = "Blue is forward, purple recomputed, orange backward, green the optimizer's update."


def _variables(colours: Mapping[str, str]) -> str:
    return "".join(f"--{name}:{colour};" for name, colour in colours.items())


# What a page carries once; it follows the reader's choice of light or dark.
STYLE = (
    f":root{{color-scheme:light dark;{_variables(LIGHT)}}}"
    f"@media(prefers-color-scheme:dark){{:root{{{_variables(DARK)}}}}}"
)
