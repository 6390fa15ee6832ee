"""`mobilenets convert-data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from mobilenets.cli import output
from mobilenets.cli.reading import ClassesOption, IgnoreOption, Reading, TaskOption
from mobilenets.data.text import counted
from mobilenets.errors import UsageError
from mobilenets.files import check_writable
from mobilenets.specs.model import Task

_SHOWN = 5


def command(
    source: Annotated[
        str,
        typer.Argument(metavar="DATA", help="Any dataset that 'train' reads; it needs boxes unless you write tar shards."),
    ],
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to write; it appears once it is complete.")],
    to: Annotated[str, typer.Option(help="Format to write: voc, coco, yolo, csv or shards.", metavar="FORMAT")],
    link: Annotated[bool, typer.Option("--link", help="Link to the images instead of copying them.")] = False,
    per_shard: Annotated[
        int | None, typer.Option(min=1, help="Images per tar shard; 1,000 by default.", metavar="N", show_default=False)
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            help="Seed for drawing the splits that the dataset does not define, and for the order of images in shards."
        ),
    ] = 0,
    task: TaskOption = None,
    classes: ClassesOption = "",
    ignore: IgnoreOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, for programs.")] = False,
) -> None:
    """Convert a detection dataset to another format, or any dataset to tar shards.

    Splits and classes stay the same. Flags for difficult objects and crowds are kept if the format has them. Shards
    can be read from disks and web servers, by several machines at once.

        mobilenets convert-data bccd/ bccd-yolo/ --to yolo

        mobilenets convert-data streets/ streets-shards/ --to shards --per-shard 500
    """
    from mobilenets.data.samples import SPLITS
    from mobilenets.data.writers.shards import PER_SHARD
    from mobilenets.data.writers.table import OUTPUTS, Options

    check_writable(out)
    writer = OUTPUTS[to]
    for name, given in (("link", link), ("per_shard", per_shard is not None)):
        if given and name not in writer.options:
            raise UsageError(f"--{name.replace('_', '-')} does not apply to the format '{to}': {writer.title}")
    if task and task in get_args(Task) and task not in writer.tasks:
        raise UsageError(f"the format '{to}' holds boxes only: {writer.title}", hint="any task can be written as --to shards")
    only = writer.tasks[0] if len(writer.tasks) == 1 else None
    dataset = Reading.of(task or only, classes, ignore).open(source, seed=seed)
    with output.progress(f"writing {out}", len(dataset.samples)) as advance:
        notes = writer.write(dataset, out, Options(link, per_shard or PER_SHARD, seed, advance))
    for fault in dataset.faults[:_SHOWN]:
        output.note(f"{fault.file} {fault.message}")
    if len(dataset.faults) > _SHOWN:
        output.note(f"and {len(dataset.faults) - _SHOWN:,} more; mobilenets check {source} lists them all")
    for note in (*dataset.notes, *notes):
        output.note(note)
    counts = {split: len(dataset.split(split)) for split in SPLITS}
    boxes = sum(len(sample.boxes) for sample in dataset.samples)
    if as_json:
        facts = {"out": str(out), "format": to, "images": counts, "boxes": boxes, "labels": dataset.labels}
        output.show_json({**facts, "notes": [*dataset.notes, *notes]})
    else:
        images = ", ".join(f"{split} {n:,}" for split, n in counts.items())
        objects = f"{counted(boxes, 'box', 'boxes')} of " if dataset.task == "detect" else ""
        known = counted(len(dataset.labels), "class", "classes")
        output.show(f"wrote {out}: {writer.title}; images: {images}; {objects}{known}")
