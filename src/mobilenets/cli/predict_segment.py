"""`mobilenets predict` of segmenters: index masks, overlays, and how much of each image each label covers."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath

from mobilenets.cli.naming import Names
from mobilenets.cli.output import show, show_table
from mobilenets.cli.predicting import Asked, predicted, predicted_alone, report
from mobilenets.errors import DataError, UsageError
from mobilenets.runtime.drawing import draw
from mobilenets.runtime.images import large
from mobilenets.runtime.images.decode import decode_image
from mobilenets.runtime.predictor import Predictor, Source, given
from mobilenets.runtime.segment.decode import Segmentation
from mobilenets.runtime.segment.draw import indexed
from mobilenets.runtime.segment.tiles import OVERLAP, predict_tiles

Write = Callable[[str, Segmentation, dict[str, Path]], None]

KINDS = ("masks", "drawn")
SHOWN = 4  # labels of an image on one line


def run(predictor: Predictor, asked: Asked) -> None:
    """Print how much of every image each label covers; write masks and overlays where a folder is given.

    Raises:
        UsageError: --write names what a segmenter cannot write.
        DataError: a folder or glob has no images, or nothing can be written.
        typer.Exit: no image could be read.
    """
    unknown = [kind for kind in asked.write if kind not in KINDS]
    if unknown:
        raise UsageError(f"a segmenter cannot write '{unknown[0]}'; known: {', '.join(KINDS)}")
    files = Files(asked) if asked.out is not None else None
    write = _printer(asked)

    def each(source: Source, name: str, found: Segmentation) -> None:
        write(name, found, files.write(name, source, found) if files is not None else {})

    if asked.tile is None:
        report(asked, predicted(predictor, asked), Segmentation, each)
        return
    scale = asked.tile / max(predictor.manifest.input.shape)
    overlap = OVERLAP if asked.overlap is None else asked.overlap
    look = partial(predict_tiles, predictor, overlap=overlap, scale=scale)
    report(asked, predicted_alone(look, asked), Segmentation, each)


class Files:
    """The folder that masks and overlays go to, under names that no two images share: `masks/NAME.png`, `drawn/NAME.jpg`.

    Raises:
        DataError: it cannot be made.
    """

    def __init__(self, asked: Asked) -> None:
        assert asked.out is not None
        self._folder = asked.out
        self._kinds = asked.write or KINDS[:1]
        self._names = Names(asked.sources)
        self._decode = decode_image if asked.tile is None else large.decode
        try:
            for kind in self._kinds:
                (self._folder / kind).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"'{self._folder}' cannot be written: {error.strerror}", hint="--out FOLDER") from error

    def write(self, name: str, source: Source, found: Segmentation) -> dict[str, Path]:
        """Write what is wanted of one image; returns the files by kind.

        Raises:
            DataError: a file cannot be written.
        """
        own = self._names.of(name)
        written: dict[str, Path] = {}
        try:
            if "masks" in self._kinds:
                written["masks"] = self._target("masks", own, ".png")
                indexed(found.classes, found.colors).save(written["masks"], compress_level=3)  # 6 takes thrice the time
            if "drawn" in self._kinds:
                written["drawn"] = self._target("drawn", own, ".jpg")
                draw(self._decode(given(source)), found).save(written["drawn"], quality=90)
        except OSError as error:
            raise DataError(f"'{self._folder}' cannot be written: {error.strerror or error}", hint="--out FOLDER") from error
        return written

    def _target(self, kind: str, name: PurePosixPath, suffix: str) -> Path:
        target = self._folder / kind / name.with_suffix(suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        return target


def _printer(asked: Asked) -> Write:
    if asked.json:
        return _json
    if asked.csv:
        return _Csv()
    return _table if asked.single else _line


def record(found: Segmentation) -> dict[str, object]:
    """The areas for JSON."""
    return {"areas": [{"label": label, "pixels": pixels, "share": round(share, 6)} for label, pixels, share in _areas(found)]}


def words(found: Segmentation) -> str:
    """The labels that cover most, for people."""
    areas = _areas(found)
    cells = [f"{label} {share:.0%}" for label, _, share in areas[:SHOWN]]
    return ", ".join(cells) + (f", {len(areas) - SHOWN} more" if len(areas) > SHOWN else "")


def _areas(found: Segmentation) -> list[tuple[str, int, float]]:
    """Label, pixels and share of the image of each label that occurs, the largest first."""
    return [(label, round(share * found.classes.size), share) for label, share in found.present()]


def _json(name: str, found: Segmentation, files: dict[str, Path]) -> None:
    height, width = found.classes.shape
    data = {
        "file": name,
        "width": width,
        "height": height,
        **record(found),
        **{kind: str(path) for kind, path in files.items()},
    }
    print(json.dumps(data, ensure_ascii=False), flush=True)


class _Csv:
    def __init__(self) -> None:
        self._writer = csv.writer(sys.stdout, lineterminator="\n")
        self._writer.writerow(("file", "label", "pixels", "share"))

    def __call__(self, name: str, found: Segmentation, files: dict[str, Path]) -> None:
        self._writer.writerows((name, label, pixels, f"{share:.6f}") for label, pixels, share in _areas(found))
        sys.stdout.flush()


def _table(name: str, found: Segmentation, files: dict[str, Path]) -> None:
    rows = [(label, f"{pixels:,}", f"{share:.1%}") for label, pixels, share in _areas(found)]
    show_table(("label", "pixels", "of the image"), rows, title=name)
    for path in files.values():
        show(f"wrote {path}")


def _line(name: str, found: Segmentation, files: dict[str, Path]) -> None:
    """An image on one line: the labels that cover most of it."""
    show("  ".join((words(found), name, *(f"-> {path}" for path in files.values()))))
    sys.stdout.flush()
