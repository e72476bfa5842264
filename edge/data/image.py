"""One image file, read as the network wants it."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np

from edge.data.photo import Header, header_of, open_photo, why_unreadable
from edge.data.preprocess import Preprocess
from edge.errors import BudgetError, InputError

DECODER_CODE_BYTES = 1 << 18  # what Pillow's decoders touch of themselves after the first image, over thousands


def decoding_bytes(header: Header, preprocess: Preprocess | None) -> int:
    """The most that turning the file into the network's pixels holds at once."""
    height, width = header.upright
    if preprocess is None:
        return header.decoding_bytes("RGB", None)
    return header.decoding_bytes(preprocess.mode, preprocess.target((width, height)))


def read_image(
    file: Path | str | BytesIO, preprocess: Preprocess, decoder_bytes: int | None = None, advice: str = ""
) -> np.ndarray:
    """The uint8 pixels `(h, w, c)` of an image file; raises InputError naming it, with advice, where it cannot be read.

    Raises BudgetError for an image that would take more than `decoder_bytes` to decode.
    """
    try:
        with open_photo(file) as image:
            needed = decoding_bytes(header_of(image), preprocess)
            if decoder_bytes is not None and needed > decoder_bytes:
                raise BudgetError(
                    f"{file}: {image.size[0]}x{image.size[1]} pixels take {needed} bytes to decode, planned were "
                    f"{decoder_bytes}; make the image smaller"
                )
            return preprocess.pixels(image)
    except (MemoryError, BudgetError):
        raise
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    except Exception as error:  # Pillow's readers raise what they like for a damaged file
        raise unreadable_image(file, error, advice=advice) from None


def unreadable_image(file: Path | BytesIO | str, error: Exception, more: int = 0, advice: str = "") -> InputError:
    """What to say of an image file that cannot be read, and of `more` beside it."""
    others = f", and {more} more" if more else ""
    return InputError(f"{file}: not a readable image ({why_unreadable(error)}){others}; remove or replace it{advice}")
