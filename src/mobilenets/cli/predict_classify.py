"""`mobilenets predict` of classifiers: labels and scores."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass

from mobilenets.cli.output import show, show_table
from mobilenets.cli.predicting import Asked, predicted, report
from mobilenets.runtime.classify import Classification
from mobilenets.runtime.predictor import Predictor

WIDEST = 32  # characters of a label's column


def run(predictor: Predictor, asked: Asked) -> None:
    """Print the labels of every image.

    Raises:
        DataError: a folder or glob has no images.
        typer.Exit: no image could be read.
    """
    top = asked.top
    if asked.json:
        write: Callable[[str, Classification], None] = _JsonLines(top or 5)
    elif asked.csv:
        write = _Csv(top or 5 if asked.single else top or 1)
    elif asked.single:
        write = _Table(top or 5)
    else:
        write = _Lines(top or 1, min(WIDEST, max(len(label) for label in predictor.manifest.labels)))
    report(asked, predicted(predictor, asked), Classification, lambda _, name, prediction: write(name, prediction))


@dataclass(frozen=True)
class _JsonLines:
    top: int

    def __call__(self, name: str, prediction: Classification) -> None:
        scores = [{"label": label, "score": round(score, 6)} for label, score in prediction.top(self.top)]
        print(json.dumps({"file": name, **scores[0], "top": scores}, ensure_ascii=False), flush=True)


class _Csv:
    def __init__(self, top: int) -> None:
        self._top = top
        self._writer = csv.writer(sys.stdout, lineterminator="\n")
        self._writer.writerow(("file", "rank", "label", "score"))

    def __call__(self, name: str, prediction: Classification) -> None:
        for rank, (label, score) in enumerate(prediction.top(self._top), start=1):
            self._writer.writerow((name, rank, label, f"{score:.6f}"))
        sys.stdout.flush()


@dataclass(frozen=True)
class _Table:
    """For one image."""

    top: int

    def __call__(self, name: str, prediction: Classification) -> None:
        show_table(("label", "score"), [(label, f"{score:.1%}") for label, score in prediction.top(self.top)], title=name)


@dataclass(frozen=True)
class _Lines:
    """For many images: a line each, as it is ready."""

    top: int
    width: int

    def __call__(self, name: str, prediction: Classification) -> None:
        cells = [f"{score:6.1%}  {label:<{self.width}}" for label, score in prediction.top(self.top)]
        show("  ".join((*cells, name)))
        sys.stdout.flush()
