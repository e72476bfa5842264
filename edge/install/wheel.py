"""Wheels without pip: which of their files go where, after none of them could go anywhere else."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from shutil import copyfileobj
from zipfile import BadZipFile, ZipFile, ZipInfo
from zlib import error as ZlibError

from edge.errors import DamagedError
from edge.install.archive import Place

MAX_UNPACKED_BYTES = 4 * 2**30
_TO_SITE = ("purelib", "platlib")  # of a wheel's NAME.data folder; scripts, headers and manual pages are not installed


def check_wheel(place: Place, nbytes: int, name: str) -> None:
    """Raise DamagedError, naming the wheel, unless every file in it is a plain one that stays within its folder."""
    with _opened(place, nbytes, name) as archive:
        for _ in _files(archive, name):
            pass


def unpack_wheel(place: Place, nbytes: int, name: str, site: Path) -> None:
    """Write the packages of a wheel into the folder `site`; raises as `check_wheel`, before anything is written."""
    with _opened(place, nbytes, name) as archive:
        for info, target in list(_files(archive, name)):
            path = site / target
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with archive.open(info) as source, open(path, "wb") as file:
                    copyfileobj(source, file, 1 << 17)
            except (BadZipFile, ZlibError, EOFError, NotImplementedError) as error:
                raise DamagedError(f"{name}: {info.filename} cannot be unpacked ({error}); make it again") from None


def _opened(place: Place, nbytes: int, name: str) -> ZipFile:
    try:
        return ZipFile(BytesIO(b"".join(place.read(nbytes))))
    except (BadZipFile, ValueError, NotImplementedError) as error:
        raise DamagedError(f"{name}: is no wheel ({error}); make the bundle again") from None


def _files(archive: ZipFile, name: str) -> Iterator[tuple[ZipInfo, str]]:
    """The files of a wheel that are installed, and where in site-packages."""
    total, seen = 0, set()
    for info in archive.infolist():
        parts = info.filename.rstrip("/").split("/")
        kind = stat.S_IFMT(info.external_attr >> 16)
        strange = any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts)
        if strange or info.filename in seen or kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DamagedError(
                f"{name}: {info.filename[:80]!r} is a link, comes twice or leads out of its folder; nothing was written"
            )
        seen.add(info.filename)
        total += info.file_size
        if total > MAX_UNPACKED_BYTES:
            raise DamagedError(f"{name}: would unpack to more than the {MAX_UNPACKED_BYTES} bytes allowed")
        if info.is_dir():
            continue
        if parts[0].endswith(".data") and len(parts) > 1:
            if parts[1] in _TO_SITE and len(parts) > 2:
                yield info, "/".join(parts[2:])
        else:
            yield info, info.filename
