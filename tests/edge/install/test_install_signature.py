"""Signed bundles: who is allowed to sign is taken, and nobody else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from bundle_example import make_bundle

from edge.errors import DamagedError, InputError
from edge.install.archive import write_archive
from edge.install.bundle import open_bundle
from edge.install.signature import refuse_unsigned, sign
from edge.install.versions import Board

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen (Debian: openssh-client)")


def make_key(folder: Path, name: str) -> Path:
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
    subprocess.run(words, check=True)
    return folder / name


def allow(folder: Path, key: Path, options: str = 'namespaces="mest"') -> Path:
    (folder / "allowed_signers").write_text(f"{key.name} {options} {key.with_suffix('.pub').read_text()}")
    return folder / "allowed_signers"


def signed(path: Path, key: Path) -> Path:
    """The bundle at a path written again with a signature."""
    opened = open_bundle(path)
    members = [(member, opened.places[member.name]) for member in opened.bundle.members]
    text = opened.bundle.encode()
    with open(path.with_suffix(".signed"), "wb", buffering=0) as file:
        write_archive(file, text, members, sign(text, key))
    return path.with_suffix(".signed")


def test_who_is_allowed_is_named(tmp_path: Path) -> None:
    """The signature is read back as it was given; a stranger, another namespace and another manifest are refused."""
    make_bundle(tmp_path / "a")
    anna, eve = make_key(tmp_path, "anna"), make_key(tmp_path, "eve")
    allowed = allow(tmp_path, anna)
    opened = open_bundle(signed(tmp_path / "a", anna))
    text = opened.bundle.encode()
    assert opened.signature == sign(text, anna)  # Ed25519: the same input, the same bytes
    assert refuse_unsigned(text, opened.signature, allowed, "a") == "anna"
    for manifest, signature in (
        (text, b""),
        (text, b"no signature"),
        (text, sign(text, eve)),
        (text.replace(b'"version": 3', b'"version": 4'), opened.signature),
    ):
        with pytest.raises(DamagedError, match="sign"):
            refuse_unsigned(manifest, signature, allowed, "a")
    with pytest.raises(DamagedError, match="its signature is not one of"):
        refuse_unsigned(text, opened.signature, allow(tmp_path, anna, 'namespaces="git"'), "a")


def test_every_altered_byte_is_refused(tmp_path: Path) -> None:
    """In a signed archive too; in the signature itself, by its checksum or by ssh-keygen."""
    make_bundle(tmp_path / "a")
    anna = make_key(tmp_path, "anna")
    whole = signed(tmp_path / "a", anna).read_bytes()
    for place in range(0, len(whole), 3):
        altered = bytearray(whole)
        altered[place] ^= 1 << place % 8
        (tmp_path / "b").write_bytes(altered)
        with pytest.raises(DamagedError):
            open_bundle(tmp_path / "b")
    for content in (whole + b"\0", whole[:-1], whole + bytes(20_000)):
        (tmp_path / "b").write_bytes(content)
        with pytest.raises(DamagedError):
            open_bundle(tmp_path / "b")


def test_a_board_that_asks_for_signatures_takes_nothing_else(tmp_path: Path) -> None:
    """Unsigned and strangers' bundles are refused before anything is written; the allowed one gets further."""
    make_bundle(tmp_path / "a", machine="aarch64", python="3.99")
    anna, eve = make_key(tmp_path, "anna"), make_key(tmp_path, "eve")
    board = Board(tmp_path / "place")
    board.root.mkdir()
    allow(board.root, anna)
    for path in (tmp_path / "a", signed(tmp_path / "a", eve)):
        opened = open_bundle(path)
        with pytest.raises(DamagedError, match="sign"):
            board.install(opened.bundle.encode(), "a", opened.places, opened.signature)
    opened = open_bundle(signed(tmp_path / "a", anna))
    with pytest.raises(InputError, match=r"was made for aarch64 with glibc and Python 3.99"):
        board.install(opened.bundle.encode(), "a", opened.places, opened.signature)
    assert [path.name for path in board.root.iterdir()] == ["allowed_signers"]


def test_a_key_that_is_none_is_said(tmp_path: Path) -> None:
    """With what ssh-keygen says of it."""
    (tmp_path / "key").write_text("no key")
    with pytest.raises(InputError, match="cannot sign"):
        sign(b"text", tmp_path / "key")
