"""`Result`: what became of one image of a stream. Its record is the form that every program reads."""

from __future__ import annotations

from dataclasses import dataclass

from mobilenets.runtime.decoders import Prediction
from mobilenets.runtime.rows import Record, Row, json_line


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one image of a stream: a prediction, or the reason why there is none.

    Args:
        name: of the image: its path, or its own name.
        prediction: None if the image cannot be read.
        error: why it cannot be read; "" if it can.
    """

    name: str
    prediction: Prediction | None
    error: str = ""

    def record(self) -> Record:
        """The file, and the prediction's record or the error."""
        return {"file": self.name, **({"error": self.error} if self.prediction is None else self.prediction.record())}

    def rows(self) -> list[Row]:
        """The prediction's rows, each with the file; none if the image cannot be read."""
        return [] if self.prediction is None else [{"file": self.name, **row} for row in self.prediction.rows()]

    def to_json(self) -> str:
        """The record as one line of JSON."""
        return json_line(self.record())
