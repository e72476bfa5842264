"""Signatures of manifests by the system's OpenSSH: who made a bundle, beside that it is whole."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from edge.errors import DamagedError, InputError

NAMESPACE = "mest"  # a signature that was given for something else does not count
ALLOWED = "allowed_signers"  # a line for each: NAME namespaces="mest" ssh-ed25519 KEY


def sign(manifest: bytes, key: Path) -> bytes:
    """The signature of a manifest by an OpenSSH key; raises InputError with what ssh-keygen said if it cannot sign."""
    done = _keygen(["-Y", "sign", "-q", "-f", str(key), "-n", NAMESPACE], manifest)
    if done.returncode or not done.stdout.startswith(b"-----BEGIN SSH SIGNATURE-----"):
        raise InputError(f"{key}: cannot sign ({_said(done)}); give an OpenSSH key")
    return done.stdout


def refuse_unsigned(manifest: bytes, signature: bytes, allowed: Path, file: str) -> str:
    """The name of the one among the `allowed` who signed a manifest; raises DamagedError if nobody of them did."""
    if not allowed.is_file():
        raise InputError(f"{allowed}: no such file; give one with the keys of those who may sign")
    if not signature:
        raise DamagedError(f"{file}: is not signed, and only what one of {allowed} signed is taken; sign it")
    with tempfile.TemporaryDirectory(prefix="mest-signature-") as folder:
        path = Path(folder) / "signature"
        path.write_bytes(signature)
        found = _keygen(["-Y", "find-principals", "-s", str(path), "-f", str(allowed)], b"")
        name = found.stdout.decode("utf-8", "replace").strip().partition("\n")[0]
        if found.returncode == 0 and name:
            words = ["-Y", "verify", "-f", str(allowed), "-I", name, "-n", NAMESPACE, "-s", str(path)]
            found = _keygen(words, manifest)
            if found.returncode == 0:
                return name
    raise DamagedError(f"{file}: its signature is not one of {allowed} ({_said(found)}); nothing was written")


def _keygen(words: list[str], feed: bytes) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["ssh-keygen", *words], input=feed, capture_output=True, check=False)
    except FileNotFoundError:
        raise InputError("ssh-keygen is not installed, without which no signature can be made or checked") from None


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip() if lines else "ssh-keygen said nothing"
