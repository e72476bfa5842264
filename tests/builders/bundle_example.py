"""A small bundle written by hand: its members are a few bytes, and its wheel holds one module."""

from __future__ import annotations

from hashlib import sha256
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from edge.install.archive import Member, Place, write_archive
from edge.install.bundle import Bundle

CONTENTS = {
    "__main__.py": b"raise SystemExit(0)\n",
    "start": b"#!/bin/sh\n",
    "artifact/manifest.json": b"{}\n",
    "artifact/network.bin": bytes(range(256)),
}


def make_wheel(files: dict[str, bytes], mode: int = 0o100644) -> bytes:
    """A zip archive of files, with the file type and permissions of `mode` on each."""
    out = BytesIO()
    with ZipFile(out, "w") as archive:
        for name, content in files.items():
            info = ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return out.getvalue()


def make_bundle(path: Path, contents: dict[str, bytes] | None = None, **facts) -> Bundle:
    """Write a bundle of contents by name; `facts` replace those of its manifest."""
    contents = {**CONTENTS, "wheels/one-1-py3-none-any.whl": make_wheel({"one.py": b"\n"})} | (contents or {})
    members, places = [], []
    for number, (name, content) in enumerate(contents.items()):
        part = path.with_name(f"{path.name}.content{number}")
        part.write_bytes(content)
        places.append(Place(part))
        members.append(Member(name, sha256(content).hexdigest(), len(content)))
    given = {"version": 3, "machine": "aarch64", "library": "glibc", "python": "3.11", "mest": "0.1.0"} | facts
    bundle = Bundle(members=tuple(members), **given)
    with open(path, "wb", buffering=0) as file:
        write_archive(file, bundle.encode(), list(zip(members, places, strict=True)))
    for place in places:
        place.path.unlink()
    return bundle
