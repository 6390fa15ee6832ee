"""Classification: from logits to scores over labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.errors import CheckpointError
from mobilenets.runtime.images.placement import Placement
from mobilenets.runtime.manifest import Manifest
from mobilenets.runtime.rows import SCORE_DIGITS, Record, Row, json_line
from mobilenets.specs.model import ClassifierHead, Head

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Classification:
    """A classifier's prediction for one image.

    Args:
        labels: class names.
        scores: the score of each label, 0 to 1; they sum to 1.
        logits: the network's output for each label.
    """

    labels: tuple[str, ...]
    scores: NDArray[np.float32]
    logits: NDArray[np.float32]

    def __repr__(self) -> str:
        best = ", ".join(f"{label} {score:.1%}" for label, score in self.top(3))
        return f"Classification({best}{', ...' if len(self.labels) > 3 else ''})"

    @property
    def label(self) -> str:
        """The label with the highest score."""
        return self.labels[int(self.scores.argmax())]

    @property
    def score(self) -> float:
        """The highest score."""
        return float(self.scores.max())

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The `k` labels with the highest scores, best first; ties go to the earlier label."""
        order = np.argsort(-self.scores, kind="stable")[:k]
        return [(self.labels[i], float(self.scores[i])) for i in order]

    def rows(self, top: int = 5) -> list[Row]:
        """A row for each of the best labels: `rank` from 1, `label` and `score`."""
        return [
            {"rank": rank, "label": label, "score": round(score, SCORE_DIGITS)}
            for rank, (label, score) in enumerate(self.top(top), start=1)
        ]

    def record(self, top: int = 5) -> Record:
        """The record for JSON: the best label, its score, and the `top` best labels with their scores."""
        scores = [{"label": label, "score": round(score, SCORE_DIGITS)} for label, score in self.top(top)]
        return {**scores[0], "top": scores}

    def to_json(self, top: int = 5) -> str:
        """The record as one line of JSON."""
        return json_line(self.record(top))

    def summary(self) -> str:
        """The best label and its score, for people."""
        return f"{self.label} {self.score:.1%}"

    def draw(self, image: Image.Image) -> Image.Image:
        """A copy of the image in RGB with the best label and its score in the upper left corner."""
        from mobilenets.runtime.detect.draw import Mark, draw_marks

        return draw_marks(image, [Mark((0, 0, 0, 0), self.summary(), (0, 0, 0))])


def decode_classifications(
    outputs: Mapping[str, NDArray[np.float32]], manifest: Manifest, placements: Sequence[Placement] = ()
) -> list[Classification]:
    """One classification per image of the batch.

    Args:
        outputs: an engine's outputs; `"logits"`, N classes, is read.
        manifest: the network's manifest.
        placements: unused, since a class has no position; decoders of all tasks take it.

    Raises:
        CheckpointError: there are no logits, or they do not fit the manifest's labels.
    """
    if "logits" not in outputs:
        raise CheckpointError(f"the network has no output 'logits' but {', '.join(repr(name) for name in outputs)}")
    logits = outputs["logits"]
    if logits.ndim != 2 or logits.shape[1] != len(manifest.labels):
        shape = " x ".join(str(length) for length in logits.shape)
        raise CheckpointError(f"the network gives logits of shape {shape} but its manifest has {len(manifest.labels)} labels")
    scores = softmax(logits, temperature(manifest.head))
    return [Classification(manifest.labels, scores[i], logits[i]) for i in range(len(logits))]


def temperature(head: Head) -> float:
    """The temperature that a classifier's logits are divided by before softmax; 1 for other heads."""
    return head.temperature if isinstance(head, ClassifierHead) else 1.0


def softmax(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float32]:
    """Softmax over the last axis, after dividing the logits by `temperature`.

    >>> softmax(np.array([[0.0, np.log(3.0)]], np.float32)).round(3).tolist()
    [[0.25, 0.75]]
    """
    scaled = logits.astype(np.float64) / temperature
    exponents = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    scores: NDArray[np.float32] = (exponents / exponents.sum(axis=-1, keepdims=True)).astype(np.float32)
    return scores
