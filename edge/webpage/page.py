"""The page as a file: its text, its scripts, and the module and the plan that it carries.

The page's own policy lets a browser run that script and its worker, and lets them ask for nothing from anywhere.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from string import Template
from typing import Any

from edge.compiled.plan import Compiled
from edge.errors import InputError
from edge.files.durable import write_durably
from edge.libmest import plan_file
from edge.libmest.build import WEB
from edge.report.palette import STYLE as COLOURS
from edge.report.svg import escape
from edge.webpage.bundle import bundle

APP = Path(__file__).parent / "app"
# Drawing by hand is for grey pictures of this many pixels a side at most.
MOST_DRAWN = 64
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; worker-src blob:; base-uri 'none'; form-action 'none'; "
    "script-src 'wasm-unsafe-eval' 'sha256-{digest}'"
)


def refuse_plan(plan: Compiled, source: Path) -> None:
    """Raise InputError for a network that takes no pictures, and for more threads than one; `source` is its name."""
    if not plan.preprocess.takes_images:
        raise InputError(
            f"{source}: takes numbers that are no pictures, and a page shows pictures; "
            "build one of your own around mest.js"
        )
    if plan.head.threads != 1:
        raise InputError(f"{source}: is planned for {plan.head.threads} threads, and a page has one; compile it for 1")


def write_page(plan: Compiled, module: bytes, name: str, title: str, version: str, out: Path) -> int:
    """Write a page that trains a compiled plan with the WebAssembly `module` (mest.wasm); the bytes of the file.

    `name` is what its downloads are called. Raises InputError as `refuse_plan`, and for a module of another version
    than the plan.
    """
    refuse_plan(plan, plan.path)
    if _signed_leb128(plan_file.digest()) not in module:
        raise InputError("the WebAssembly module is of another version of mest; build it again, or leave it out")
    content = whole(plan, module, name, title, version).encode()
    write_durably(out, content)
    return len(content)


def whole(plan: Compiled, module: bytes, name: str, title: str, version: str) -> str:
    """The document."""
    folders = (APP, WEB)
    script = bundle("main", folders)
    policy = _POLICY.format(digest=base64.b64encode(sha256(script.encode()).digest()).decode())
    style = (APP / "style.css").read_text(encoding="utf-8")
    body = Template((APP / "body.html").read_text(encoding="utf-8"))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{COLOURS}{style}</style>\n</head>\n"
        f"<body>\n{body.substitute(title=escape(title), version=escape(version))}"
        + _carried("facts", json.dumps(_facts(plan, name), allow_nan=False).replace("<", "\\u003c"))
        + _carried("worker", bundle("worker", folders))
        + _carried("module", base64.b64encode(module).decode())
        + _carried("plan", base64.b64encode(plan.path.read_bytes()).decode())
        + f"<script>{script}</script>\n</body>\n</html>\n"
    )


def _signed_leb128(number: int) -> bytes:
    """A number as WebAssembly writes constants: the module compares the declarations of a plan's file with this one."""
    out = bytearray()
    while True:
        low, number = number & 0x7F, number >> 7
        last = number == (-1 if low & 0x40 else 0)
        out.append(low | (0 if last else 0x80))
        if last:
            return bytes(out)


def _carried(name: str, text: str) -> str:
    """Text that a browser keeps and does not run."""
    return f'<script type="text/plain" id="carried-{name}">{text}</script>\n'


def _facts(plan: Compiled, name: str) -> dict[str, Any]:
    """What the page's script must know before the module says the rest."""
    head = plan.head
    preprocess = plan.preprocess.leading_to(head.height, head.width)
    return {
        "name": name,
        "id": "".join(f"{part & (1 << 64) - 1:016x}" for part in plan.sha256),
        "classNames": list(plan.class_names),
        "preprocess": {key: asdict(preprocess)[key] for key in ("mode", "resize", "crop", "interpolation")},
        "channels": head.channels,
        "height": head.height,
        "width": head.width,
        "epochs": head.epochs,
        "learningRate": head.learning_rate,
        "holdOut": head.hold_out,
        "mutates": head.weight_count > 0,
        "drawing": _drawing(plan),
    }


def _drawing(plan: Compiled) -> str:
    """Which ink a person draws with: "light" where the network's pictures are mostly dark, empty for no drawing."""
    head, preprocess = plan.head, plan.preprocess
    if preprocess.mode != "L" or max(head.height, head.width) > MOST_DRAWN:
        return ""
    return "light" if preprocess.mean[0] < 0.5 else "dark"
