"""Scalable pictures as text: elements with escaped attributes, one drawing with title and description, nice ticks."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from html import escape as escape_markup

from edge.report.palette import LIGHT

# What a page with charts carries, once; the colours are palette's.
RULES = """
svg.chart{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
svg.chart text{font-size:12px;fill:var(--ink)}svg.chart .soft{fill:var(--soft)}svg.chart .strong{font-weight:600}
svg.chart .grid{stroke:var(--grid);stroke-width:1;fill:none}svg.chart .paper{fill:var(--paper)}
svg.chart .cursor{stroke:var(--ink);stroke-width:1.5;pointer-events:none}
svg.chart .tile{stroke:var(--paper);stroke-width:.5}svg.chart .inside{fill:#fff;font-size:11px;pointer-events:none}
svg.chart .chosen{stroke:var(--ink);stroke-width:2}svg.chart .track{fill:var(--grid);opacity:.5}
svg.chart .mark{stroke:var(--mark);stroke-width:1.5;fill:none}svg.chart text.mark{fill:var(--mark);stroke:none}
svg.chart .dash{stroke-dasharray:5 4}svg.chart .halo{paint-order:stroke;stroke:var(--paper);stroke-width:4px}
svg.chart .line0{stroke:var(--k1)}svg.chart .line1{stroke:var(--k8)}svg.chart .line2{stroke:var(--k6)}
svg.chart .line0,svg.chart .line1,svg.chart .line2{fill:none;stroke-width:2}
svg.chart .dot0{fill:var(--k1)}svg.chart .dot1{fill:var(--k8)}svg.chart .dot2{fill:var(--k6)}
""" + "".join(f"svg.chart .kind-{index}{{fill:var(--k{index})}}" for index in range(10))


# What a picture of its own carries: light, and without variables, which some viewers do not know.
PLAIN_STYLE = re.sub(r"var\(--(\w+)\)", lambda found: LIGHT[found[1]], RULES)


def escape(text: str) -> str:
    """The text as character data or attribute value; what XML cannot carry becomes a replacement mark."""
    allowed = (char if char >= " " or char in "\t\n\r" else "\ufffd" for char in text)
    return escape_markup("".join(allowed).encode("utf-8", "replace").decode())


def tag(name: str, *children: str, **attributes: object) -> str:
    """One element; attribute values are escaped, children are markup already. `class_` and `text_anchor` lose marks."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>{''.join(children)}</{name}>" if children else f"<{name}{written}/>"


def label(text: str, x: float, y: float, class_: str | None = None, anchor: str | None = None) -> str:
    """A line of text at a point, escaped."""
    return tag("text", escape(text), x=x, y=y, class_=class_, text_anchor=anchor)


def _number(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Drawing:
    """A picture `width` × `height` in CSS pixels; title and description are what a screen reader says."""

    width: int
    height: int
    title: str
    description: str
    body: str

    def inline(self) -> str:
        """The picture as part of a page that carries RULES."""
        return self._element(style="")

    def standalone(self) -> str:
        """The picture as a file of its own."""
        background = tag("rect", width=self.width, height=self.height, class_="paper")
        return '<?xml version="1.0" encoding="UTF-8"?>\n' + self._element(tag("style", PLAIN_STYLE) + background) + "\n"

    def _element(self, style: str) -> str:
        words = tag("title", escape(self.title)) + tag("desc", escape(self.description))
        return tag(
            "svg",
            words + style + self.body,
            xmlns="http://www.w3.org/2000/svg",
            class_="chart",
            role="img",
            aria_label=self.title,
            viewBox=f"0 0 {self.width} {self.height}",
            width=self.width,
            height=self.height,
        )


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values that cover low to high in steps of 1, 2 or 5 times a power of ten; equal bounds are widened."""
    if not high > low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / max(about, 1)
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(magnitude * factor for factor in (1, 2, 5, 10) if magnitude * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def shorten(text: str, limit: int) -> str:
    """The text in at most `limit` characters, its middle left out where it is longer."""
    if len(text) <= limit:
        return text
    head = (limit - 1) // 2
    return f"{text[:head]}…{text[len(text) - (limit - 1 - head) :]}"
