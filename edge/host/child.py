"""A Python process of our own that imports what this one imports, whatever lies in the current folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# `python -c` looks in the current folder first, where a user's own edge.py or json.py may lie; the option -P that
# forbids it is unknown to Python 3.10.
_NOT_HERE = "import sys; sys.path[:] = [place for place in sys.path if place]\n"


def child(program: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """The command and the environment of a process that runs `program` with `sys.argv[1:]` = `arguments`."""
    places = [str(Path(__file__).parents[2]), *(place for place in sys.path if place)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(dict.fromkeys(places))}
    return [sys.executable, "-c", _NOT_HERE + program, *arguments], environment
