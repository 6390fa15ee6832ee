"""The checksum in the header of a graph file. It reveals damage anywhere in the file, weights and header included.

A graph file is a safetensors file: the length of its header, the header as JSON, and the numbers. The checksum is one more
text entry in the header. It is computed over the whole file, with zeros in place of the checksum itself. Readers that do not
know the entry ignore it.
"""

from __future__ import annotations

import hashlib
import json
import re

from mobilenets.errors import CheckpointError

KEY = "sha256"
"""The checksum's key in the header's metadata."""

BLANK = "0" * 64
"""What takes the checksum's place while it is computed."""

_WRITTEN = re.compile(rb'"%s":\s?"([0-9a-f]{64})"' % KEY.encode())
_LONGEST_HEADER = 100_000_000  # the limit of safetensors


def sealed(file: bytes) -> bytes:
    """The bytes of a graph file with the checksum filled in; its header must have `BLANK` in that place.

    The header's entries are sorted first, because safetensors writes them in a different order each time. The same graph
    therefore always gives the same bytes.
    """
    file = _ordered(file)
    found = _checksum(file)
    assert found is not None
    return file[: found.start(1)] + _digest(file, found).encode() + file[found.end(1) :]


def check_whole(file: bytes, name: str) -> None:
    """Check the bytes of a graph file against its checksum; files of earlier versions have none.

    Args:
        file: the file's bytes.
        name: the file's name, for the error message.

    Raises:
        CheckpointError: the bytes are not those that were written.
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
    text += b" " * (-len(text) % 8)  # padded as safetensors does, so that the numbers are aligned
    return len(text).to_bytes(8, "little") + text + file[end:]


def _checksum(file: bytes) -> re.Match[bytes] | None:
    """The checksum's match. Texts elsewhere in the header cannot match, because JSON puts a backslash before their quotes."""
    return _WRITTEN.search(file, 8, 8 + min(int.from_bytes(file[:8], "little"), _LONGEST_HEADER))


def _digest(file: bytes, place: re.Match[bytes]) -> str:
    digest = hashlib.sha256(file[: place.start(1)])
    digest.update(BLANK.encode())
    digest.update(memoryview(file)[place.end(1) :])
    return digest.hexdigest()
