"""`mobilenets predict` of segmenters: index masks, overlays, and how much of each picture each label covers."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mobilenets.cli.output import show, show_table
from mobilenets.cli.predicting import predicted, predicted_alone, report
from mobilenets.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mobilenets.cli.predicting import Asked
    from mobilenets.runtime.predictor import Predictor, Source
    from mobilenets.runtime.segment import Segmentation

    Write = Callable[[str, Segmentation, dict[str, Path]], None]

KINDS = ("masks", "drawn")
SHOWN = 4  # labels of a picture on one line


def run(predictor: Predictor, asked: Asked) -> None:
    """Print how much of every picture each label covers; write masks and overlays where a folder is given.

    Raises:
        UsageError: --write names what a segmenter cannot write.
        DataError: a folder or glob has no pictures, or nothing can be written.
        typer.Exit: no picture could be read.
    """
    from mobilenets.runtime.segment import Segmentation

    unknown = [kind for kind in asked.write if kind not in KINDS]
    if unknown:
        raise UsageError(f"a segmenter cannot write '{unknown[0]}'; known: {', '.join(KINDS)}")
    files = Files(asked.out, asked.write or ("masks",)) if asked.out is not None else None
    write = _printer(asked)

    def each(source: Source, name: str, found: Segmentation) -> None:
        write(name, found, files.write(name, source, found) if files is not None else {})

    if asked.tile is None:
        report(asked, predicted(predictor, asked), Segmentation, each)
        return
    from mobilenets.runtime.segment_tiles import OVERLAP, predict_tiles

    scale = asked.tile / max(predictor.manifest.input.shape)
    overlap = OVERLAP if asked.overlap is None else asked.overlap
    look = partial(predict_tiles, predictor, overlap=overlap, scale=scale)
    report(asked, predicted_alone(look, asked), Segmentation, each)


class Files:
    """The folder that masks and overlays go to, under names that no two pictures share: `masks/NAME.png`, `drawn/NAME.jpg`.

    Args:
        folder: is made, and a folder in it for each kind.
        kinds: of `KINDS`.

    Raises:
        DataError: it cannot be made.
    """

    def __init__(self, folder: Path, kinds: tuple[str, ...]) -> None:
        self._folder = folder
        self._kinds = kinds
        self._taken: set[str] = set()
        try:
            for kind in kinds:
                (folder / kind).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"'{folder}' cannot be written: {error.strerror}", hint="--out FOLDER") from error

    def write(self, name: str, source: Source, found: Segmentation) -> dict[str, Path]:
        """Write what is wanted of one picture; returns the files by kind.

        Raises:
            DataError: a file cannot be written.
        """
        from mobilenets.runtime import image
        from mobilenets.runtime.predictor import given
        from mobilenets.runtime.segment_draw import indexed, overlay

        stem = self._stem(name)
        written: dict[str, Path] = {}
        try:
            if "masks" in self._kinds:
                written["masks"] = self._folder / "masks" / f"{stem}.png"
                indexed(found.classes, found.colors).save(written["masks"], compress_level=3)  # 6 takes thrice the time
            if "drawn" in self._kinds:
                written["drawn"] = self._folder / "drawn" / f"{stem}.jpg"
                overlay(image.decode(given(source)), found.classes, found.colors).save(written["drawn"], quality=90)
        except OSError as error:
            raise DataError(f"'{self._folder}' cannot be written: {error.strerror or error}", hint="--out FOLDER") from error
        return written

    def _stem(self, name: str) -> str:
        first = stem = "picture" if name in ("-", "<bytes>") else Path(name).stem
        number = 2
        while stem in self._taken:
            stem = f"{first}-{number}"
            number += 1
        self._taken.add(stem)
        return stem


def _printer(asked: Asked) -> Write:
    if asked.json:
        return _json
    if asked.csv:
        return _Csv()
    return _table if asked.single else _line


def _areas(found: Segmentation) -> list[tuple[str, int, float]]:
    """Label, pixels and share of the picture of each label that occurs, the largest first."""
    return [(label, round(share * found.classes.size), share) for label, share in found.present()]


def _json(name: str, found: Segmentation, files: dict[str, Path]) -> None:
    height, width = found.classes.shape
    areas = [{"label": label, "pixels": pixels, "share": round(share, 6)} for label, pixels, share in _areas(found)]
    data = {"file": name, "width": width, "height": height, "areas": areas, **{kind: str(path) for kind, path in files.items()}}
    print(json.dumps(data, ensure_ascii=False), flush=True)


class _Csv:
    def __init__(self) -> None:
        import csv

        self._writer = csv.writer(sys.stdout, lineterminator="\n")
        self._writer.writerow(("file", "label", "pixels", "share"))

    def __call__(self, name: str, found: Segmentation, files: dict[str, Path]) -> None:
        self._writer.writerows((name, label, pixels, f"{share:.6f}") for label, pixels, share in _areas(found))
        sys.stdout.flush()


def _table(name: str, found: Segmentation, files: dict[str, Path]) -> None:
    rows = [(label, f"{pixels:,}", f"{share:.1%}") for label, pixels, share in _areas(found)]
    show_table(("label", "pixels", "of the picture"), rows, title=name)
    for path in files.values():
        show(f"wrote {path}")


def _line(name: str, found: Segmentation, files: dict[str, Path]) -> None:
    """A picture on one line: the labels that cover most of it."""
    areas = _areas(found)
    cells = [f"{label} {share:.0%}" for label, _, share in areas[:SHOWN]]
    more = f", {len(areas) - SHOWN} more" if len(areas) > SHOWN else ""
    show("  ".join((", ".join(cells) + more, name, *(f"-> {path}" for path in files.values()))))
    sys.stdout.flush()
