"""`mest bundle`: one file that installs and runs offline on a board."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from mest.cli import within_budget
from mest.cli.command import Command as Base
from mest.cli.command import Context
from mest.cli.effects import Effect, refuse_idle

MAKING = ("target", "out", "python", "wheels", "bundle_version", "expires", "sign", "runner")
EFFECTS = (
    Effect(MAKING, lambda args: args.check is None, "makes a bundle, and --check only reads one; leave it out"),
    Effect(
        ("python", "wheels", "sign"),
        lambda args: not _is_plan(args),
        "is for a board with Python, and a compiled plan for one without; leave it out",
    ),
    Effect(
        ("runner",),
        lambda args: args.artifact is None or _is_plan(args),
        "is for a board without Python; give a compiled plan",
    ),
    Effect(("allowed_signers",), lambda args: args.check is not None, "is for --check; leave it out"),
)


class Command(Base):
    """Write one file that installs and runs offline on a board: an artifact, the wheels of mest and of what it needs.

    On the board, run: python3 FILE install. The same input gives the same bytes, and --check verifies every byte.
    From a compiled plan (FILE.mest) it makes a file with mest-run for boards without Python: sh FILE install.
    """

    name = "bundle"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "artifact",
            type=Path,
            nargs="?",
            metavar="ART|FILE.mest",
            help="the directory that mest export wrote; or what mest compile wrote, for a board without Python",
        )
        parser.add_argument("--check", type=Path, metavar="FILE", help="check a bundle; nothing is written")
        parser.add_argument(
            "--out", type=Path, metavar="FILE", help="the file to write; an existing bundle is replaced"
        )
        parser.add_argument(
            "--target",
            help="the kind of board: linux-x86_64, linux-aarch64, musl-x86_64, musl-aarch64; for a compiled plan, "
            "linux-x86_64, linux-aarch64, linux-armv7",
        )
        parser.add_argument("--python", metavar="3.N", help="the board's Python (default: the version of this one)")
        parser.add_argument(
            "--wheels",
            type=Path,
            metavar="DIR",
            help="take every wheel from this folder (default: build mest, download the rest with pip)",
        )
        parser.add_argument(
            "--runner",
            type=Path,
            metavar="FILE",
            help="with FILE.mest: the program that mest runner wrote (default: build it)",
        )
        parser.add_argument(
            "--bundle-version",
            type=int,
            metavar="N",
            help="boards refuse lower versions (default: 1, or one more than a different bundle at --out)",
        )
        parser.add_argument("--sign", type=Path, metavar="KEY", help="sign the bundle with this OpenSSH key")
        parser.add_argument(
            "--allowed-signers",
            type=Path,
            metavar="FILE",
            help="with --check: require a signature by one of these signers",
        )
        parser.add_argument("--expires", metavar="YYYY-MM-DD", help="the last day on which boards install it")

    def run(self, args: argparse.Namespace, context: Context) -> dict[str, Any]:
        from edge.errors import InputError

        refuse_idle(args, EFFECTS)
        if args.check is not None:
            if args.artifact is not None:
                raise InputError(f"{args.artifact}: --check takes one bundle and no artifact; leave one of them out")
            return self._check(args.check, args.allowed_signers)
        if args.artifact is None or args.target is None or args.out is None:
            raise InputError("give ART, --target and --out to make a bundle, or --check FILE to check one")
        _refuse_no_date(args.expires)
        return self._make_without_python(args, context) if _is_plan(args) else self._make(args, context)

    def _check(self, path: Path, allowed: Path | None) -> dict[str, Any]:
        from edge.errors import DamagedError
        from edge.install.signature import refuse_unsigned
        from export.deploy.package import read_package
        from export.deploy.without_python import is_runner_bundle, read_runner_bundle

        if is_runner_bundle(path):
            found = _runner_facts(path, read_runner_bundle(path))
            if allowed is not None:
                raise DamagedError(
                    f"{path}: is for a board without Python and carries no signature; leave out {allowed}"
                )
            return found
        package = read_package(path)
        signer = None
        if allowed is not None:
            signer = refuse_unsigned(package.bundle.encode(), package.signature, allowed, str(path))
        return {**_facts(path, package), "signer": signer}

    def _make(self, args: argparse.Namespace, context: Context) -> dict[str, Any]:
        from edge.errors import InputError
        from export.deploy.package import make_package, next_version
        from export.deploy.targets import target_named

        target = target_named(args.target)
        python = args.python or "{}.{}".format(*sys.version_info[:2])
        if not re.fullmatch(r"3\.1[0-9]", python):
            raise InputError(f"--python {python}: must be a version from 3.10 on, as 3.11")
        with tempfile.TemporaryDirectory(prefix="mest-bundle-") as scratch:
            context.say(f"gathering the wheels of {args.target}, Python {python}")
            package = make_package(args.artifact, target, python, args.wheels, Path(scratch))
            version = args.bundle_version or next_version(args.out, package)
            package = package.of_version(version, args.expires)
            package = package if args.sign is None else package.signed(args.sign)
            args.out.parent.mkdir(parents=True, exist_ok=True)
            package.write(args.out)
        return {**_facts(args.out, package), "signer": None}

    def _make_without_python(self, args: argparse.Namespace, context: Context) -> dict[str, Any]:
        from export.deploy.without_python import make_runner_bundle, next_version

        with tempfile.TemporaryDirectory(prefix="mest-bundle-") as scratch:
            if args.runner is None:
                context.say(f"building mest-run for {args.target}")
            bundle = make_runner_bundle(args.artifact, args.target, args.runner, Path(scratch))
        bundle = bundle.of_version(args.bundle_version or next_version(args.out, bundle), args.expires)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        bundle.write(args.out)
        return _runner_facts(args.out, bundle)

    def show(self, result: dict[str, Any]) -> str:
        python = result["python"]
        rows: list[tuple[str, Any]] = [
            ("bundle", f"{result['bundle']}, {within_budget.size(result['bytes'])}"),
            ("version", f"{result['version']}" + (f", until {result['expires']}" if result["expires"] else "")),
            ("for", f"{result['target']}, {f'Python {python}' if python else 'without Python'}"),
            ("signed by", result["signer"] or ("not looked at" if result["signed"] else None)),
            ("wheels", ", ".join(result["wheels"]) or None),
            ("files", f"{result['files']}, as the manifest lists them"),
        ]
        return within_budget.table(rows)


def _refuse_no_date(day: str | None) -> None:
    import datetime as dt

    from edge.errors import InputError

    try:
        if day is not None and dt.date.fromisoformat(day).isoformat() != day:
            raise ValueError
    except ValueError:
        raise InputError(f"--expires {day}: is not a date; give one like 2027-01-31") from None


def _is_plan(args: argparse.Namespace) -> bool:
    """Whether what is bundled is a file, as a compiled plan is, and no artifact."""
    return args.artifact is not None and bool(args.artifact.is_file())


def _runner_facts(path: Path, bundle: Any) -> dict[str, Any]:
    return {
        "bundle": str(path),
        "bytes": path.stat().st_size,
        "version": bundle.version,
        "expires": bundle.expires,
        "signed": False,
        "identity": bundle.identity(),
        "target": bundle.target,
        "python": None,
        "wheels": [],
        "files": 3,
        "signer": None,
    }


def _facts(path: Path, package: Any) -> dict[str, Any]:
    from export.deploy.targets import target_of

    bundle = package.bundle
    return {
        "bundle": str(path),
        "bytes": path.stat().st_size,
        "version": bundle.version,
        "expires": bundle.expires,
        "signed": bool(package.signature),
        "identity": bundle.identity(),
        "target": target_of(bundle.machine, bundle.library, 64).name,
        "python": bundle.python,
        "wheels": [member.name.partition("/")[2] for member in bundle.inside("wheels")],
        "files": len(bundle.members),
    }
