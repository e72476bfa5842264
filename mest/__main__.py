"""Lets `python -m mest` run the command line from an install or from a bare checkout."""

import sys

from mest.cli import main

if __name__ == "__main__":
    sys.exit(main())
