"""`export_again`: exports a file to another format without its run, such as one that was trained in the browser."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from mobilenets.deploy.profile import profiled
from mobilenets.deploy.read import READERS, read_floats
from mobilenets.errors import ExportError
from mobilenets.exporters.compared import Labeled, Standard, export_compared
from mobilenets.exporters.parity import TOLERANCE, Parity, write_parity
from mobilenets.exporters.table import EXPORTERS
from mobilenets.runtime.engines.open import opened
from mobilenets.runtime.engines.table import ENGINES


def readable(path: Path) -> bool:
    """Whether a path is an exported file that can be exported again."""
    return path.is_file() and path.suffix.lower() in READERS.keys() & ENGINES.keys()


def refuse_itself(file: Path, made: Path) -> None:
    """Check that an export does not overwrite the file that it is made from.

    Raises:
        ExportError: both are the same file.
    """
    if made.exists() and made.samefile(file):
        raise ExportError(f"'{file}' would be replaced by its own export", hint="--out FOLDER, another one")


def export_again(
    file: Path,
    folder: str | Path,
    *,
    to: str,
    images: Sequence[bytes | Path] = (),
    tolerance: float = TOLERANCE,
    labeled: Labeled | None = None,
    batch: int | None = None,
) -> Parity:
    """Export the network in a file to another format, and compare the two files.

    Args:
        file: an `.onnx`, `.tflite` or `.graph` file with a float network.
        folder: the output folder; it is created if missing.
        to: the format, as for `export`.
        images: files or encoded bytes to compare on, in addition to made-up images.
        tolerance: the largest allowed difference, relative to the largest value of an output in a batch.
        labeled: images to measure the accuracy of both files on.
        batch: a fixed batch size; by default that of the format.

    Raises:
        ExportError: the file would be replaced by its own export, or the export failed or does not match it.
        GraphError: the file does not contain a float network that can be read back.
        ImageError: an image cannot be decoded.
        MissingExtraError: a library that the format or the file needs is not installed.
        UnknownNameError: there is no such format.
    """
    exporter = EXPORTERS[to]
    made = Path(folder) / exporter.file
    refuse_itself(file, made)
    graph = read_floats(file)
    graph = profiled(replace(graph, manifest=replace(graph.manifest, precision=exporter.format.precision)))
    with closing(opened(file, engine=ENGINES[file.suffix.lower()].name).engine) as reference:
        standard = Standard(graph, reference, tolerance=max(tolerance, exporter.format.tolerance))
        parity = export_compared(
            standard, made, exporter.format, images=images, labeled=labeled, tail=exporter.tail, batch=batch
        )
    write_parity(parity, Path(folder) / exporter.parity)
    return parity
