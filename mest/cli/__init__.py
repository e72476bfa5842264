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
import inspect
import io
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from importlib import import_module
from types import FrameType
from typing import Any

from mest.cli.command import Command, Context, Stopped
from mest.cli.completion import ASKED, answer
from mest.cli.siblings import stranger
from mest.cli.spelling import option, setting
from mest.cli.strict_json import strict_json
from mest.version import __version__

SUMMARIES = {
    "demo": "run every step on embedded data and write a report",
    "train": "train sparse from the first step (workstation)",
    "export": "turn a run into an artifact directory",
    "verify": "repeat the checks of an export",
    "plan": "show what fits a memory budget, before anything runs",
    "finetune": "fine-tune an artifact within a memory budget",
    "predict": "show classes and scores for images",
    "eval": "measure the accuracy of an artifact, a state or a run",
    "compile": "write a plan, weights included, as one file for mest-run",
    "runner": "build mest-run, the program that runs compiled plans",
    "page": "write a web page that trains the network in a browser",
    "pack": "write samples and labels as one file for mest-run",
    "unpack": "convert a state of mest-run to an ordinary one",
    "profile": "measure peak memory and time by operator and by kind",
    "board": "show the facts of this machine",
    "bundle": "write one file that installs and runs offline on a board",
    "deploy": "install on boards over ssh, fine-tune there, bring the result home",
    "boards": "show the hardware, installed versions and run of each board in a list",
    "completion": "print the shell code that completes commands and options",
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


class Ended(BaseException):
    """Raised where the command stands when a signal arrives that nobody polls for."""


class StopFlag:
    """True after the first SIGINT or SIGTERM, so that loops end at a step boundary; the second ends at once.

    A command that has not polled it yet has no step to finish and no state to write: there the first raises Ended.
    """

    def __init__(self) -> None:
        self.signum = 0
        self.polled = False

    def __call__(self) -> bool:
        self.polled = True
        return self.signum != 0

    def install(self) -> None:
        signal.signal(signal.SIGINT, self._received)
        signal.signal(signal.SIGTERM, self._received)

    def _received(self, signum: int, frame: FrameType | None) -> None:
        if self.signum:
            os._exit(128 + signum)
        self.signum = signum
        if not self.polled:
            raise Ended
        # Not print: the loop may be writing to the same stream at this moment.
        os.write(2, b"mest: stopping after this step; once more to stop at once\n")


def build_parser(only: str | None = None) -> Parser:
    """The parser of the whole program; the options of the command `only` alone, so that no other is imported."""
    parser = Parser(prog="mest", description="Sparse training that fits small devices.")
    parser.add_argument("--version", action="version", version=f"mest {__version__}")
    # With its name given, argparse need not format a usage line for it, which would load half of `shutil`'s formats.
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser, prog=parser.prog)
    for name, summary in SUMMARIES.items():
        if only is None or only not in SUMMARIES:
            commands.add_parser(name, help=summary)
        elif name == only:
            command = load(name)
            sub = commands.add_parser(
                name, help=summary, description=inspect.cleandoc(command.__doc__ or ""), conflict_handler="resolve"
            )
            sub.formatter_class = argparse.RawDescriptionHelpFormatter
            sub.add_argument("--json", action="store_true", help="print one JSON object on standard output")
            sub.add_argument("--seed", type=int, help="seed of every random choice (default 0)")
            sub.add_argument("-q", "--quiet", action="store_true", help="print only the result and errors")
            sub.add_argument(
                "-v", "--verbose", action="store_true", help="also print versions, elapsed time and peak memory"
            )
            command.configure(sub)
            sub.set_defaults(instance=command, parser=sub)
    return parser


def load(name: str) -> Command:
    """The command called `name`."""
    command: Command = import_module(f"mest.cli.{name}").Command()
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    if ASKED in os.environ:
        answer(build_parser)
    arguments = list(sys.argv[1:] if argv is None else argv)
    only = next((word for word in arguments if not word.startswith("-")), None)
    try:
        parser, words = build_parser(only), []
    except ModuleNotFoundError as missing:  # a command may need packages to know its options
        return _refuse_without(only or "", missing)
    if only in SUMMARIES and "--" in arguments and load(only).takes_command:
        arguments, words = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
    if only is not None and only not in SUMMARIES:
        parser.error(f"{only}: no such command{_nearest(only, SUMMARIES)}; allowed are {', '.join(SUMMARIES)}")
    args, unknown = parser.parse_known_args(arguments)
    if unknown:
        (args.parser if args.command else parser).refuse_unknown(unknown)
    hidden = stranger() if args.command else None
    if hidden is not None:
        return _refuse(args.command, hidden, EXIT_INPUT)
    if args.command is None:
        parser.print_help()
        return EXIT_INPUT
    for stream in (sys.stdout, sys.stderr):  # a name that the locale cannot write is escaped; the result is not lost
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    import edge.spelling
    import mest.spelling

    with edge.spelling.spelled(option), mest.spelling.spelled(option):
        wrong = numbers_outside(args)
        if wrong:
            return _refuse(args.command, "; ".join(wrong), EXIT_INPUT)
        args.seed_given = getattr(args, "seed", None)
        args.seed = args.seed_given or 0
        args.words = words
        stop = StopFlag()
        stop.install()
        context = Context(stop=stop, progress=sys.stderr.isatty() and not args.quiet, quiet=args.quiet)
        return _guarded(args, context, stop)


def numbers_outside(args: argparse.Namespace) -> list[str]:
    """What is wrong with the numbers given, by their option's range; `mest train` parses its own, recipes too."""
    from edge.ranges import outside

    numbers = [action for action in args.parser._actions if action.type in (int, float)]
    given = {setting(action.dest): getattr(args, action.dest, None) for action in numbers}
    return outside(given)


def _guarded(args: argparse.Namespace, context: Context, stop: StopFlag) -> int:
    started = time.monotonic()
    if args.verbose:
        context.say(f"mest {__version__}, Python {sys.version.split()[0]}, {os.uname().machine}")
    try:
        result = args.instance.run(args, context)
        if stop.signum and not stop.polled:  # raised where nothing could be raised, such as in a destructor
            raise Ended
        print(strict_json(result) if args.json else args.instance.show(result), flush=True)
        if args.verbose:
            context.say(f"{time.monotonic() - started:.1f} s, {_peak()}")
    except Ended:
        name = signal.Signals(stop.signum).name
        return _refuse(args.command, f"stopped by {name} before the end", 128 + stop.signum)
    except Stopped as stopped:
        return _refuse(args.command, str(stopped), 128 + (stop.signum or signal.SIGTERM))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_INPUT
    except ModuleNotFoundError as missing:
        return _refuse_without(args.command, missing)
    except OSError as failed:
        if failed.errno not in MENDABLE_ERRNOS:
            raise
        return _refuse(args.command, _describe(failed), EXIT_INPUT)
    except Exception as refused:
        code = getattr(refused, "exit_code", None)
        if code is None or code == 1:
            raise
        answer = getattr(refused, "answer", None)
        if args.json and answer:
            print(strict_json({"refused": str(refused), "exit_code": code, **answer}), flush=True)
        return _refuse(args.command, str(refused), code)
    return int(result.get("exit_code", 0)) if isinstance(result, dict) else 0


def _peak() -> str:
    """The most memory that this process held, in words."""
    from edge.host.counters import peak_since_start

    peak = peak_since_start()
    return "peak not counted by this kernel" if peak is None else f"peak {peak / 2**20:.1f} MiB resident"


def _refuse(command: str, message: str, code: int) -> int:
    print(f"mest {command}: {message}", file=sys.stderr, flush=True)
    return code


def _refuse_without(command: str, missing: ModuleNotFoundError) -> int:
    """The exit code where an optional package is missing; any other missing module is raised again, a bug of ours."""
    package = (missing.name or "").split(".")[0]
    advice = _how_to_get(package)
    if advice is None:
        raise missing
    return _refuse(command, f"needs the package {package}, which is not installed; {advice}", EXIT_INPUT)


def _describe(failed: OSError) -> str:
    where = f" {failed.filename}" if failed.filename else ""
    return f"{os.strerror(failed.errno or 0)}:{where or ' while reading or writing'}"


def _how_to_get(package: str) -> str | None:
    """The command that installs an optional package; None if it is not an optional one of ours."""
    extras = {
        "torch": "train",
        "torchvision": "train",
        "yaml": "train",
        "onnx": "export",
        "onnxscript": "export",
        "onnxruntime": "ort",
        "matplotlib": "plots",
        "argcomplete": "completion",
        "PIL": "",
        "tqdm": "",
        "numpy": "",
    }
    if package not in extras:
        return None
    from mest.install import how_to_install

    extra = extras[package]
    return how_to_install(extra) if extra else f"pip install {package.replace('PIL', 'Pillow')}"
