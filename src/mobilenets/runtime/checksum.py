"""The checksum in the header of a graph file, which tells damage in the file: in its weights as well as in its header.

A graph file is a safetensors file: the length of its header, the header as JSON, and numbers. The checksum is one more text in
the header, and that of the whole file with zeros in its own place. Readers that do not know it pass over it.
"""

from __future__ import annotations

import hashlib
import json
import re

from mobilenets.errors import CheckpointError

KEY = "sha256"
"""Its name in the header's metadata."""

BLANK = "0" * 64
"""What stands in its place while it is computed."""

_WRITTEN = re.compile(rb'"%s":\s?"([0-9a-f]{64})"' % KEY.encode())
_LONGEST_HEADER = 100_000_000  # as safetensors has it


def sealed(file: bytes) -> bytes:
    """The bytes of a graph file whose header has `BLANK` as its checksum, with the checksum in its place.

    The texts in its header get one order, because safetensors writes them in another one each time: a graph is the same bytes
    each time.
    """
    file = _ordered(file)
    found = _checksum(file)
    assert found is not None
    return file[: found.start(1)] + _digest(file, found).encode() + file[found.end(1) :]


def check_whole(file: bytes, name: str) -> None:
    """Check the bytes of a graph file against its checksum; files of earlier versions have none.

    Args:
        file: its bytes.
        name: for the error.

    Raises:
        CheckpointError: they are not those that were written.
    """
    found = _checksum(file)
    if found is not None and _digest(file, found) != found[1].decode():
        raise CheckpointError(
            f"'{name}' is damaged: its checksum differs from that of the file that was written",
            hint="copy it again, or export the model again",
        )


def _ordered(file: bytes) -> bytes:
    end = 8 + int.from_bytes(file[:8], "little")
    header = json.loads(file[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # as safetensors has it, so that numbers are aligned
    return len(text).to_bytes(8, "little") + text + file[end:]


def _checksum(file: bytes) -> re.Match[bytes] | None:
    """Where the checksum is: quotes in other texts of the header have a backslash before them."""
    return _WRITTEN.search(file, 8, 8 + min(int.from_bytes(file[:8], "little"), _LONGEST_HEADER))


def _digest(file: bytes, place: re.Match[bytes]) -> str:
    digest = hashlib.sha256(file[: place.start(1)])
    digest.update(BLANK.encode())
    digest.update(memoryview(file)[place.end(1) :])
    return digest.hexdigest()
