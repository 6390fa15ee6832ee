"""Tensors in the Open Inference Protocol: in JSON, or as bytes after the JSON."""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from mobilenets.serve.refusal import RefusedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# fmt: off
DATATYPES: Mapping[str, str] = {  # NumPy's name: the protocol's name
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
    "float16": "FP16", "float32": "FP32", "float64": "FP64",
}
# fmt: on

FLOATS, TEXTS = "FP32", "BYTES"
_MOST = 2**31  # elements, more than any request can hold


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input of a request.

    Args:
        name: name of the input.
        shape: its axes.
        datatype: the protocol's name of its type.
        data: the JSON of the values; empty if they are after the JSON.
        raw: the values after the JSON; None if they are in the JSON.
    """

    name: str
    shape: tuple[int, ...]
    datatype: str
    data: bytes = b""
    raw: memoryview | None = None

    @property
    def elements(self) -> int:
        """The number of values in its shape.

        Raises:
            RefusedError: the shape is not valid.
        """
        if any(side < 1 for side in self.shape) or len(self.shape) > _AXES:
            raise RefusedError("request", f"input '{self.name}' has shape {list(self.shape[: _AXES + 1])}; axes are at least 1")
        count = math.prod(self.shape)
        if count > _MOST:
            raise RefusedError("request", f"input '{self.name}' has shape {list(self.shape)}, which no request can hold")
        return count


_AXES = 8


def floats(tensor: Tensor) -> NDArray[np.float32]:
    """The values of an FP32 tensor, in its shape.

    Raises:
        RefusedError: their number does not match the shape, or they are not finite numbers.
    """
    count = tensor.elements
    if tensor.raw is not None:
        if len(tensor.raw) != 4 * count:
            raise RefusedError(
                "request",
                f"input '{tensor.name}' has {len(tensor.raw):,} bytes, but shape {list(tensor.shape)} has {4 * count:,}",
            )
        values = np.frombuffer(tensor.raw, "<f4")
    else:
        values = _numbers(tensor)
        if len(values) != count:
            raise RefusedError(
                "request", f"input '{tensor.name}' has {len(values):,} values, but shape {list(tensor.shape)} has {count:,}"
            )
    if not _finite(values):
        raise RefusedError("request", f"input '{tensor.name}' has values that are not finite in FP32")
    return values.astype(np.float32, copy=False).reshape(tensor.shape)


def texts(tensor: Tensor) -> list[bytes]:
    """The elements of a BYTES tensor: unchanged after the JSON, base64 inside the JSON.

    Raises:
        RefusedError: their number does not match the shape, or they are damaged.
    """
    count = tensor.elements
    found = _decoded(tensor) if tensor.raw is None else _split(tensor.name, tensor.raw)
    if len(found) != count:
        raise RefusedError(
            "request", f"input '{tensor.name}' has {len(found):,} elements, but shape {list(tensor.shape)} has {count:,}"
        )
    return found


def joined(elements: Sequence[bytes]) -> bytes:
    """The elements of a BYTES tensor as stored after the JSON: each with its length in front, little-endian in 4 bytes.

    >>> joined([b"ab"])
    b'\\x02\\x00\\x00\\x00ab'
    """
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def little_endian(array: NDArray[Any]) -> bytes:
    """The values of an array as stored after the JSON."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _finite(values: NDArray[np.floating[Any]]) -> bool:
    """Whether all values are finite. Their sum is a fast test, unless it overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.sum())) or bool(np.isfinite(values).all())


def _split(name: str, raw: memoryview) -> list[bytes]:
    found, place = [], 0
    while place < len(raw):
        if place + 4 > len(raw):
            raise RefusedError("request", f"input '{name}' ends within the length of an element")
        (length,) = struct.unpack_from("<I", raw, place)
        place += 4
        if place + length > len(raw):
            raise RefusedError(
                "request", f"input '{name}' has an element of {length:,} bytes, but {len(raw) - place:,} are left"
            )
        found.append(bytes(raw[place : place + length]))
        place += length
    return found


def _numbers(tensor: Tensor) -> NDArray[np.float64]:
    """The values in JSON, flat or nested like the shape."""
    depth = len(tensor.shape)
    kinds = _NESTED[: max(1, depth)]
    for kind in dict.fromkeys((kinds[0], kinds[-1])):
        try:
            with np.errstate(over="ignore"):  # a value beyond FP32 becomes infinite, and is refused
                return np.asarray(_data(tensor, kind), np.float64).astype(np.float32).astype(np.float64).ravel()
        except (msgspec.ValidationError, ValueError, OverflowError):
            continue
    raise RefusedError(
        "request", f"input '{tensor.name}': data is not a list of numbers, flat or nested as shape {list(tensor.shape)} says"
    )


def _decoded(tensor: Tensor) -> list[bytes]:
    try:
        return [base64.b64decode(text, validate=True) for text in _data(tensor, list[str])]
    except msgspec.ValidationError as error:
        raise RefusedError("request", f"input '{tensor.name}': data is not a flat list of strings") from error
    except (binascii.Error, ValueError) as error:
        raise RefusedError(
            "request", f"input '{tensor.name}': in JSON the elements of a BYTES input are base64, and one is not: {error}"
        ) from error


def _data(tensor: Tensor, kind: Any) -> Any:  # Any: a type, and a value of it
    if not tensor.data:
        raise RefusedError("request", f"input '{tensor.name}' has neither data nor the parameter 'binary_data_size'")
    return msgspec.json.decode(tensor.data, type=kind)


_NESTED: list[Any] = [list[float]]  # Any: types
for _ in range(_AXES - 1):
    _NESTED.append(list[_NESTED[-1]])  # type: ignore[valid-type]  # a type for each depth
