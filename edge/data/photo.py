"""One image file: its header, what decoding it takes, and its pixels upright with 8 bits a channel.

`mest/data/photo.py` does the same on the workstation, bit for bit.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

    Opened = str | Path | BytesIO

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".avif", ".tga"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".tif", ".tiff"}
)
KINDS = "PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF, TGA or PPM"
_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
_ORIENTATION = 0x0112
# EXIF's orientation to Pillow's number of the transposition that makes the image upright.
_TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
# Where a file of each kind begins with what; the kind decides which one of Pillow's forty plugins is imported.
_SIGNATURES = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG", "PNG"),
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (8, b"WEBP", "WEBP"),
    (4, b"ftyp", "AVIF"),
    (0, b"II", "TIFF"),
    (0, b"MM", "TIFF"),
    (0, b"P", "PPM"),
)
_PLUGINS = {"JPEG": "Jpeg", "PNG": "Png", "GIF": "Gif", "BMP": "Bmp", "WEBP": "WebP", "AVIF": "Avif", "TIFF": "Tiff"}
_PLUGINS |= {"PPM": "Ppm", "TGA": "Tga"}
_BLOCK_BYTES, _ROW_BYTES = 1 << 16, 128  # what a decoder reads ahead, and keeps for each pixel of a row
_WHOLE_COPIES = {"WEBP": 3, "AVIF": 2, "TIFF": 1}  # times 4 bytes a pixel that these decoders hold themselves


@dataclass(frozen=True)
class Header:
    """What the start of an image file says. `turn` is EXIF's orientation, 1 for upright."""

    kind: str
    mode: str
    width: int
    height: int
    turn: int = 1
    coefficients: int = 0  # bytes of a progressive JPEG's, which its decoder holds whole

    @property
    def upright(self) -> tuple[int, int]:
        """(height, width) as a person sees the image."""
        return (self.width, self.height) if self.turn > 4 else (self.height, self.width)

    @property
    def grey(self) -> bool:
        """True if the image has no colours."""
        return self.mode in _GREY_MODES

    def decoding_bytes(self, mode: str, target: tuple[int, int] | None) -> int:
        """The most that decoding, converting to `mode` and resizing to `target` (width, height) hold at once."""
        width, height = self.width, self.height
        scale = 1
        if self.kind == "JPEG" and target is not None:
            wide, high = _stored(target, self.turn)
            fits = min(width // (2 * wide), height // (2 * high))
            scale = next((scale for scale in (8, 4, 2) if fits >= scale), 1)
        pixels = -(-width // scale) * -(-height // scale)
        wanted = _pixel_bytes(mode)
        held = pixels * _pixel_bytes(self.mode)
        if self.mode != mode:
            held += pixels * wanted + (3 * pixels if self.mode.startswith("I") else 0)
        if self.turn > 1:
            held += pixels * wanted
        if target is not None:
            # One pass makes the rows short, the next one makes them few; then the array, once as bytes.
            tall = height if self.turn < 5 else width
            held += wanted * target[0] * (-(-tall // scale) + 3 * target[1])
        else:
            held += 2 * wanted * pixels
        held += self.coefficients + _WHOLE_COPIES.get(self.kind, 0) * 4 * width * height
        return held + _BLOCK_BYTES + _ROW_BYTES * width


def _pixel_bytes(mode: str) -> int:
    """Bytes that Pillow holds for a pixel."""
    return 1 if mode in ("1", "L", "P") else 2 if mode.startswith("I;16") else 4


def _stored(size: tuple[int, int], turn: int) -> tuple[int, int]:
    """(width, height) of an upright image as its file has it."""
    return (size[1], size[0]) if turn > 4 else size


def open_photo(file: Opened) -> Image:
    """The image in a file, not yet decoded; to be closed. Raises ValueError for a file of no kind that is read.

    Only the plugin of the file's kind is imported, and nothing else is tried: no PostScript is run.
    """
    from PIL import Image

    if isinstance(file, BytesIO):
        head, suffix = file.getvalue()[:16], ""
    else:
        with open(file, "rb") as start:
            head = start.read(16)
        suffix = os.path.splitext(file)[1].lower()  # noqa: PTH122 - called for every image
    if not head:
        raise ValueError("the file is empty")
    kind = next((kind for at, mark, kind in _SIGNATURES if head[at:].startswith(mark)), None)
    kind = kind or ("TGA" if suffix == ".tga" else None)
    if kind is None:
        raise ValueError(f"no {KINDS} file")
    import_module(f"PIL.{_PLUGINS[kind]}ImagePlugin")
    return Image.open(file, formats=(kind,))


def read_header(file: Opened) -> Header:
    """What the start of the file says; raises what Pillow raises for a file that it cannot read."""
    with open_photo(file) as image:
        return header_of(image)


def header_of(image: Image) -> Header:
    """What an opened image says of itself; raises ValueError for 32-bit pixels, of which nobody says what is white."""
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        raise ValueError("its pixels are 32-bit numbers without an agreed white; save it with 8 or 16 bits a channel")
    kind = "JPEG" if image.format == "MPO" else str(image.format)
    coefficients = 0
    if image.info.get("progressive"):
        layers = [layer[1:3] for layer in getattr(image, "layer", ())] or [(1, 1)] * 3
        share = sum(wide * high for wide, high in layers) / max(wide * high for wide, high in layers)
        coefficients = int(2 * share * (image.width + 16) * (image.height + 16))
    return Header(kind, image.mode, image.width, image.height, orientation(image.info), coefficients)


def orientation(info: dict[Any, Any]) -> int:
    """EXIF's orientation from 1 (upright) to 8; 1 where nothing is said or nothing that makes sense.

    Read here, because Pillow's own reader of EXIF brings a megabyte of code along.
    """
    exif = info.get("exif")
    if not isinstance(exif, bytes):
        return 1
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "little", b"MM": "big"}.get(exif[:2])
    if order is None:
        return 1

    def number(start: int, count: int) -> int:
        return int.from_bytes(exif[start : start + count], order)  # type: ignore[arg-type]

    first = number(4, 4)
    end = min(first + 2 + 12 * number(first, 2), len(exif))
    for entry in range(first + 2, end, 12):
        if number(entry, 2) == _ORIENTATION:
            value = number(entry + 8, {1: 1, 3: 2, 4: 4}.get(number(entry + 2, 2), 0))
            return value if value in _TURNS else 1
    return 1


def reduce_jpeg(image: Image, target: tuple[int, int]) -> bool:
    """True if the image is a JPEG that will be decoded at 1, 1/2, 1/4 or 1/8 of its size, never below twice `target`.

    `target` is the (width, height) that the upright image is going to be resized to.
    """
    if image.format not in ("JPEG", "MPO"):
        return False
    width, height = _stored(target, orientation(image.info))
    image.draft(None, (2 * width, 2 * height))  # type: ignore[arg-type]  # None keeps the mode
    return True


def upright(image: Image, mode: str) -> Image:
    """The image decoded, in mode "RGB" or "L" and turned as its EXIF says. What is transparent keeps its colour.

    Of 16 bits the higher 8 count, as where Pillow itself reads 16 bits a colour.
    """
    from PIL import Image as pillow

    image.load()
    turn = orientation(image.info)
    image.info.pop("transparency", None)  # a single colour or the palette's; converting would warn about it
    if image.mode.startswith("I"):  # 16 bits, which older versions of Pillow hold in 32
        image = pillow.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("La", "RGBa"):  # multiplied by their transparency
        image = image.convert("RGBA" if image.mode == "RGBa" else "LA")
    if image.mode != mode:
        image = image.convert(mode)
    return image if turn == 1 else image.transpose(_TURNS[turn])  # type: ignore[arg-type]


def why_unreadable(error: Exception) -> str:
    """The first line of what Pillow says, or what kind of error it was."""
    return (str(error).splitlines() or [type(error).__name__])[0] or type(error).__name__
