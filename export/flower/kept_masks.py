"""The masks that a client has seen, on its disk by their SHA-256, so that they travel only when they move."""

from __future__ import annotations

from pathlib import Path

from edge.errors import InputError
from edge.files.durable import write_durably
from export.flower.packing import digest_of


class KeptMasks:
    """A folder with the packed masks of one artifact's rounds; the last one that was used, and no others."""

    def __init__(self, folder: Path, own: bytes) -> None:
        """`own` are the artifact's, which need not travel."""
        self._folder = folder
        self._own = own

    def take(self, digest: str, sent: bytes | None) -> bytes:
        """The masks of that digest, from what was sent, or as kept.

        Raises InputError where what was sent has another digest, and where nothing was sent and they are not kept.
        """
        if sent is not None:
            if digest_of(sent) != digest:
                raise InputError(f"masks {digest:.12}: what came has another SHA-256; it was altered on its way")
            self._keep(digest, sent)
            return sent
        if digest_of(self._own) == digest:
            return self._own
        try:
            kept = self._place(digest).read_bytes()
        except OSError:
            kept = b""
        if digest_of(kept) != digest:
            raise InputError(f"masks {digest:.12}: are not kept here any more; the server sends them next time")
        return kept

    def _keep(self, digest: str, packed: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        write_durably(self._place(digest), packed)
        for other in self._folder.iterdir():
            if other != self._place(digest):
                other.unlink(missing_ok=True)

    def _place(self, digest: str) -> Path:
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise InputError(f"masks {digest!r:.80}: is no SHA-256")
        return self._folder / digest
