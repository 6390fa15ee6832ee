"""`Manifest`: what a predictor must know about a network besides its numbers. Travels inside every exported file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import get_args

from mobilenets.errors import CheckpointError, MobileNetsError
from mobilenets.specs.model import InputContract, ModelSpec, Task, input_contract, to_data

METADATA_KEY = "mobilenets"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """Labels, task and input contract of an exported network.

    Args:
        model: the network's name, for display.
        task: which decoder reads the outputs.
        labels: class names in the order of the logits.
        input: what happens to a picture before the network.
        temperature: divides the logits before softmax.
    """

    model: str
    task: Task
    labels: tuple[str, ...]
    input: InputContract
    temperature: float = 1.0

    def to_json(self) -> str:
        """The manifest as one line of JSON; `from_json` reads it back to an equal manifest."""
        return json.dumps({"format": FORMAT, **to_data(self)}, ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> Manifest:
        """The manifest that `to_json` wrote.

        Raises:
            CheckpointError: the text is not JSON, is of another format or lacks something.
        """
        try:
            data = dict(json.loads(text))
            written = data.pop("format")
            if written != FORMAT:
                raise CheckpointError(
                    f"the manifest has format {written} but this version reads format {FORMAT}",
                    hint="use the version of mobilenets that exported the model, or export it again",
                )
            if data["task"] not in get_args(Task):
                raise CheckpointError(f"the manifest names the unknown task '{data['task']}'")
            data["labels"] = tuple(str(label) for label in data["labels"])
            data["input"] = input_contract(data["input"])
            manifest = Manifest(**data)
        except CheckpointError:
            raise
        except (ValueError, KeyError, TypeError, MobileNetsError) as error:
            raise CheckpointError(f"not a manifest: {error!r}", hint="export the model again") from error
        if not manifest.temperature > 0:
            raise CheckpointError(f"the manifest has temperature {manifest.temperature}, which is not positive")
        return manifest


def manifest_of(spec: ModelSpec) -> Manifest:
    """The manifest of a model."""
    return Manifest(spec.backbone.name, spec.task, spec.labels, spec.input, spec.head.temperature)
