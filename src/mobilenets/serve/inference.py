"""The two models that the protocol sees of each network: one of tensors, and one of encoded images.

`NAME` takes what the network takes and returns its outputs as they are. `NAME.images` takes encoded images and returns for
each the JSON of `mobilenets predict --json`, so that boxes and areas need no decoder on the client's side.
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
"""Reads a request; may raise RefusedError. A worker thread calls it."""

Write = Callable[[str, InferenceRequest, Sequence[Output], Mapping[str, "NDArray[Any] | Sequence[bytes]"]], Answer]
"""Writes an answer: from the model's name, the request, the outputs that it asks for, and their values."""

PREDICTION = "prediction"
"""The output of a model of encoded images."""


@dataclass(frozen=True, slots=True)
class ProtocolModel:
    """One model as the protocol sees it.

    Args:
        name: in its address.
        served: the network behind it.
        input, outputs: as metadata describes them.
        work: makes the work of a request from what reads it and what writes its answer.
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
        """What else metadata says."""
        manifest = self.served.predictor.manifest
        return {"task": manifest.task, "model": manifest.model, "precision": manifest.precision}


def models_of(served: ServedModel, limits: Limits) -> tuple[ProtocolModel, ProtocolModel]:
    """The model of tensors and that of images."""
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
    """The tensor itself, if it does not hold too many images."""
    if tensor.shape[0] > limits.images:
        raise RefusedError(
            "images", f"the request has {tensor.shape[0]:,} images; at most {limits.images} are accepted at once"
        )
    return tensor
