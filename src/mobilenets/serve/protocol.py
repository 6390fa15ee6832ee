"""Requests and answers of the Open Inference Protocol, version 2, over REST, with its extension for binary tensors.

A request's body is JSON. If the header `Inference-Header-Content-Length` is set, only that many bytes are JSON. The values of
inputs with the parameter `binary_data_size` follow, one after another. Answers have the same form if the request asks for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from mobilenets.serve.refusal import RefusedError
from mobilenets.serve.tensors import DATATYPES, TEXTS, Tensor, joined, little_endian
from mobilenets.serve.work import BINARY, Answer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mobilenets.serve.bodies import Buffer

HEADER = "Inference-Header-Content-Length"
VERSION = "1"
"""The version of every model: a reloaded model keeps the name and version of the one that it replaces."""


class Output(msgspec.Struct, frozen=True):
    """A requested output."""

    name: str
    parameters: dict[str, Any] = {}  # Any: JSON


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """A well-formed request.

    Args:
        inputs: its tensors.
        outputs: the requested outputs; empty for all.
        id: an identifier that the answer repeats.
        parameters: parameters of the whole request.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Output, ...] = ()
    id: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON


@dataclass(frozen=True, slots=True)
class Signature:
    """The description of a tensor in metadata.

    Args:
        name: name of the input or output.
        datatype: the protocol's name of its type.
        shape: its axes; -1 for any length.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]

    def to_data(self) -> dict[str, object]:
        """As JSON."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


def tensors_at(header_length: str | None) -> int:
    """Offset in a body of the values after the JSON, according to `HEADER`; 0 if there are none."""
    return int(header_length) if header_length is not None and _DIGITS.fullmatch(header_length) else 0


def parse(body: Buffer, header_length: str | None) -> InferenceRequest:
    """The request in a body.

    Args:
        body: the whole body.
        header_length: the value of `HEADER`; None if it is missing.

    Raises:
        RefusedError: it is malformed; the message says where.
    """
    length = _header_length(header_length, len(body))
    try:
        request = _REQUEST.decode(memoryview(body)[:length])
    except msgspec.ValidationError as error:
        raise RefusedError("request", f"the request does not follow the protocol: {error}") from error
    except RecursionError as error:
        raise RefusedError("request", "the request is nested too deep") from error
    except ValueError as error:
        hint = "" if header_length else f"; if tensors follow the JSON, '{HEADER}' must say where they begin"
        raise RefusedError("request", f"the request is not JSON: {error}{hint}") from error
    place, inputs, view = length, [], memoryview(body)
    for one in request.inputs:
        size = _binary_size(one)
        if size is not None and place + size > len(body):
            raise RefusedError(
                "request", f"input '{one.name}' has {size:,} bytes after the JSON, but {len(body) - place:,} are left"
            )
        raw = None if size is None else view[place : place + size]  # not copied
        inputs.append(Tensor(one.name, tuple(one.shape), one.datatype, bytes(one.data), raw))
        place += size or 0
    if place != len(body):
        raise RefusedError("request", f"{len(body) - place:,} bytes after the JSON belong to no input")
    return InferenceRequest(tuple(inputs), tuple(request.outputs), request.id, request.parameters)


def only_input(request: InferenceRequest, expected: Signature) -> Tensor:
    """The input of a request to a model with only one.

    Raises:
        RefusedError: there are other inputs, or the type or shape is wrong.
    """
    if [tensor.name for tensor in request.inputs] != [expected.name]:
        given = ", ".join(f"'{tensor.name}'" for tensor in request.inputs) or "no input"
        raise RefusedError("request", f"the model takes one input, '{expected.name}', but the request has {given}")
    tensor = request.inputs[0]
    if tensor.datatype != expected.datatype:
        raise RefusedError(
            "request", f"input '{tensor.name}' has datatype '{tensor.datatype}', but the model takes {expected.datatype}"
        )
    fits = len(tensor.shape) == len(expected.shape) and all(
        wanted in (-1, side) for wanted, side in zip(expected.shape, tensor.shape, strict=True)
    )
    if not fits:
        raise RefusedError(
            "request", f"input '{tensor.name}' has shape {list(tensor.shape)}, but the model takes {list(expected.shape)}"
        )
    return tensor


def wanted(request: InferenceRequest, known: Sequence[str]) -> Sequence[Output]:
    """The requested outputs; all if the request names none.

    Raises:
        RefusedError: the model has no such output, or it is requested in an unsupported way.
    """
    for output in request.outputs:
        if output.name not in known:
            raise RefusedError("request", f"the model has no output '{output.name}' but {', '.join(map(repr, known))}")
        if output.parameters.get("classification"):
            raise RefusedError(
                "request", f"output '{output.name}': 'classification' is not supported; ask the model that takes images instead"
            )
        check_memory(f"output '{output.name}'", output.parameters)
    if len({output.name for output in request.outputs}) != len(request.outputs):
        raise RefusedError("request", "an output is asked for twice")
    return request.outputs or [Output(name) for name in known]


def answer(
    model: str, request: InferenceRequest, asked: Sequence[Output], values: Mapping[str, NDArray[Any] | Sequence[bytes]]
) -> Answer:
    """The answer to a request.

    Args:
        model: the model's name.
        request: the request.
        asked: the requested outputs, as returned by `wanted`.
        values: values of the outputs; BYTES as a list.

    Raises:
        RefusedError: a value cannot be written as JSON.
    """
    all_binary = _truth(request.parameters.get("binary_data_output", False), "binary_data_output")
    parts: list[bytes] = []
    written: list[dict[str, object]] = []
    for output in asked:
        found = values[output.name]
        array = found if isinstance(found, np.ndarray) else None
        shape = [len(found)] if array is None else list(array.shape)
        datatype = TEXTS if array is None else DATATYPES[array.dtype.name]
        entry: dict[str, object] = {"name": output.name, "datatype": datatype, "shape": shape}
        if _truth(output.parameters.get("binary_data", all_binary), "binary_data"):
            parts.append(joined(found) if array is None else little_endian(array))  # type: ignore[arg-type]  # as above
            entry["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            entry["data"] = [text.decode() for text in found] if array is None else _json(output.name, array)
        written.append(entry)
    data: dict[str, object] = {"model_name": model, "model_version": VERSION, "outputs": written}
    if request.id:
        data["id"] = request.id
    head = msgspec.json.encode(data)
    if not parts:
        return Answer(head)
    return Answer(b"".join((head, *parts)), BINARY, {HEADER: str(len(head))})


def check_version(name: str, version: str) -> str:
    """A model's name, after checking that the requested version exists.

    Raises:
        RefusedError: it does not exist.
    """
    if version != VERSION:
        raise RefusedError(
            "model", f"model {name[:80]!r} has no version {version[:40]!r}; every model has version {VERSION} alone"
        )
    return name


def check_memory(what: str, parameters: Mapping[str, Any]) -> None:  # Any: JSON
    """Check that a tensor's values are in the request.

    Args:
        what: the tensor, for people.
        parameters: the tensor's parameters.

    Raises:
        RefusedError: they refer to shared memory.
    """
    if "shared_memory_region" in parameters:
        raise RefusedError("request", f"{what}: shared memory is not supported")


class _Input(msgspec.Struct, frozen=True):
    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] = {}  # Any: JSON
    data: msgspec.Raw = msgspec.Raw(b"")


class _Request(msgspec.Struct, frozen=True):
    inputs: list[_Input]
    id: str = ""
    parameters: dict[str, Any] = {}  # Any: JSON
    outputs: list[Output] = []


_REQUEST = msgspec.json.Decoder(_Request)
_DIGITS = re.compile(r"[0-9]{1,11}")


def _header_length(text: str | None, size_bytes: int) -> int:
    if text is None:
        return size_bytes
    if not _DIGITS.fullmatch(text) or int(text) > size_bytes:
        raise RefusedError("request", f"'{HEADER}' is {text[:40]!r}, but the body has {size_bytes:,} bytes")
    return int(text)


def _binary_size(tensor: _Input) -> int | None:
    """The size of a tensor after the JSON in bytes; None if it is inside the JSON."""
    check_memory(f"input '{tensor.name}'", tensor.parameters)
    size = tensor.parameters.get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or size < 0:
        raise RefusedError("request", f"input '{tensor.name}': 'binary_data_size' is not a number of bytes")
    if bytes(tensor.data):
        raise RefusedError("request", f"input '{tensor.name}' has both data and 'binary_data_size'")
    return size


def _truth(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise RefusedError("request", f"the parameter '{name}' is true or false, not {value!r:.40}")
    return value


def _json(name: str, array: NDArray[Any]) -> list[Any]:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise RefusedError("output", f"output '{name}' is not finite for this input, which JSON cannot hold")
    flat: list[Any] = array.ravel().tolist()
    return flat
