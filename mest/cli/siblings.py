"""Whether `edge` and `export` are the packages that came with this `mest`: other distributions use these names too."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import mest

NAMES = ("edge", "export")
MARK = "Part of the distribution `mest`."  # in the docstring of each: another one may have been installed over it


def stranger() -> str | None:
    """One line about the first of our packages that another one hides or has replaced; None if all are ours."""
    root = Path(mest.__file__).resolve().parents[1]
    for name in NAMES:
        found = find_spec(name)
        file = None if found is None or found.origin is None else Path(found.origin)
        if file is None:
            return f"the package '{name}' that belongs to mest is missing; install mest again"
        if file.resolve() != root / name / "__init__.py" or MARK not in file.read_text(encoding="utf-8"):
            return (
                f"the package '{name}' that belongs to mest is hidden by {file}; rename or remove that, take its "
                "folder from PYTHONPATH, or install mest in a separate environment"
            )
    return None
