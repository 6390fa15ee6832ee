"""The two models that the protocol sees of each network: one of tensors, and one of encoded images.

`NAME` takes what the network takes and returns its outputs as they are. `NAME.images` takes encoded images and returns for
each the JSON of `mobilenets predict --json`, so that boxes and areas need no decoder on the client's side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import methodcaller
from typing import TYPE_CHECKING

from mobilenets.runtime.decoders import decode
from mobilenets.runtime.rows import json_line
from mobilenets.serve.model import INPUT
from mobilenets.serve.names import IMAGES
from mobilenets.serve.predictions import TOP, prepared
from mobilenets.serve.protocol import VERSION, Signature, answer, only_input, parse, wanted
from mobilenets.serve.refusal import RefusedError
from mobilenets.serve.tensors import TEXTS, floats, texts
from mobilenets.serve.work import Answer, Prepared, Work

if TYPE_CHECKING:
    from mobilenets.runtime.engines.base import Outputs
    from mobilenets.serve.limits import Limits
    from mobilenets.serve.model import ServedModel
    from mobilenets.serve.tensors import Tensor

PREDICTION = "prediction"
"""The output of a model of encoded images."""


@dataclass(frozen=True, slots=True)
class ProtocolModel:
    """One model as the protocol sees it.

    Args:
        name: in its address.
        served: the network behind it.
        input, outputs: as metadata describes them.
        work: makes the work of a request from its body and the value of its header for binary tensors.
    """

    name: str
    served: ServedModel
    input: Signature
    outputs: Sequence[Signature]
    work: Callable[[bytes, str | None], Work]

    def metadata(self) -> dict[str, object]:
        """The protocol's metadata."""
        manifest = self.served.predictor.manifest
        return {
            "name": self.name,
            "versions": [VERSION],
            "platform": self.served.platform,
            "inputs": [self.input.to_data()],
            "outputs": [output.to_data() for output in self.outputs],
            "properties": {"task": manifest.task, "model": manifest.model, "precision": manifest.precision},
        }


def models_of(served: ServedModel, limits: Limits) -> tuple[ProtocolModel, ProtocolModel]:
    """The model of tensors and that of images."""
    encoded = Signature(INPUT, TEXTS, (-1,))
    return (
        ProtocolModel(
            served.name, served, served.input, served.outputs, lambda body, length: _tensor_work(served, limits, body, length)
        ),
        ProtocolModel(
            served.name + IMAGES,
            served,
            encoded,
            [Signature(PREDICTION, TEXTS, (-1,))],
            lambda body, length: _image_work(served, encoded, limits, body, length),
        ),
    )


def _tensor_work(served: ServedModel, limits: Limits, body: bytes, header_length: str | None) -> Work:
    def prepare() -> Prepared:
        request = parse(body, header_length)
        asked = wanted(request, [output.name for output in served.outputs])
        batch = floats(_few(only_input(request, served.input), limits))

        def finish(outputs: Outputs) -> Answer:
            return answer(served.name, request, asked, outputs)

        return Prepared(batch, finish)

    return prepare


def _image_work(served: ServedModel, expected: Signature, limits: Limits, body: bytes, header_length: str | None) -> Work:
    manifest = served.predictor.manifest
    record = methodcaller("record", *((TOP,) if manifest.task == "classify" else ()))

    def prepare() -> Prepared:
        request = parse(body, header_length)
        asked = wanted(request, [PREDICTION])
        images = texts(_few(only_input(request, expected), limits))
        batch, places = prepared(images, manifest, pixels=limits.pixels)

        def finish(outputs: Outputs) -> Answer:
            lines = [json_line(record(prediction)).encode() for prediction in decode(outputs, manifest, places)]
            return answer(served.name + IMAGES, request, asked, {PREDICTION: lines})

        return Prepared(batch, finish)

    return prepare


def _few(tensor: Tensor, limits: Limits) -> Tensor:
    """The tensor itself, if it does not hold too many images."""
    if tensor.shape[0] > limits.images:
        raise RefusedError(
            "images", f"the request has {tensor.shape[0]:,} images; at most {limits.images} are accepted at once"
        )
    return tensor
