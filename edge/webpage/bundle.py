"""Several ES modules as one script, so that a page of one file runs wherever it was opened from.

A module is what its file says, in a function of its own; what it exports is handed to those that import it by name. The
modules keep to two forms: `import { a, b } from "./name.js";` on a line of its own, and `export` before a function, a
class or a constant.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

_IMPORT = re.compile(r'^import \{ ([\w, ]+) \} from "\./([\w-]+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?function |class |const )", re.MULTILINE)
_EXPORTED = re.compile(r"^export (?:async function|function|class|const) (\w+)", re.MULTILINE)
_OTHER = re.compile(r"^\s*(?:import|export)\b(?! *\().*", re.MULTILINE)


def bundle(entry: str, folders: Sequence[Path]) -> str:
    """The script that runs a module ("main": main.js) of the first folder that has it, after all that it imports.

    Raises ValueError where a module is of another form, is in none of the folders or imports itself in a circle.
    """
    made: dict[str, str] = {}
    _add(entry, folders, made, ())
    return '"use strict";\n' + "\n".join(made.values())


def _add(name: str, folders: Sequence[Path], made: dict[str, str], within: tuple[str, ...]) -> None:
    if name in within:
        raise ValueError(f"{' imports '.join((*within, name))}: a circle")
    if name in made:
        return
    path = next((folder / f"{name}.js" for folder in folders if (folder / f"{name}.js").is_file()), None)
    if path is None:
        raise ValueError(f"{name}.js: is in none of {', '.join(map(str, folders))}")
    source = path.read_text(encoding="utf-8")
    for _, imported in _IMPORT.findall(source):
        _add(imported, folders, made, (*within, name))
    exported = _EXPORTED.findall(source)
    body = _EXPORT.sub("", _IMPORT.sub(lambda found: f"const {{ {found[1]} }} = {_variable(found[2])};", source))
    strange = _OTHER.search(body)
    if strange is not None:
        raise ValueError(f"{path.name}: {strange[0].strip()!r} is no form of import or export that is bundled")
    if "</script" in body or "<!--" in body:
        raise ValueError(f"{path.name}: holds text that ends a script in a page")
    made[name] = f"const {_variable(name)} = (() => {{\n{body}return {{ {', '.join(exported)} }};\n}})();"


def _variable(name: str) -> str:
    return f"module_{name.replace('-', '_')}"
