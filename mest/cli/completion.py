"""`mest completion`: what a shell reads to complete commands and options, by the library argcomplete."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

from mest.cli.command import Command as Base
from mest.cli.command import Context

ASKED = "_ARGCOMPLETE"  # set where a shell asks this program for completions


class Command(Base):
    """Print what makes a shell complete the commands and options of mest.

    bash and zsh: eval "$(mest completion bash)" in ~/.bashrc or ~/.zshrc; fish: mest completion fish | source
    """

    name = "completion"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell to print it for")

    def run(self, args: argparse.Namespace, context: Context) -> dict[str, Any]:
        from argcomplete import shellcode

        return {"shell": args.shell, "code": shellcode(["mest"], shell=args.shell)}

    def show(self, result: dict[str, Any]) -> str:
        return str(result["code"])


def answer(build_parser: Callable[[str | None], argparse.ArgumentParser]) -> None:
    """Answer the shell with what may stand at the cursor, by the parser of the command typed so far, and end."""
    from argcomplete import autocomplete

    typed = os.environ.get("COMP_LINE", "").split()[1:]
    autocomplete(build_parser(next((word for word in typed if not word.startswith("-")), None)))
