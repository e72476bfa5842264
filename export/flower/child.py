"""A command of mest that dies with the process that started it, whatever ended that one.

python -m export.flower.child PARENT COMMAND...

A board must not go on training for a client that is gone: its budget would be taken twice by the next round.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Have the system end this process at the end of the thread that started it; elsewhere than on Linux do nothing.

    Ends at once if `parent` was gone before that could be asked for.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    die_with(int(argv[0]))
    from mest.cli import main as command  # sets up the environment, before numpy is imported

    return command(argv[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
