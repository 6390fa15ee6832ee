"""`Result`: the outcome for one image of a stream. Its record has the same form everywhere."""

from __future__ import annotations

from dataclasses import dataclass

from mobilenets.runtime.decoders import Prediction
from mobilenets.runtime.rows import Record, Row, json_line


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome for one image of a stream: a prediction, or the reason why there is none.

    Args:
        name: the image's path, or its own name.
        prediction: the prediction; None if the image cannot be read.
        error: why the image cannot be read; "" if it can.
    """

    name: str
    prediction: Prediction | None
    error: str = ""

    def record(self) -> Record:
        """The image's name, with the prediction's record or the error."""
        return {"file": self.name, **({"error": self.error} if self.prediction is None else self.prediction.record())}

    def rows(self) -> list[Row]:
        """The prediction's rows, each with the image's name; empty if the image cannot be read."""
        return [] if self.prediction is None else [{"file": self.name, **row} for row in self.prediction.rows()]

    def to_json(self) -> str:
        """The record as one line of JSON."""
        return json_line(self.record())
