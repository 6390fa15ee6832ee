"""Removes texts and color profiles, which can be very large, from PNG files."""

from __future__ import annotations

import struct

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LEFT_OUT = frozenset((b"tEXt", b"zTXt", b"iTXt", b"iCCP"))


def without_texts(data: bytes) -> bytes | None:
    """The bytes of a PNG without its texts and color profile; None if it has neither.

    A PNG is a sequence of chunks: length (4 bytes), kind (4), content, checksum (4).
    """
    kept = [SIGNATURE]
    start, removed = len(SIGNATURE), False
    while start + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + 12 + length
        if kind in _LEFT_OUT:
            removed = True
        else:
            kept.append(data[start:end])
        start = end
    return b"".join(kept) if removed else None
