"""How a weight is stored: one file per format, encode and decode facing each other. See docs/network-format.md."""

from edge.weight.formats.encoding import (
    FORMATS,
    check_parameter,
    choose_format,
    decode,
    encode_parameter,
    encoded_bytes,
    find_format,
    kept_mask,
    positions,
)
from edge.weight.formats.format import Format, FormatError
from edge.weight.formats.pattern import PATTERNS

__all__ = [
    "FORMATS",
    "PATTERNS",
    "Format",
    "FormatError",
    "check_parameter",
    "choose_format",
    "decode",
    "encode_parameter",
    "encoded_bytes",
    "find_format",
    "kept_mask",
    "positions",
]
