"""The two protocol models of each network: one for tensors, and one for encoded images.

`NAME` takes the network's input tensor and returns its outputs unchanged. `NAME.images` takes encoded images and returns the
JSON of `mobilenets predict --json` for each, so that clients need no decoder for boxes and areas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import methodcaller
from typing import TYPE_CHECKING, Any

from mobilenets.runtime.decoders import decode
from mobilenets.runtime.rows import json_line
from mobilenets.serve.model import INPUT
from mobilenets.serve.names import IMAGES
from mobilenets.serve.predictions import TOP, prepared
from mobilenets.serve.protocol import VERSION, InferenceRequest, Output, Signature, only_input, wanted
from mobilenets.serve.refusal import RefusedError
from mobilenets.serve.tensors import TEXTS, floats, texts
from mobilenets.serve.work import Answer, Prepared, Work

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mobilenets.runtime.engines.base import Outputs
    from mobilenets.serve.limits import Limits
    from mobilenets.serve.model import ServedModel
    from mobilenets.serve.tensors import Tensor

Read = Callable[[], InferenceRequest]
"""Reads a request; may raise RefusedError. Called from a worker thread."""

Write = Callable[[str, InferenceRequest, Sequence[Output], Mapping[str, "NDArray[Any] | Sequence[bytes]"]], Answer]
"""Writes an answer from the model's name, the request, the requested outputs, and their values."""

PREDICTION = "prediction"
"""Name of the output of the models for encoded images."""


@dataclass(frozen=True, slots=True)
class ProtocolModel:
    """One model of the protocol.

    Args:
        name: its name in addresses.
        served: the network behind it.
        input, outputs: as described in metadata.
        work: creates the work of a request, from functions that read the request and write its answer.
    """

    name: str
    served: ServedModel
    input: Signature
    outputs: Sequence[Signature]
    work: Callable[[Read, Write], Work]

    def metadata(self) -> dict[str, object]:
        """The protocol's metadata."""
        return {
            "name": self.name,
            "versions": [VERSION],
            "platform": self.served.platform,
            "inputs": [self.input.to_data()],
            "outputs": [output.to_data() for output in self.outputs],
            "properties": self.properties,
        }

    @property
    def properties(self) -> dict[str, str]:
        """Additional properties in the metadata."""
        manifest = self.served.predictor.manifest
        return {"task": manifest.task, "model": manifest.model, "precision": manifest.precision}


def models_of(served: ServedModel, limits: Limits) -> tuple[ProtocolModel, ProtocolModel]:
    """The models for tensors and for images."""
    encoded = Signature(INPUT, TEXTS, (-1,))
    return (
        ProtocolModel(
            served.name, served, served.input, served.outputs, lambda read, write: _tensor_work(served, limits, read, write)
        ),
        ProtocolModel(
            served.name + IMAGES,
            served,
            encoded,
            [Signature(PREDICTION, TEXTS, (-1,))],
            lambda read, write: _image_work(served, encoded, limits, read, write),
        ),
    )


def _tensor_work(served: ServedModel, limits: Limits, read: Read, write: Write) -> Work:
    def prepare() -> Prepared:
        request = read()
        asked = wanted(request, [output.name for output in served.outputs])
        batch = floats(_few(only_input(request, served.input), limits))

        def finish(outputs: Outputs) -> Answer:
            return write(served.name, request, asked, outputs)

        return Prepared(batch, finish)

    return prepare


def _image_work(served: ServedModel, expected: Signature, limits: Limits, read: Read, write: Write) -> Work:
    manifest = served.predictor.manifest
    record = methodcaller("record", *((TOP,) if manifest.task == "classify" else ()))

    def prepare() -> Prepared:
        request = read()
        asked = wanted(request, [PREDICTION])
        images = texts(_few(only_input(request, expected), limits))
        batch, places = prepared(images, manifest, pixels=limits.pixels)

        def finish(outputs: Outputs) -> Answer:
            lines = [json_line(record(prediction)).encode() for prediction in decode(outputs, manifest, places)]
            return write(served.name + IMAGES, request, asked, {PREDICTION: lines})

        return Prepared(batch, finish)

    return prepare


def _few(tensor: Tensor, limits: Limits) -> Tensor:
    """The tensor itself; raises if it contains too many images."""
    if tensor.shape[0] > limits.images:
        raise RefusedError(
            "images", f"the request has {tensor.shape[0]:,} images; at most {limits.images} are accepted at once"
        )
    return tensor
