"""`mobilenets predict`: images or a video in, what the model sees in them out; a module for each task."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilenets.cli import predict_bulk
from mobilenets.cli.measuring import check_engine, engine_line
from mobilenets.cli.output import note
from mobilenets.cli.predicting import Asked
from mobilenets.errors import UsageError
from mobilenets.files import check_folder, check_writable

if TYPE_CHECKING:
    from mobilenets.specs.model import Task

RAY = "ray"
"""What `--engine` calls the workers of a Ray cluster."""

# fmt: off
OPTIONS: dict[str, tuple[Task, ...]] = {  # that not every task has: the tasks that have it
    "top":       ("classify",),
    "out":       ("detect", "segment"),
    "write":     ("detect", "segment"),
    "threshold": ("detect",),
    "tile":      ("detect", "segment"),
    "overlap":   ("detect", "segment"),
    "whole":     ("detect",),
}
PEOPLE: dict[Task, str] = {"classify": "classifiers", "detect": "detectors", "segment": "segmenters"}
# fmt: on


def command(
    model: Annotated[Path, typer.Argument(metavar="RUN|MODEL.onnx", help="A run folder, an export folder or an .onnx file.")],
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE|VIDEO",
            help="Images, folders, quoted globs, or - for standard input; or one video: a file, or camera:0.",
        ),
    ],
    json: Annotated[bool, typer.Option("--json", help="Print JSON, one line per image.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one line per label, box or class of an image.")] = False,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|VIDEO",
            help="Write results to a folder (--write says which), or an annotated video.",
            show_default=False,
        ),
    ] = None,
    write: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND",
            help="What to write to the folder; may be repeated. Detectors: drawn, coco, csv, yolo. Segmenters: masks, drawn.",
            show_default=False,
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Classifiers: labels per image; by default 5 for one image, 1 for many.",
            show_default=False,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            metavar="SCORE",
            help="Detectors: show boxes with a higher score; by default the thresholds fitted in training, else 0.5.",
            show_default=False,
        ),
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(
            min=16,
            metavar="PX",
            help="Detectors and segmenters: split large images into tiles of this size.",
            show_default=False,
        ),
    ] = None,
    overlap: Annotated[
        float | None,
        typer.Option(
            min=0, max=0.9, metavar="SHARE", help="Share of a tile that overlaps the next; 0.2 by default.", show_default=False
        ),
    ] = None,
    whole: Annotated[
        bool,
        typer.Option(
            "--whole", help="Detectors: predict on the whole image as well as the tiles, for objects larger than a tile."
        ),
    ] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Threads to use; all cores by default.", show_default=False)
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Batch size; chosen automatically by default."),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="onnx, tflite, ...; by default the fastest on this machine, measured once. ray: use many machines "
            "and write Parquet.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="With ray: number of processes; by default one per core of the cluster.",
            show_default=False,
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Print which engine is used, and why.")] = False,
) -> None:
    """Classify, detect or segment: an image, a folder, a glob, a list from standard input, a video or a camera.

    Results are printed as soon as they are ready, however many images there are:

        mobilenets predict runs/photos image.jpg

        mobilenets predict runs/photos holiday/ --csv > answers.csv

        mobilenets predict runs/cells slides/ --out found/ --write drawn --write coco

        mobilenets predict runs/cells slide.tif --tile 640

        mobilenets predict runs/traffic street.mp4 --out annotated.mp4

        mobilenets predict runs/photos s3://bucket/photos/ --out s3://bucket/answers --engine ray

    Folders are searched recursively. With "-", standard input is one image or a list of paths, one per line. Unreadable
    images are reported on stderr and skipped; the exit code is 1 only if nothing could be read.
    """
    if json and csv:
        raise UsageError("--json and --csv cannot be combined")
    asked = Asked(
        tuple(sources),
        json=json,
        csv=csv,
        batch=batch,
        top=top,
        out=None if out is None else Path(out),
        write=tuple(write or ()),
        threshold=threshold,
        tile=tile,
        overlap=overlap,
        whole=whole,
    )
    if engine == RAY:
        given = {
            "csv": csv,
            "write": write,
            "tile": tile,
            "overlap": overlap,
            "whole": whole,
            "threads": threads,
            "batch": batch,
        }
        predict_bulk.run(
            model,
            sources,
            out,
            predict_bulk.Bulk(top, threshold, workers, json),
            refused=[name for name in given if given[name]],
        )
        return
    if workers is not None:
        raise UsageError("--workers is for --engine ray", hint="--threads sets the threads of this process")
    if out is not None:
        check_folder(out)
    from mobilenets.runtime.predictor import Predictor

    check_engine(engine)
    predictor = Predictor.open(model, threads=threads, engine=engine)
    if verbose:
        note(engine_line(predictor))
    task = predictor.manifest.task
    check(asked, task)
    kind = "video" if check_video(asked, task) else "images"
    if asked.out is not None:
        check_writable(asked.out if kind == "images" else asked.out.parent)
    importlib.import_module(f"mobilenets.cli.predict_{kind}").run(predictor, asked)


def check(asked: Asked, task: Task) -> None:
    """Refuse what does not fit the task, or one another.

    Raises:
        UsageError: an option is of another task, or needs another one.
    """
    for name, tasks in OPTIONS.items():
        if task not in tasks and _is_given(asked, name):
            people = " and ".join(PEOPLE[allowed] for allowed in tasks)
            raise UsageError(f"--{name} is for {people}; this model's task is '{task}'")
    if asked.write and asked.out is None:
        raise UsageError("--write needs a folder to write into", hint="add --out FOLDER")
    for name in ("overlap", "whole"):
        if _is_given(asked, name) and asked.tile is None:
            raise UsageError(f"--{name} is about tiles, but there are none", hint="add --tile 640")


def check_video(asked: Asked, task: Task) -> bool:
    """Whether it is about a video.

    Raises:
        UsageError: an option does not fit that.
    """
    from mobilenets.data.walk import SUFFIXES as IMAGES
    from mobilenets.runtime.video import SUFFIXES as VIDEOS
    from mobilenets.runtime.video import codec_of, is_video

    if not any(is_video(source) for source in asked.sources):
        if asked.out is not None and asked.out.suffix.lower() in IMAGES | VIDEOS:
            raise UsageError(
                f"with images, --out must be a folder, not '{asked.out}'", hint=f"--out {asked.out.with_suffix('')}"
            )
        return False
    if len(asked.sources) > 1:
        raise UsageError("a video must be the only source", hint="run the command once for each")
    if task == "classify":
        raise UsageError("videos are for detectors and segmenters; this model's task is 'classify'")
    for name in ("csv", "write"):
        if _is_given(asked, name):
            raise UsageError(f"--{name} is for images; a video gives --json, a line per frame, and --out VIDEO")
    if asked.out is not None:
        codec_of(asked.out)
    return True


def _is_given(asked: Asked, name: str) -> bool:
    value = getattr(asked, name)
    return value is not None and value is not False and value != ()
