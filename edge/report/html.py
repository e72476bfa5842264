"""The frame of a page and its building blocks: one file, no request to anywhere, all text escaped.

The only script that a browser runs is the one whose digest stands in the page's own policy.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from edge.report.charts import NARROW, WIDE
from edge.report.facts import Fact
from edge.report.numbers import bytes_text, percent_text, time_text
from edge.report.palette import STYLE as COLOURS
from edge.report.svg import RULES, Drawing
from edge.report.svg import escape as escape_markup

# The page may show what it carries and nothing else: a browser refuses it every request and every other script.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
STYLE = """
*{box-sizing:border-box}html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);
font:17px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;overflow-wrap:anywhere}
main,header,footer{max-width:780px;margin:0 auto;padding:0 20px}header{padding-top:36px}footer{padding-bottom:48px}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .4rem}h2{font-size:1.35rem;margin:2.6rem 0 .6rem}
h3{font-size:1.05rem;margin:1.6rem 0 .4rem}p{margin:.5rem 0 1rem}.lead{color:var(--soft);margin-top:0}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(290px,1fr));gap:14px;
margin:1.4rem 0;padding:0;list-style:none}
.cards li{background:var(--card);border:1px solid var(--grid);border-left:5px solid var(--plain);
border-radius:10px;padding:14px 16px}
.cards .good{border-left-color:var(--good)}.cards .bad{border-left-color:var(--mark)}
.cards h3{margin:0;font-size:.9rem;font-weight:600;color:var(--soft)}
.cards strong{display:block;font-size:1.35rem;line-height:1.3;color:var(--plain)}
.cards .good strong{color:var(--good)}.cards .bad strong{color:var(--mark)}.cards p{margin:.3rem 0 0;font-size:.92rem}
figure{margin:1.2rem 0}figcaption{color:var(--soft);font-size:.92rem;margin-top:.3rem}
figure svg{display:block;max-width:100%;height:auto}figure .narrow{display:none}
.scroll{overflow-x:auto;overflow-wrap:normal;background:linear-gradient(90deg,var(--paper) 30%,transparent) local,
linear-gradient(270deg,var(--paper) 30%,transparent) 100% local,linear-gradient(90deg,var(--shade),transparent),
linear-gradient(270deg,var(--shade),transparent) 100%;background-size:48px 100%,48px 100%,14px 100%,14px 100%;
background-repeat:no-repeat;background-attachment:local,local,scroll,scroll}
table{border-collapse:collapse;width:100%;font-size:.92rem}
caption{text-align:left;color:var(--soft);padding-bottom:.3rem}
th,td{text-align:left;padding:6px 12px 6px 0;border-bottom:1px solid var(--grid);vertical-align:top}
th{font-weight:600}td.number,th.number{text-align:right}td.number{white-space:nowrap;font-variant-numeric:tabular-nums}
details{border:1px solid var(--grid);border-radius:10px;padding:10px 16px;margin:1rem 0}
summary{cursor:pointer;font-weight:600}
dt{font-weight:600;margin-top:.7rem}dd{margin:0}
.pairs{display:grid;grid-template-columns:repeat(auto-fill,minmax(130px,1fr));gap:14px;padding:0;list-style:none}
.pairs li{display:grid;grid-template-columns:1fr 1fr;gap:4px}.pairs span{grid-column:1/3;text-align:center}
.pairs svg{width:100%;height:auto;border-radius:6px;border:1px solid var(--grid)}
.pairs img{width:100%;display:block;image-rendering:pixelated;border-radius:6px;border:1px solid var(--grid)}
code,pre{font-family:ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.88em}
pre{background:var(--card);padding:12px 14px;border-radius:10px;white-space:pre-wrap}
pre code{display:block;user-select:all;padding:3px 0}pre span{white-space:nowrap}
blockquote{margin:.5rem 0 1rem;padding:10px 16px;border-left:5px solid var(--mark);background:var(--card);
border-radius:10px}
:focus-visible{outline:3px solid var(--plain);outline-offset:2px}
.linked{border-radius:10px}.linked output{display:block;background:var(--card);border:1px solid var(--grid);
border-radius:10px;padding:10px 14px;min-height:8.6em;font-size:.92rem;white-space:pre-line}
@media(max-width:760px){figure .wide{display:none}figure .narrow{display:block}
body{font-size:16px}h1{font-size:1.55rem}
table{font-size:.84rem}th,td{padding-right:8px}}
"""


UNIT = re.compile(r"(?<=\d) (?=(?:%|[KMG]iB\b|B\b|[mµ]?s\b|min\b|points\b))")


def escape(text: str) -> str:
    """Text that a browser shows as it is; a number and its unit stay on one line."""
    return escape_markup(UNIT.sub("\u00a0", text))


def page(title: str, lead: str, body: Iterable[str], foot: str, script: str = "") -> str:
    """A whole document around sections of markup, with the one script that it may run."""
    policy = f"{POLICY}; script-src 'sha256-{_digest(script)}'" if script else POLICY
    run = f"<script>{script}</script>\n" if script else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{COLOURS}{STYLE}{RULES}</style>\n</head>\n<body>\n"
        f'<header><h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p></header>\n<main>\n'
        + "\n".join(body)
        + f"\n</main>\n<footer>{paragraph(foot)}</footer>\n{run}</body>\n</html>\n"
    )


def _digest(script: str) -> str:
    return base64.b64encode(sha256(script.encode()).digest()).decode()


def data(value: object) -> str:
    """Facts for the page's script, as JSON that no text in it can break out of."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json">{text}</script>'


def section(heading: str, *markup: str) -> str:
    """A headed part of the page."""
    return f"<section><h2>{escape(heading)}</h2>{''.join(markup)}</section>"


def paragraph(text: str) -> str:
    """A paragraph of escaped text."""
    return f"<p>{escape(text)}</p>"


def quote(text: str) -> str:
    """What a command said, word by word."""
    return f"<blockquote>{escape(text)}</blockquote>"


def commands(lines: Iterable[str]) -> str:
    """Lines for a shell, each selected whole by a click; long ones wrap."""
    return f"<pre>{''.join(f'<code>{_words(line)}</code>' for line in lines)}</pre>"


def _words(line: str) -> str:
    """A command whose options are never broken behind their hyphens."""
    words = line.split(" ")
    return " ".join(f"<span>{escape(word)}</span>" if word.startswith("-") else escape(word) for word in words)


def cards(found: Iterable[Fact]) -> str:
    """The first facts, each told apart by words first and by colour second."""
    items = []
    for fact in found:
        class_ = {True: ' class="good"', False: ' class="bad"', None: ""}[fact.good]
        words = f"<h3>{escape(fact.question)}</h3><strong>{escape(fact.answer)}</strong>{paragraph(fact.detail)}"
        items.append(f"<li{class_}>{words}</li>")
    return f'<ul class="cards">{"".join(items)}</ul>'


def figure(draw: Callable[[int], Drawing], caption: str) -> str:
    """A chart drawn once for a screen and once for a phone, of which the page shows one."""
    wide, narrow = draw(WIDE).inline(), draw(NARROW).inline()
    return (
        f'<figure><div class="wide">{wide}</div><div class="narrow">{narrow}</div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "", numbers: int = 0) -> str:
    """A table of escaped text whose last `numbers` columns are figures; wide ones scroll on their own."""
    first_number = len(head) - numbers

    def line(name: str, cells: Sequence[str]) -> str:
        marks = [' class="number"' if index >= first_number else "" for index in range(len(cells))]
        written = (f"<{name}{mark}>{escape(cell)}</{name}>" for mark, cell in zip(marks, cells, strict=True))
        return f"<tr>{''.join(written)}</tr>"

    titled = f"<caption>{escape(caption)}</caption>" if caption else ""
    body = "".join(line("td", row) for row in rows)
    named = escape(caption or head[0] or head[-1])  # what scrolls on its own can be reached by key, and has a name
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{named}">'
        f"<table>{titled}<thead>{line('th', head)}</thead><tbody>{body}</tbody></table></div>"
    )


def links(found: Iterable[tuple[str, str]]) -> str:
    """A list of pages beside this one, each with its relative address."""
    return "<ul>" + "".join(f'<li><a href="{escape(where)}">{escape(text)}</a></li>' for text, where in found) + "</ul>"


def details(summary: str, *markup: str) -> str:
    """A part that opens on a click."""
    return f"<details><summary>{escape(summary)}</summary>{''.join(markup)}</details>"


def definitions(words: Iterable[tuple[str, str]]) -> str:
    """A list of words with their meaning."""
    return "<dl>" + "".join(f"<dt>{escape(word)}</dt><dd>{escape(meaning)}</dd>" for word, meaning in words) + "</dl>"


@dataclass(frozen=True)
class Pair:
    """Two pictures as markup, and a line below them."""

    left: str
    right: str
    caption: str


def pairs(found: Iterable[Pair]) -> str:
    """Pairs of pictures in a grid, carried inside the page."""
    items = (f"<li>{p.left}{p.right}<span>{escape(p.caption)}</span></li>" for p in found)
    return f'<ul class="pairs">{"".join(items)}</ul>'


def image(png: bytes, meaning: str) -> str:
    """A PNG picture carried inside the page, and the text that stands for it."""
    source = "data:image/png;base64," + base64.b64encode(png).decode()
    return f'<img src="{source}" alt="{escape(meaning)}">'


def listing(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Nested facts as rows of name and text; the unit is read from the end of the name."""
    rows = []
    for name, value in facts.items():
        words = name.removesuffix("_bytes").removesuffix("_ms").replace("_", " ")
        if isinstance(value, dict) and set(value) == {"value", "reason"}:
            text = _fact(name, value["value"]) if value["value"] is not None else f"not known: {value['reason']}"
            rows.append((words, text))
        elif isinstance(value, dict):
            rows += [(f"{words} {inner}", text) for inner, text in listing(value)]
        else:
            rows.append((words, _fact(name, value)))
    return rows


def _fact(name: str, value: Any) -> str:
    if value is None:
        return "not shown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_fact(name, one) for one in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_fact(str(key), one)}" for key, one in value.items()) or "none"
    if isinstance(value, int | float):
        writers = {"bytes": bytes_text, "ms": time_text, "sparsity": percent_text, "accuracy": percent_text}
        write = writers.get(name.rsplit("_", 1)[-1])
        return write(value) if write else f"{value:g}" if isinstance(value, float) else str(value)
    return str(value)
