"""Requests and answers of the Open Inference Protocol, version 2, over gRPC, with typed or raw tensors.

A tensor's values are in the field for its type, or as bytes in `raw_input_contents`. The answer uses the request's form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf.message import DecodeError

from mobilenets.serve.messages import CLASSES, CONTENTS
from mobilenets.serve.protocol import VERSION, InferenceRequest, Output, check_memory
from mobilenets.serve.refusal import RefusedError
from mobilenets.serve.tensors import DATATYPES, FLOATS, TEXTS, Tensor, joined, little_endian
from mobilenets.serve.work import Answer

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROTOBUF = "application/grpc"

Message = Any  # an instance of a class that protobuf creates


def decoded(name: str, data: bytes) -> Message:
    """The decoded message of this kind; raises RefusedError if the data is not one."""
    try:
        return CLASSES[name].FromString(data)
    except DecodeError as error:
        raise RefusedError("request", f"the request is not a {name}: {error}") from error


def request_of(message: Message) -> InferenceRequest:
    """The request in a `ModelInferRequest`.

    Raises:
        RefusedError: it has values in both places, or the number of raw tensors is not that of the inputs.
    """
    raws = message.raw_input_contents
    if raws and len(raws) != len(message.inputs):
        raise RefusedError(
            "request", f"'raw_input_contents' has {len(raws)} tensors, but the request has {len(message.inputs)} inputs"
        )
    if raws and any(one.HasField("contents") for one in message.inputs):
        raise RefusedError("request", "an input has 'contents', but the request has 'raw_input_contents' too")
    inputs = []
    for i, one in enumerate(message.inputs):
        check_memory(f"input '{one.name}'", _parameters(one.parameters))
        raw = raws[i] if raws else _packed(one)
        inputs.append(Tensor(one.name, tuple(one.shape), one.datatype, raw=memoryview(raw)))
    outputs = tuple(Output(one.name, _parameters(one.parameters)) for one in message.outputs)
    return InferenceRequest(tuple(inputs), outputs, message.id, _parameters(message.parameters))


def answer_raw(
    model: str, request: InferenceRequest, asked: Sequence[Output], values: Mapping[str, NDArray[Any] | Sequence[bytes]]
) -> Answer:
    """The answer to a request with raw tensors; the arguments are those of `protocol.answer`."""
    response = _response(model, request, asked, values)
    for output in asked:
        found = values[output.name]
        response.raw_output_contents.append(little_endian(found) if isinstance(found, np.ndarray) else joined(found))
    return Answer(response.SerializeToString(), PROTOBUF)


def answer_typed(
    model: str, request: InferenceRequest, asked: Sequence[Output], values: Mapping[str, NDArray[Any] | Sequence[bytes]]
) -> Answer:
    """The answer to a request with typed tensors; a tensor whose type has no field is raw."""
    response = _response(model, request, asked, values)
    if any(one.datatype not in CONTENTS for one in response.outputs):
        return answer_raw(model, request, asked, values)
    for one in response.outputs:
        found = values[one.name]
        numbers = found.ravel().tolist() if isinstance(found, np.ndarray) else found
        getattr(one.contents, CONTENTS[one.datatype]).extend(numbers)
    return Answer(response.SerializeToString(), PROTOBUF)


def _response(
    model: str, request: InferenceRequest, asked: Sequence[Output], values: Mapping[str, NDArray[Any] | Sequence[bytes]]
) -> Message:
    response = CLASSES["ModelInferResponse"](model_name=model, model_version=VERSION, id=request.id)
    for output in asked:
        found = values[output.name]
        if isinstance(found, np.ndarray):
            response.outputs.add(name=output.name, datatype=DATATYPES[found.dtype.name], shape=found.shape)
        else:
            response.outputs.add(name=output.name, datatype=TEXTS, shape=[len(found)])
    return response


def _packed(tensor: Message) -> bytes:
    """The values of a typed input as raw bytes; types that no model takes are left out."""
    if tensor.datatype == FLOATS:
        values = tensor.contents.fp32_contents
        return np.fromiter(values, "<f4", len(values)).tobytes()
    return joined(tensor.contents.bytes_contents) if tensor.datatype == TEXTS else b""


def _parameters(parameters: Mapping[str, Message]) -> dict[str, Any]:  # Any: as in JSON
    found = {}
    for name, parameter in parameters.items():
        kind = parameter.WhichOneof("parameter_choice")
        found[name] = None if kind is None else getattr(parameter, kind)
    return found
