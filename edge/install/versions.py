"""Versions side by side on a board behind one link, which is replaced in a single step or not at all.

```
 PLACE/content/SHA256          every file that came, by its content
       environments/ID/        virtual environments, by their wheels
       versions/N-ID/          bundle.json, artifact/, start, environment -> ../../environments/ID
       active -> versions/N-ID
       allowed_signers        if its owner put it there: whose signatures are asked for
       newest.json             the highest version that was ever active here: older ones are refused
       data/ID/, jobs/ID/      what was sent to train on, and the runs
```
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from edge.errors import DamagedError, InputError
from edge.files.durable import sync_folder, write_durably
from edge.files.fields import Fields, read_json
from edge.files.lock import holding
from edge.install.archive import MANIFEST, Place
from edge.install.bundle import ARTIFACT, START, WHEELS, Bundle, decode
from edge.install.environment import environment, refuse_other_machine
from edge.install.signature import ALLOWED, refuse_unsigned
from edge.install.store import Store
from edge.install.wheel import check_wheel

_NEWEST, _ACTIVE, _BEFORE = "newest.json", "active", "before"
_KEPT = 3  # versions, beside those that are in use


class Board:
    """The folder on a board that everything of ours lies in."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = Store(root / "content")

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Be the only process that installs or activates; raises InputError naming the other one."""
        with holding(self.root):
            yield

    def version(self, name: str) -> Path:
        """The folder of an installed version."""
        if not name or Path(name).name != name:
            raise InputError(f"{name!r:.60}: is not the name of a version")
        return self.root / "versions" / name

    def installed(self) -> list[str]:
        """The names of the versions that are here whole, the oldest first."""
        folder = self.root / "versions"
        names = [path.name for path in folder.iterdir() if (path / MANIFEST).is_file()] if folder.is_dir() else []
        return sorted(names, key=lambda name: (int(name.partition("-")[0]), name))

    def active(self) -> str | None:
        """The name of the active version."""
        return self._link(_ACTIVE)

    def before(self) -> str | None:
        """The name of the version that was active before, if it is still here."""
        name = self._link(_BEFORE)
        return name if name is not None and name in self.installed() else None

    def _link(self, link: str) -> str | None:
        try:
            return (self.root / link).readlink().name
        except FileNotFoundError:
            return None

    def newest(self) -> tuple[int, str]:
        """The highest version that was ever active here, and its bundle's identity; (0, "") on a new board."""
        path = self.root / _NEWEST
        if not path.is_file():
            return 0, ""
        source = Fields(read_json(path, 10_000), str(path), "the newest version", "remove it to accept any version")
        return source.integer("version"), source.text("identity")

    def refuse_older(self, bundle: Bundle, file: str) -> None:
        """Raise DamagedError for a bundle that is older than what was active here, or another of the same version."""
        version, identity = self.newest()
        if (bundle.version, bundle.identity()) == (version, identity):
            return
        if bundle.version <= version:
            raise DamagedError(
                f"{file}: is version {bundle.version}, and version {version} was active here already; versions only "
                "grow: make the bundle again with a higher one, or go back to the one before"
            )

    def install(
        self, text: bytes, file: str, sources: Mapping[str, Place] | None = None, signature: bytes = b""
    ) -> str:
        """Install what a manifest lists and give the version's name; it is whole then, and not yet active.

        Contents come from `sources`, by member's name, or from the store, where they must have arrived. Raises
        DamagedError or InputError, before anything is written, for a bundle that is not for this board. With a file
        `allowed_signers` in its folder the board takes only what one of those has signed.
        """
        if (self.root / ALLOWED).is_file():
            refuse_unsigned(text, signature, self.root / ALLOWED, file)
        bundle = decode(text, file)
        bundle.refuse_expired(file)
        refuse_other_machine(bundle, file)
        self.refuse_older(bundle, file)
        name = f"{bundle.version}-{bundle.identity()[:12]}"
        folder = self.version(name)
        if (folder / MANIFEST).is_file() and (folder / "environment").is_dir():
            return name
        wanted = [*bundle.inside(WHEELS), *bundle.inside(ARTIFACT)]
        wanted += [member for member in bundle.members if member.name == START]
        for member in wanted:
            if sources is not None:
                self.store.copy(member, sources[member.name])
            elif not self.store.holds(member):
                raise InputError(f"{file}: {member.name} has not arrived; send it again")
        for wheel in bundle.inside(WHEELS):
            check_wheel(self.store.place(wheel.sha256), wheel.nbytes, wheel.name)
        made = environment(self.root / "environments", bundle.inside(WHEELS), self.store)
        shutil.rmtree(folder, ignore_errors=True)
        (folder / ARTIFACT).mkdir(parents=True)
        for member in bundle.inside(ARTIFACT):
            link_or_copy(self.store.path(member.sha256), folder / member.name)
        (start,) = (member for member in wanted if member.name == START)
        shutil.copyfile(self.store.path(start.sha256), folder / START)
        (folder / START).chmod(0o755)
        (folder / "environment").symlink_to(os.path.relpath(made, folder))
        sync_folder(folder / ARTIFACT)
        write_durably(folder / MANIFEST, text)  # last: a version without it is not there
        sync_folder(folder.parent)
        return name

    def activate(self, name: str) -> str | None:
        """Make an installed version the active one; the name of the one before, None if there was none or no change."""
        if name not in self.installed():
            raise InputError(f"{name}: is not installed; installed are {', '.join(self.installed()) or 'none'}")
        bundle = decode((self.version(name) / MANIFEST).read_bytes(), str(self.version(name)))
        version, _ = self.newest()
        if bundle.version >= version:
            newest = {"version": bundle.version, "identity": bundle.identity()}
            write_durably(self.root / _NEWEST, json.dumps(newest).encode())
        before = self.active()
        if before == name:
            return None
        if before is not None:
            self._point(_BEFORE, before)
        self._point(_ACTIVE, name)
        return before

    def back(self) -> str:
        """Make the version before the active one again; its name. Raises InputError where there is none."""
        before, active = self.before(), self.active()
        if before is None or before == active:
            raise InputError(
                f"{self.root}: holds no version from before the active one; there is nothing to go back to"
            )
        self._point(_ACTIVE, before)
        return before

    def _point(self, link: str, name: str) -> None:
        beside = self.root / f".{link}.new"
        beside.unlink(missing_ok=True)
        beside.symlink_to(Path("versions") / name)
        beside.replace(self.root / link)
        sync_folder(self.root)

    def tidy(self, in_use: set[str]) -> None:
        """Remove old versions, and the environments and contents that no version needs any more."""
        keep = {*self.installed()[-_KEPT:], *in_use, self.active(), self.before()}
        for name in set(self.installed()) - keep:
            (self.version(name) / MANIFEST).unlink()  # first: from here on it is not there
            shutil.rmtree(self.version(name))
        bundles = [decode((self.version(name) / MANIFEST).read_bytes(), name) for name in self.installed()]
        environments = {(self.version(name) / "environment").resolve().name for name in self.installed()}
        contents = {member.sha256 for bundle in bundles for member in bundle.members}
        for path in _inside(self.root / "environments"):
            if path.name not in environments:
                shutil.rmtree(path)
        for path in _inside(self.store.folder):
            if path.suffix != ".part" and path.name not in contents and path.stat().st_nlink == 1:
                path.unlink()


def _inside(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def link_or_copy(source: Path, target: Path) -> None:
    """The same file under another name; a copy where the file system has no hard links."""
    target.unlink(missing_ok=True)
    with suppress(OSError):
        os.link(source, target)
        return
    shutil.copyfile(source, target)
