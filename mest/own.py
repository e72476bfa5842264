"""Parts of one's own, by `module:NAME`: models, schemes, scores, growth rules and methods are all found here."""

from __future__ import annotations

import sys
import traceback
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

from mest.errors import InputError, MestError


def is_own(text: str) -> bool:
    """True if a text reads as `module:NAME` or `package.module:NAME`, perhaps with `:argument` behind it."""
    module, colon, rest = text.partition(":")
    return bool(colon) and all(part.isidentifier() for part in (*module.split("."), rest.partition(":")[0]))


def import_own(what: str, module_name: str, attribute: str) -> Any:
    """What a module of one's own calls `attribute`; the current folder comes first, as for a script that lies in it.

    Raises InputError, which begins with `what` was asked for, if there is no such module or it fails when imported.
    """
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        module = import_module(module_name)
    except MestError:
        raise
    except ModuleNotFoundError as missing:
        if missing.name is None or not f"{module_name}.".startswith(f"{missing.name}."):
            raise InputError(f"{what}: {failure(f'importing {module_name}', missing)}") from missing
        raise InputError(
            f"{what}: no module {module_name}, neither in {here} nor on Python's path; run the command where it is, "
            "or set PYTHONPATH"
        ) from missing
    except Exception as failed:  # it is the user's code: whatever it raises is said in one line
        raise InputError(f"{what}: {failure(f'importing {module_name}', failed)}") from failed
    finally:
        sys.path.remove(here)
        if here not in sys.path:
            sys.path.append(here)  # for what the module imports later; behind the packages that are installed
    if not hasattr(module, attribute):
        near = ", ".join(get_close_matches(attribute, vars(module), 3)) or "nothing near that name"
        raise InputError(f"{what}: {module_name} has no {attribute!r}; it has {near}")
    return getattr(module, attribute)


def failure(doing: str, failed: BaseException) -> str:
    """One line that says what a part of one's own raised, and where."""
    reason = (str(failed).strip() or type(failed).__name__).splitlines()[0]
    frames = [frame for frame in traceback.extract_tb(failed.__traceback__) if not frame.filename.startswith("<")]
    own = [frame for frame in frames if Path(frame.filename).parent != Path(__file__).parent]
    place = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"{doing} failed: {type(failed).__name__}: {reason}{place}"
