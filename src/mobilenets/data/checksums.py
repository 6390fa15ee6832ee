"""`checksum_of`: by which the bytes of an image are known again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def checksum_of(chunks: Iterable[bytes]) -> str:
    """BLAKE2b of 8 bytes, in hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=8)
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()
