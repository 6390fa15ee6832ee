"""`mobilenets benchmark`: models on runtimes, measured side by side."""

from __future__ import annotations

import json as json_of
import shlex
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilenets.cli.output import csv_cell, note, progress, show, show_csv, show_json, show_table
from mobilenets.cli.reading import ClassesOption, IgnoreOption
from mobilenets.cli.resuming import forget, refuse_typed, the_only
from mobilenets.errors import MissingExtraError, MobileNetsError, UsageError
from mobilenets.evaluation.part import PARTS

if TYPE_CHECKING:
    from mobilenets.benchmark.row import Row

NOTES = 12  # below the table
GOING_ON = frozenset(("resume", "out", "json", "csv"))
"""Options that --resume takes without MODEL."""


def command(
    context: typer.Context,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL...",
            help="Exported files, run or checkpoint folders, or names from 'mobilenets models'.",
            show_default=False,
        ),
    ] = None,
    runtime: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME,...", help="Runtimes, such as onnx,tflite; all by default.", show_default=False),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME,...", help="Precisions, such as float32,int8; all available ones by default.", show_default=False
        ),
    ] = None,
    threads: Annotated[str, typer.Option(metavar="N,...", help="Thread counts to measure.")] = "1",
    batch: Annotated[str, typer.Option(metavar="N,...", help="Batch sizes to measure.")] = "1",
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Labeled images to measure accuracy on, as for 'evaluate'.", show_default=False),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="SPLIT", help="train, val, test or all of DATA; test by default if there is one.", show_default=False
        ),
    ] = None,
    classes: ClassesOption = "",
    ignore: IgnoreOption = None,
    seconds: Annotated[float, typer.Option(min=0.05, help="How long to run each row, over all rounds together.")] = 3.0,
    rounds: Annotated[int, typer.Option(min=1, help="Number of rounds; in each, every row gets a turn.")] = 15,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Where to write rows, exports and the plot; in runs/ by default.", show_default=False
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Resume the benchmark in --out, or the latest one; without MODEL, with the same settings."
        ),
    ] = False,
    adb: Annotated[bool, typer.Option("--adb", help="Measure on the connected Android device.")] = False,
    serial: Annotated[
        str, typer.Option(metavar="SERIAL", help="With --adb: which device, if several are connected.", show_default=False)
    ] = "",
    tool: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH|URL",
            help="With --adb: benchmark_model or onnxruntime_perf_test for the device; may be repeated.",
            show_default=False,
        ),
    ] = None,
    ssh: Annotated[
        str, typer.Option(metavar="HOST", help="Measure on another machine that has mobilenets installed.", show_default=False)
    ] = "",
    remote: Annotated[
        str, typer.Option(metavar="COMMAND", help="With --ssh: the command that runs mobilenets there.")
    ] = "mobilenets",
    json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    csv: Annotated[
        str, typer.Option(metavar="FILE", help="Write the rows to a CSV file; - prints them.", show_default=False)
    ] = "",
) -> None:
    """Benchmark models on runtimes, side by side: latency, throughput, memory, size, cold start, accuracy.

    Each combination of model, runtime, precision, threads and batch size is one row, measured in its own process:

        mobilenets benchmark runs/photos --runtime all --threads 1,2 --data photos/

        mobilenets benchmark mobilenet_v2 mobilenet_v3_large

        mobilenets benchmark runs/photos --ssh pi@raspberrypi.local

        mobilenets benchmark runs/photos --adb --tool android_aarch64_benchmark_model

    A network's name means random weights, so its accuracy means nothing. Rows are saved as they are measured. To resume the
    latest benchmark, or the one in a folder:

        mobilenets benchmark --resume

        mobilenets benchmark --out runs/benchmark-2 --resume
    """
    if split is not None and split not in PARTS:
        raise UsageError(f"unknown split '{split}'; known: {', '.join(PARTS)}")
    if data is None and (split is not None or classes or ignore):
        raise UsageError("--split, --classes and --ignore need --data DATA")
    if json and csv == "-":
        raise UsageError("--json and --csv - cannot be combined")
    from mobilenets.benchmark import written
    from mobilenets.benchmark.flow import Data
    from mobilenets.benchmark.remarks import remarks
    from mobilenets.benchmark.tools import ToolError
    from mobilenets.cli.benchmark_start import FILE, Place, Wanted, began, fresh, keep, latest, learned
    from mobilenets.files import check_writable
    from mobilenets.runtime.machine import machine
    from mobilenets.telling import Telling

    folder = context.with_resource(the_only([latest(out)] if resume else fresh(out), "measures"))
    if resume and not models:
        refuse_typed(context, GOING_ON, "--resume without MODEL keeps the settings of the benchmark")
        wanted = began(folder)
    else:
        names = tuple(name.strip() for name in classes.split(",")) if "," in classes else classes
        wanted = Wanted(
            tuple(models or ()),
            runtimes=_names(runtime),
            precisions=_names(precision),
            threads=_numbers("--threads", threads),
            batches=_numbers("--batch", batch),
            data=None if data is None else Data(data, split or "", names, tuple(ignore or ())),
            seconds=seconds,
            rounds=rounds,
            place=Place(adb, serial, tuple(tool or ()), ssh, remote),
        )
    wanted.check()
    if csv not in ("", "-"):
        check_writable(Path(csv).parent)
    keep(folder, wanted)
    rows: list[Row] = []
    lost: ToolError | None = None
    said = {""}
    try:
        for row in wanted.rows(folder, Telling(_bar, note)):
            rows.append(row)
            line = written.failure(row)
            if line not in said:  # the same for every precision and number of threads
                said.add(line)
                note(line)
    except MobileNetsError as error:
        if not rows or not isinstance(error, ToolError):
            if not resume:
                forget(folder, FILE)
            raise
        lost = error  # what was measured until then is kept and shown first
    except KeyboardInterrupt:
        note(f"the results so far are in '{folder}'; {_go_on(folder)}")
        raise
    here = machine()
    texts = [*learned(wanted), *remarks(rows, here)]
    known = {**written.to_data(rows, here, data="" if wanted.data is None else wanted.data.source), "remarks": texts}
    _keep(rows, folder, known, csv)
    if json:
        show_json(known)
    elif csv == "-":
        show_csv(*written.csv_table(rows))
    elif any(not row.error for row in rows):
        title, columns, lines = written.table(rows)
        show_table(columns, lines, title=title)
        for text in texts[:NOTES]:
            show(f"note: {text}")
        if len(texts) > NOTES:
            show(f"and {len(texts) - NOTES} more, in {folder / 'benchmark.json'}")
    note(f"rows, JSON, CSV and plot: {folder}")
    if lost is not None:
        note(_go_on(folder))
        raise lost
    if not any(row.p50_ms is not None for row in rows):
        raise typer.Exit(1)


def _keep(rows: list[Row], folder: Path, data: dict[str, object], csv: str) -> None:
    """Write what belongs into the folder, and the CSV file that the user asked for."""
    from mobilenets.benchmark import written
    from mobilenets.files import write_text

    write_text(folder / "benchmark.json", json_of.dumps(data, indent=1, ensure_ascii=False) + "\n")
    columns, lines = written.csv_table(rows)
    table: list[Sequence[object]] = [columns, *lines] if columns else []
    text = "\n".join(_csv_line(cells) for cells in table)
    for path in (folder / "benchmark.csv", *([Path(csv)] if csv not in ("", "-") else [])):
        write_text(path, text + "\n")
    try:
        written.write_plot(rows, folder)
    except MissingExtraError as error:
        note(f"no plot: {error} ({error.hint})")


def _csv_line(cells: Sequence[object]) -> str:
    import csv
    import io

    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([csv_cell(cell) for cell in cells])
    return line.getvalue()


def _bar(description: str, total: int | None) -> AbstractContextManager[Callable[[int], None]]:
    return progress(description, total)


def _names(given: list[str] | None) -> tuple[str, ...]:
    """The names in options that may be repeated and hold several names; none if one of them is "all"."""
    names = [name.strip() for text in given or () for name in text.split(",") if name.strip()]
    return () if "all" in names else tuple(dict.fromkeys(names))


def _numbers(option: str, text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and 0 < int(part) <= 4096 for part in parts):
        raise UsageError(f"{option} '{text}' is not a list of numbers from 1 to 4096", hint=f"{option} 1,2")
    return tuple(dict.fromkeys(int(part) for part in parts))


def _go_on(folder: Path) -> str:
    return f"resume with: mobilenets benchmark --out {shlex.quote(str(folder))} --resume"
