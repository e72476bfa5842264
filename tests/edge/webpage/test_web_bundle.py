"""Modules as one script: in the order that they need, each in a scope of its own; other forms are refused."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edge.libmest.build import WEB
from edge.webpage.bundle import bundle
from edge.webpage.page import APP

NODE = shutil.which("node")


def write(folder: Path, **modules: str) -> Path:
    """Modules by name."""
    for name, text in modules.items():
        (folder / f"{name}.js").write_text(text)
    return folder


@pytest.mark.skipif(NODE is None, reason="needs Node: apt install nodejs")
def test_modules_keep_their_names_to_themselves(tmp_path: Path) -> None:
    """Two of the same name do not meet, and a module that two import runs once."""
    folder = write(
        tmp_path,
        main='import { one } from "./a.js";\nimport { two, Box } from "./b.js";\n'
        "console.log(one(), two, new Box().inner, typeof hidden);\n",
        a='import { shared } from "./c.js";\nconst hidden = 1;\n'
        "export function one() {\n  return hidden + shared;\n}\n",
        b='import { shared } from "./c.js";\nconst hidden = 2;\nexport const two = hidden + shared;\n'
        "export class Box {\n  inner = hidden;\n}\n",
        c='console.log("once");\nexport const shared = 10;\n',
    )
    script = bundle("main", [folder])
    done = subprocess.run([str(NODE), "-e", script], capture_output=True, text=True, check=True)
    assert done.stdout == "once\n11 12 2 undefined\n"


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ({"main": 'import { a } from "./a.js";\n'}, "a.js: is in none of"),
        ({"main": 'import { a } from "./main.js";\n'}, "main imports main: a circle"),
        ({"main": 'import all from "./a.js";\n'}, "is no form of import or export"),
        ({"main": "export default 3;\n"}, "is no form of import or export"),
        ({"main": 'const text = "</script>";\n'}, "ends a script in a page"),
    ],
)
def test_other_forms_are_refused(tmp_path: Path, modules: dict[str, str], message: str) -> None:
    """Rather than bundled into something that does not run."""
    with pytest.raises(ValueError, match=message):
        bundle("main", [write(tmp_path, **modules)])


@pytest.mark.skipif(NODE is None, reason="needs Node: apt install nodejs")
@pytest.mark.parametrize("entry", ["main", "worker"])
def test_the_page_s_scripts_are_whole(entry: str, tmp_path: Path) -> None:
    """They parse, and hold no address that a browser could ask."""
    script = tmp_path / "script.js"
    script.write_text(bundle(entry, (APP, WEB)))
    subprocess.run([str(NODE), "--check", script], check=True)
    found = [
        word
        for word in ("fetch(", "XMLHttpRequest", "WebSocket", "sendBeacon", "https://")
        if word in script.read_text()
    ]
    assert found == []
