"""`Manifest`: what a predictor must know about a network besides its numbers. Travels inside every exported file."""

from __future__ import annotations

import json
from dataclasses import dataclass

from mobilenets.errors import CheckpointError, MobileNetsError
from mobilenets.specs.codec import head, input_contract, to_data
from mobilenets.specs.model import ClassifierHead, Head, InputContract, ModelSpec, Task

METADATA_KEY = "mobilenets"
FORMAT = 2
_CLASSIFIER = ClassifierHead()


@dataclass(frozen=True, slots=True)
class Manifest:
    """Labels, head and input contract of an exported network.

    Args:
        model: the network's name, for display.
        labels: class names in the order of the logits.
        input: what happens to an image before the network.
        head: what the network predicts, and everything its decoder needs besides.
    """

    model: str
    labels: tuple[str, ...]
    input: InputContract
    head: Head = _CLASSIFIER

    @property
    def task(self) -> Task:
        """Which decoder reads the outputs."""
        return self.head.task

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
            data["labels"] = tuple(str(label) for label in data["labels"])
            data["input"] = input_contract(data["input"])
            data["head"] = head(data["head"])
            return Manifest(**data)
        except CheckpointError:
            raise
        except (ValueError, KeyError, TypeError, MobileNetsError) as error:
            raise CheckpointError(f"not a manifest: {error!r}", hint="export the model again") from error


def manifest_of(spec: ModelSpec) -> Manifest:
    """The manifest of a model."""
    return Manifest(spec.backbone.name, spec.labels, spec.input, spec.head)
