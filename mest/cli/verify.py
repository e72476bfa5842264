"""`mest verify`: the checks of an export, again, anywhere."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mest.cli.command import Command as Base
from mest.cli.command import Context


class Command(Base):
    """Repeat the checks of an export on an artifact, without torch.

    Checks every file against its SHA-256, the network against its format, and each engine installed here against
    PyTorch's results on a batch that export stored: logits, loss and one optimizer step.
    """

    name = "verify"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("artifact", type=Path, help="the directory that mest export wrote")

    def run(self, args: argparse.Namespace, context: Context) -> dict[str, Any]:
        from edge.errors import InputError

        if not args.artifact.is_dir():
            raise InputError(f"{args.artifact}: no such directory; give the one that mest export wrote")
        from export.checks.check import check_artifact

        return check_artifact(args.artifact)

    def show(self, result: dict[str, Any]) -> str:
        lines = [
            f"{len(result['files'])} files unchanged, {result['layers']} weights, sparsity {result['sparsity']:.4f}"
        ]
        if result["left_out"]:
            lines.append(f"left out when it was exported or cut: {', '.join(result['left_out'])}")
        lines += [f"{name}: agrees ({worst:.2f} of the tolerance)" for name, worst in result["agreement"].items()]
        lines += [f"{name}: not run, {reason}" for name, reason in result["skipped"].items()]
        return "\n".join(lines)
