"""The command line: parses, calls one command, turns refusals into one line and an exit code.

Stages are imported only by the command that runs, so that board commands need the base install alone and a process on
the board holds nothing it does not use.
"""

from __future__ import annotations

import os

# One thread of OpenBLAS: its per-thread buffers would be the largest part of a board process. Must precede numpy.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import errno
import json
import signal
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from types import FrameType
from typing import Any

from mest.cli.command import Command, Context, Stopped
from mest.version import __version__

SUMMARIES = {
    "demo": "walk the whole road on embedded data and end in a report",
    "train": "train sparse from the first step (workstation)",
    "export": "turn a run into an artifact directory",
    "verify": "repeat the checks of an export",
    "plan": "say what fits a memory budget, before anything runs",
    "finetune": "fine-tune an artifact within a memory budget",
    "predict": "classes and scores for images",
    "eval": "accuracy of an artifact, a state or a run",
    "profile": "peak memory and time by operator and by kind",
    "board": "facts of this machine",
}

EXIT_INPUT = 2
# Errors of the system that the user can mend: a full disk, a quota, no permission, a missing file.
MENDABLE_ERRNOS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.EISDIR, errno.ENOTDIR}
    | {errno.EFBIG, errno.EIO, errno.EEXIST, errno.ENAMETOOLONG}
)


class Parser(argparse.ArgumentParser):
    """An argument parser that answers a usage error with one line and the way to the help."""

    def error(self, message: str) -> Any:
        self.exit(EXIT_INPUT, f"{self.prog}: {message}; see '{self.prog} --help'\n")

    def refuse_unknown(self, words: Sequence[str]) -> Any:
        """End with the words that no option took and the options that look like them."""
        known = [flag for action in self._actions for flag in action.option_strings]
        near = _nearest(words[0].partition("=")[0], known)
        self.error(f"{' '.join(words)}: {'no such option' if words[0].startswith('-') else 'not expected'}{near}")


def _nearest(word: str, known: Iterable[str]) -> str:
    """A question after the known word that is most like a mistyped one; empty if none is."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=1, cutoff=0.7)
    return f"; did you mean {near[0]}" if near else ""


class StopFlag:
    """True after the first SIGINT or SIGTERM, so that loops end at a step boundary; the second ends at once."""

    def __init__(self) -> None:
        self.signum = 0

    def __call__(self) -> bool:
        return self.signum != 0

    def install(self) -> None:
        signal.signal(signal.SIGINT, self._received)
        signal.signal(signal.SIGTERM, self._received)

    def _received(self, signum: int, frame: FrameType | None) -> None:
        if self.signum:
            os._exit(128 + signum)
        self.signum = signum
        print("mest: stopping after this step; once more to stop at once", file=sys.stderr, flush=True)


def build_parser(only: str | None = None) -> Parser:
    """The parser of the whole program; the options of the command `only` alone, so that no other is imported."""
    parser = Parser(prog="mest", description="Sparse training that fits small devices.")
    parser.add_argument("--version", action="version", version=f"mest {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    for name, summary in SUMMARIES.items():
        if only is None or only not in SUMMARIES:
            commands.add_parser(name, help=summary)
        elif name == only:
            command = load(name)
            sub = commands.add_parser(name, help=summary, description=command.__doc__, conflict_handler="resolve")
            sub.formatter_class = argparse.RawDescriptionHelpFormatter
            sub.add_argument("--json", action="store_true", help="print one JSON object on standard output")
            sub.add_argument("--seed", type=int, default=0, help="seed of every random choice (default 0)")
            command.configure(sub)
            sub.set_defaults(instance=command, parser=sub)
    return parser


def load(name: str) -> Command:
    """The command called `name`."""
    command: Command = import_module(f"mest.cli.{name}").Command()
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    only = next((word for word in arguments if not word.startswith("-")), None)
    parser = build_parser(only)
    if only is not None and only not in SUMMARIES:
        parser.error(f"{only}: no such command{_nearest(only, SUMMARIES)}; allowed are {', '.join(SUMMARIES)}")
    args, unknown = parser.parse_known_args(arguments)
    if unknown:
        (args.parser if args.command else parser).refuse_unknown(unknown)
    if args.command is None:
        parser.print_help()
        return EXIT_INPUT
    stop = StopFlag()
    stop.install()
    return _guarded(args, Context(stop=stop, progress=sys.stderr.isatty()), stop)


def _guarded(args: argparse.Namespace, context: Context, stop: StopFlag) -> int:
    try:
        result = args.instance.run(args, context)
        text = json.dumps(result, sort_keys=True, default=str) if args.json else args.instance.show(result)
        print(text, flush=True)
    except Stopped as stopped:
        return _refuse(args.command, str(stopped), 128 + (stop.signum or signal.SIGTERM))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_INPUT
    except ModuleNotFoundError as missing:
        advice = _extra_for(missing.name)
        if advice is None:
            raise
        return _refuse(args.command, f"needs the package {missing.name}, which is not installed; {advice}", EXIT_INPUT)
    except OSError as failed:
        if failed.errno not in MENDABLE_ERRNOS:
            raise
        return _refuse(args.command, _describe(failed), EXIT_INPUT)
    except Exception as refused:
        code = getattr(refused, "exit_code", None)
        if code is None or code == 1:
            raise
        return _refuse(args.command, str(refused), code)
    return int(result.get("exit_code", 0)) if isinstance(result, dict) else 0


def _refuse(command: str, message: str, code: int) -> int:
    print(f"mest {command}: {message}", file=sys.stderr, flush=True)
    return code


def _describe(failed: OSError) -> str:
    where = f" {failed.filename}" if failed.filename else ""
    return f"{os.strerror(failed.errno or 0)}:{where or ' while reading or writing'}"


def _extra_for(module: str | None) -> str | None:
    """What to install when an optional package is missing; None if the module is not an optional one of ours."""
    extras = {
        "torch": "train",
        "torchvision": "train",
        "yaml": "train",
        "onnx": "export",
        "onnxscript": "export",
        "onnxruntime": "ort",
        "matplotlib": "plots",
        "PIL": "",
        "tqdm": "",
        "numpy": "",
    }
    root = (module or "").split(".")[0]
    if root not in extras:
        return None
    extra = extras[root]
    return f"pip install 'mest[{extra}]'" if extra else f"pip install {root.replace('PIL', 'Pillow')}"
