"""A reader for FlatBuffers: tables, vectors and strings at their offsets (flatbuffers.dev, "FlatBuffers internals")."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class FlatTable:
    """One table of a buffer.

    Reading past the buffer raises `struct.error`; the code that opens a file converts it to its own error.

    Args:
        data: the whole buffer, little-endian.
        position: where the table starts.
    """

    data: bytes
    position: int

    @staticmethod
    def root(data: bytes) -> FlatTable:
        """The root table of a buffer."""
        return FlatTable(data, _unpack("I", data, 0))

    def scalar(self, slot: int, kind: str, default: Any = 0) -> Any:  # Any: the schema knows the type
        """A number.

        Args:
            slot: the field's index in its schema, from 0.
            kind: a format character of `struct`: "b" for 8 bits, "i" for 32, "?" for bool.
            default: the value of an absent field.
        """
        at = self._field(slot)
        return _unpack(kind, self.data, at) if at else default

    def table(self, slot: int) -> FlatTable | None:
        """A table; None if the field is absent."""
        at = self._field(slot)
        return FlatTable(self.data, at + _unpack("I", self.data, at)) if at else None

    def tables(self, slot: int) -> Iterator[FlatTable]:
        """A vector of tables."""
        start, count = self._vector(slot)
        for at in range(start, start + 4 * count, 4):
            yield FlatTable(self.data, at + _unpack("I", self.data, at))

    def array(self, slot: int, dtype: str) -> NDArray[Any]:  # Any: the schema knows the type
        """A vector of numbers, empty if the field is absent."""
        start, count = self._vector(slot)
        size = np.dtype(dtype).itemsize * count
        if start + size > len(self.data):
            raise struct.error(f"a vector of {size} bytes at {start} ends behind the buffer's {len(self.data)}")
        return np.frombuffer(self.data, dtype, count, start) if count else np.zeros(0, dtype)

    def string(self, slot: int) -> str:
        """A text, empty if the field is absent."""
        return self.array(slot, "u1").tobytes().decode("utf-8", "replace")

    def _field(self, slot: int) -> int:
        """The position of a field; 0 if it is absent."""
        directory = self.position - _unpack("i", self.data, self.position)
        entry = 4 + 2 * slot
        offset = _unpack("H", self.data, directory + entry) if entry < _unpack("H", self.data, directory) else 0
        return self.position + offset if offset else 0

    def _vector(self, slot: int) -> tuple[int, int]:
        """The position of a vector's first element, and the number of elements."""
        at = self._field(slot)
        if not at:
            return 0, 0
        start = at + _unpack("I", self.data, at)
        return start + 4, _unpack("I", self.data, start)


def _unpack(kind: str, data: bytes, at: int) -> Any:  # Any: the character decides
    if at < 0:
        raise struct.error(f"an offset points before the buffer, to {at}")
    return struct.unpack_from(f"<{kind}", data, at)[0]
