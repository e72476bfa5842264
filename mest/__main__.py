"""Lets `python -m mest` run the command line from an install or from a bare checkout."""

import sys
from pathlib import Path

# `python -m` puts the current folder first. There only a user's own files can lie, which must not hide our packages;
# a model of one's own is looked for there all the same. In a checkout it is where we are ourselves.
if sys.path[:1] == [str(Path.cwd())] and Path(__file__).resolve().parents[1] != Path.cwd():
    del sys.path[0]

from mest.cli import main

if __name__ == "__main__":
    sys.exit(main())
