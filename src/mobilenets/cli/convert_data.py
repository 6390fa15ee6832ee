"""`mobilenets convert-data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mobilenets.cli import output
from mobilenets.data.text import counted

_SHOWN = 5


def command(
    source: Annotated[
        str,
        typer.Argument(help="A Pascal VOC folder, a COCO file or folder, a YOLO data.yaml or folder, or a CSV list of boxes."),
    ],
    out: Annotated[Path, typer.Argument(help="The folder to write; it appears when it is complete.")],
    to: Annotated[str, typer.Option(help="Format to write: voc, coco, yolo or csv.", metavar="FORMAT")],
    link: Annotated[bool, typer.Option("--link", help="Link to the images instead of copying them.")] = False,
    seed: Annotated[int, typer.Option(help="Seed for drawing the splits that the dataset does not define.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, for programs.")] = False,
) -> None:
    """Write a detection dataset in another format.

    Splits and classes stay the same. Flags for difficult objects and crowds are kept if the format has them.

    Example: mobilenets convert-data bccd/ bccd-yolo/ --to yolo
    """
    from mobilenets.data.open import open_dataset
    from mobilenets.data.samples import SPLITS
    from mobilenets.data.writers.boxes import WRITERS, write_boxes

    writer = WRITERS[to]
    dataset = open_dataset(source, seed=seed, task="detect")
    with output.progress(f"writing {out}", len(dataset.samples)) as advance:
        notes = write_boxes(dataset, out, to, link=link, advance=advance)
    for fault in dataset.faults[:_SHOWN]:
        output.note(f"{fault.file} {fault.message}")
    if len(dataset.faults) > _SHOWN:
        output.note(f"and {len(dataset.faults) - _SHOWN:,} more; mobilenets check {source} names them all")
    for note in (*dataset.notes, *notes):
        output.note(note)
    counts = {split: len(dataset.split(split)) for split in SPLITS}
    boxes = sum(len(sample.boxes) for sample in dataset.samples)
    if as_json:
        facts = {"out": str(out), "format": to, "images": counts, "boxes": boxes, "labels": dataset.labels}
        output.show_json({**facts, "notes": [*dataset.notes, *notes]})
    else:
        images = ", ".join(f"{split} {n:,}" for split, n in counts.items())
        objects, classes = counted(boxes, "box", "boxes"), counted(len(dataset.labels), "class", "classes")
        output.show(f"wrote {out}: {writer.title}; images: {images}; {objects} of {classes}")
