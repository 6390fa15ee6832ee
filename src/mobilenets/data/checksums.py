"""`checksum_of`: a short checksum that detects changed image files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def checksum_of(chunks: Iterable[bytes]) -> str:
    """BLAKE2b with a digest of 8 bytes, in hexadecimal."""
    digest = hashlib.blake2b(digest_size=8)
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()
