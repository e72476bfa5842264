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

MAKING = ("target", "out", "python", "wheels", "bundle_version", "expires", "sign")
EFFECTS = (
    Effect(MAKING, lambda args: args.check is None, "makes a bundle, and --check only reads one; leave it out"),
    Effect(("allowed_signers",), lambda args: args.check is not None, "is for --check; leave it out"),
)


class Command(Base):
    """One file that installs and runs offline on a board: an artifact, the wheels of mest and of what it needs.

    On the board: python3 FILE install. The same input gives the same bytes. --check looks at every byte of such a file.
    """

    name = "bundle"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "artifact", type=Path, nargs="?", metavar="ART", help="the directory that mest export wrote"
        )
        parser.add_argument("--check", type=Path, metavar="FILE", help="check a bundle; nothing is written")
        parser.add_argument("--out", type=Path, metavar="FILE", help="the file to write; a bundle there is renewed")
        parser.add_argument(
            "--target", help="the kind of board: linux-x86_64, linux-aarch64, musl-x86_64, musl-aarch64"
        )
        parser.add_argument("--python", metavar="3.N", help="the board's Python (default: as this one)")
        parser.add_argument(
            "--wheels", type=Path, metavar="DIR", help="take every wheel from here (default: built, and pip download)"
        )
        parser.add_argument(
            "--bundle-version",
            type=int,
            metavar="N",
            help="boards refuse lower ones (default: 1, or one more than the other bundle that is at --out)",
        )
        parser.add_argument("--sign", type=Path, metavar="KEY", help="sign it with this OpenSSH key, by ssh-keygen")
        parser.add_argument(
            "--allowed-signers", type=Path, metavar="FILE", help="with --check: it must be signed by one of these"
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
        return self._make(args, context)

    def _check(self, path: Path, allowed: Path | None) -> dict[str, Any]:
        from edge.install.signature import refuse_unsigned
        from export.deploy.package import read_package

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
        _refuse_no_date(args.expires)
        with tempfile.TemporaryDirectory(prefix="mest-bundle-") as scratch:
            context.say(f"gathering the wheels of {args.target}, Python {python}")
            package = make_package(args.artifact, target, python, args.wheels, Path(scratch))
            version = args.bundle_version or next_version(args.out, package)
            package = package.of_version(version, args.expires)
            package = package if args.sign is None else package.signed(args.sign)
            args.out.parent.mkdir(parents=True, exist_ok=True)
            package.write(args.out)
        return {**_facts(args.out, package), "signer": None}

    def show(self, result: dict[str, Any]) -> str:
        rows: list[tuple[str, Any]] = [
            ("bundle", f"{result['bundle']}, {within_budget.size(result['bytes'])}"),
            ("version", f"{result['version']}" + (f", until {result['expires']}" if result["expires"] else "")),
            ("for", f"{result['target']}, Python {result['python']}"),
            ("signed by", result["signer"] or ("not looked at" if result["signed"] else None)),
            ("wheels", ", ".join(result["wheels"])),
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
        raise InputError(f"--expires {day}: is no day; give one as 2027-01-31") from None


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
