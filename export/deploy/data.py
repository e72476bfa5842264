"""Data that go along to a board: the files of a folder or one file, known by their content."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.files.digest import file_sha256, sha256
from edge.install.archive import Member, Place
from mest.errors import InputError
from mest.packaged import DATA_SETS

THERE = "board:"  # before a path that lies on the board already


@dataclass(frozen=True)
class Data:
    """The files of one place by their names in it, and the name of the file if it is only one."""

    members: Mapping[str, Member]
    places: Mapping[str, Place]
    only: str | None

    @property
    def number(self) -> str:
        """What they are known by on a board: equal for equal names and contents."""
        listed = [[name, member.sha256] for name, member in sorted(self.members.items())]
        digest = sha256()
        digest.update(json.dumps(listed).encode())
        return str(digest.hexdigest()[:16])

    def place_in(self, root: str) -> str:
        """Where they lie on a board whose folder of ours is `root`."""
        folder = f"{root}/data/{self.number}"
        return folder if self.only is None else f"{folder}/{self.only}"


def read_data(where: str) -> Data | None:
    """The data at a path; None for those that a board has. Raises InputError where there are none."""
    if where in DATA_SETS or where.startswith(THERE):
        return None
    path = Path(where)
    if path.is_file():
        return _data({path.name: path}, path.name)
    if not path.is_dir():
        raise InputError(f"data {where}: no such folder or file; give {THERE}PATH for data that lie on the board")
    found = {}
    for folder, folders, names in os.walk(path, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            file = Path(folder) / name
            if not name.startswith(".") and file.is_file():
                found[file.relative_to(path).as_posix()] = file
    if not found:
        raise InputError(f"data {where}: holds no files")
    return _data(found, None)


def _data(files: Mapping[str, Path], only: str | None) -> Data:
    members = {name: Member(name, file_sha256(path), path.stat().st_size) for name, path in sorted(files.items())}
    return Data(members, {name: Place(path) for name, path in files.items()}, only)
