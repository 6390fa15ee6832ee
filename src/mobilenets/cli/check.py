"""`mobilenets check`."""

from __future__ import annotations

import shlex
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilenets.cli import output
from mobilenets.cli.reading import ClassesOption, IgnoreOption, Reading, TaskOption
from mobilenets.data.text import counted
from mobilenets.errors import UsageError

if TYPE_CHECKING:
    from mobilenets.data.checks.check import Findings
    from mobilenets.data.checks.masks import MaskFindings
    from mobilenets.data.samples import Dataset

_SHOWN, _ROWS = 5, 20


def command(
    data: Annotated[
        str,
        typer.Argument(
            help="A folder with one folder per class, a CSV or TSV list, tar shards or their http(s) address, a Pascal VOC "
            "folder, a COCO file or folder, a YOLO data.yaml, folders of images and masks, or elpv.",
            metavar="DATA",
        ),
    ],
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Only read headers and count classes; do not look for truncated images or duplicates."),
    ] = False,
    show_all: Annotated[bool, typer.Option("--all", help="List every file, not only the first few of each finding.")] = False,
    size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Input size of the network in px; smaller images and objects are reported. Default: 224, or 320 for boxes.",
        ),
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="A column of the list; rows with the same value stay in one split.", show_default=False)
    ] = None,
    task: TaskOption = None,
    classes: ClassesOption = "",
    ignore: IgnoreOption = None,
    seed: Annotated[int, typer.Option(help="Seed for drawing the splits that the dataset does not define.")] = 0,
    write: Annotated[
        Path | None,
        typer.Option(
            help="Write a CSV list for training that leaves out broken images and keeps look-alikes in one split.",
            metavar="LIST",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON, for programs.")] = False,
) -> None:
    """Find problems in a dataset before you train on it.

    Reports broken files, images that appear in two splits, invalid boxes and masks, and missing or rare classes. Exits with
    1 if there are errors.

    Example: mobilenets check photos/ --write clean.csv
    """
    from mobilenets.data.checks import check
    from mobilenets.data.writers.lists import write_box_list, write_list

    if quick and write is not None:
        raise UsageError("--write needs the full check", hint="leave out --quick")
    dataset = Reading.of(task, classes, ignore).open(data, seed=seed, group=group)
    boxed = dataset.task == "detect"
    if write is not None and dataset.task == "segment":
        raise UsageError(f"'{data}' is a segmentation dataset, but --write is for labels and boxes only")
    side = size or (320 if boxed else 224)
    with output.progress(f"checking {dataset.name}", len(dataset.samples)) as advance:
        findings = check.quick_check(dataset, advance=advance) if quick else check.check(dataset, size=side, advance=advance)
    if as_json:
        output.show_json(_data(data, dataset, findings))
    else:
        _show(data, dataset, findings, side, show_all=show_all)
    if write is not None:
        clean = check.cleaned(dataset, findings)
        if boxed:
            write_box_list(clean, write, splits=False)
        else:
            write_list(clean, write)
        output.note(f"wrote {write}; next: mobilenets train {shlex.quote(str(write))}")
    if findings.at("error"):
        raise typer.Exit(1)


def _show(data: str, dataset: Dataset, findings: Findings, size: int, *, show_all: bool) -> None:
    """Print the findings, then the tables, then what to do, then the verdict."""
    boxes = sum(len(sample.boxes) for sample in dataset.samples)
    objects = f", {counted(boxes, 'box', 'boxes')}" if dataset.task == "detect" else ""
    classes = counted(len(dataset.labels), "class", "classes")
    output.show(f"{dataset.name}: {counted(len(dataset.samples), 'image')}{objects}, {classes}")
    for note in dataset.notes:
        output.show(f"  {note}")
    _show_findings(findings, show_all=show_all)
    if findings.items:
        output.show("")
    if findings.masks is not None:
        _show_shares(findings.masks, show_all=show_all)
    else:
        _show_counts(dataset, boxes, show_all=show_all)
    if findings.sizes:
        output.show_table(("px", "min", "5%", "median", "95%", "max"), _quantiles(findings.sizes))
        output.show("formats: " + ", ".join(f"{name} {n:,}" for name, n in findings.formats.items()))
    if findings.box_sizes:
        output.show_table(
            ("size, px", "boxes", "mean best overlap", "best is 0.5 or more", "best is below 0.25"),
            [
                (
                    _range(size_bin.low, size_bin.high),
                    size_bin.boxes,
                    f"{size_bin.overlap:.2f}",
                    f"{size_bin.matched:.0%}",
                    f"{size_bin.uncovered:.0%}",
                )
                for size_bin in findings.box_sizes
            ],
            title=f"objects on an input of {size} x {size} px, by the square root of their area, and SSDLite's anchors",
        )
    output.show("")
    for line in _cures(data, dataset, findings):
        output.show(line)
    output.show(_verdict(findings))


def _show_findings(findings: Findings, *, show_all: bool) -> None:
    from mobilenets.data.checks.codes import CODES

    for code, items in groupby(findings.items, key=lambda item: item.code):
        level, heading = CODES[code]
        group = list(items)
        output.show(f"\n{level}: {heading} ({len(group):,})")
        shown = group if show_all else group[:_SHOWN]
        for item in shown:
            output.show(f"  {_line(item.files, item.message, show_all=show_all)}")
        if len(group) > len(shown):
            output.show(f"  and {len(group) - len(shown):,} more; --all lists them")


def _cures(data: str, dataset: Dataset, findings: Findings) -> list[str]:
    """What to do about the errors, one line each; what `--write` can solve comes first."""
    from mobilenets.data.checks.codes import CODES, CURES, WRITTEN

    codes = list(dict.fromkeys(item.code for item in findings.at("error")))
    lines = [
        f"{leak}, so results on {leak.split} look better than they are" for leak in findings.leaks if leak.other == "train"
    ]
    written = [code for code in codes if code in WRITTEN]
    if written and dataset.task != "segment":
        lines.append("to leave out broken images and keep look-alikes in one split:")
        lines.append(f"  mobilenets check {shlex.quote(data)} --write clean.csv && mobilenets train clean.csv")
    elif written:
        lines.append("delete broken images, and move look-alikes into one split; `train --skip-bad` skips broken images")
    return [*lines, *(f"{CODES[code][1]}: {CURES[code]}" for code in codes if code in CURES)]


def _verdict(findings: Findings) -> str:
    """The last line: whether the dataset is ready to train on."""
    from mobilenets.data.checks.codes import LEVELS

    errors, warnings, notes = (len(findings.at(level)) for level in LEVELS)
    verdict = "not ready to train" if errors else "ready to train, with warnings" if warnings else "ready to train"
    return f"{verdict}: {counted(errors, 'error')}, {counted(warnings, 'warning')}, {counted(notes, 'note')}"


def _show_counts(dataset: Dataset, boxes: int, *, show_all: bool) -> None:
    """Print the number of images or boxes of each class in each split."""
    from mobilenets.data.samples import SPLITS

    labels = range(len(dataset.labels))
    if not show_all:
        labels = labels[:_ROWS]
    counts = {split: dataset.counts(split) for split in SPLITS}
    rows = [
        (dataset.labels[i], *(counts[split][i] for split in SPLITS), sum(counts[split][i] for split in SPLITS)) for i in labels
    ]
    total = ("all", *(sum(counts[split]) for split in SPLITS), boxes if dataset.task == "detect" else len(dataset.samples))
    more = len(dataset.labels) - len(labels)
    output.show_table(
        ("class", *SPLITS, "all"),
        [*rows, total],
        caption=f"and {counted(more, 'more class', 'more classes')}; --all shows them" if more else "",
    )


def _show_shares(masks: MaskFindings, *, show_all: bool) -> None:
    """Print how many images in each split show each class, and its share of the pixels."""
    from mobilenets.data.samples import SPLITS

    shown = masks.shares if show_all else masks.shares[:_ROWS]
    rows = [(share.label, *share.images, sum(share.images), f"{share.share:.2%}") for share in shown]
    more = len(masks.shares) - len(shown)
    hidden = f"; --all shows {counted(more, 'more class', 'more classes')}" if more else ""
    caption = f"{masks.ignored:.1%} of all pixels are ignored{hidden}"
    output.show_table(("images that show", *SPLITS, "all", "share of pixels"), rows, caption=caption)


def _line(files: tuple[str, ...], message: str, *, show_all: bool) -> str:
    if not files:
        return message
    shown = files if show_all else files[:_SHOWN]
    more = f" and {len(files) - len(shown):,} more" if len(files) > len(shown) else ""
    return f"{', '.join(shown)}{more}: {message}"


def _range(low: float, high: float) -> str:
    return f"{low:g} to {high:g}" if high < float("inf") else f"{low:g} or more"


def _quantiles(sizes: tuple[tuple[int, int], ...]) -> list[tuple[object, ...]]:
    import numpy as np

    width, height = np.array(sizes).T
    rows = {"width": width, "height": height, "shorter side": np.minimum(width, height)}
    return [(name, *(int(value) for value in np.quantile(row, (0, 0.05, 0.5, 0.95, 1)))) for name, row in rows.items()]


def _data(data: str, dataset: Dataset, findings: Findings) -> dict[str, object]:
    import dataclasses

    from mobilenets.data.open import fingerprint
    from mobilenets.data.samples import SPLITS

    return {
        "name": dataset.name,
        "fingerprint": fingerprint(dataset),
        "labels": dataset.labels,
        "images": findings.images,
        "counts": {split: dataset.counts(split) for split in SPLITS},
        "notes": dataset.notes,
        "formats": findings.formats,
        "sizes": [
            dict(zip(("side", "min", "p5", "median", "p95", "max"), row, strict=True)) for row in _quantiles(findings.sizes)
        ]
        if findings.sizes
        else [],
        "task": dataset.task,
        "box_sizes": [
            {**dataclasses.asdict(size_bin), "high": size_bin.high if size_bin.high < float("inf") else None}
            for size_bin in findings.box_sizes
        ],
        "masks": dataclasses.asdict(findings.masks)["shares"] if findings.masks is not None else [],
        "findings": [dataclasses.asdict(item) for item in findings.items],
        "same": findings.same,
        "leaks": [dataclasses.asdict(leak) for leak in findings.leaks],
        "cures": _cures(data, dataset, findings),
        "verdict": _verdict(findings),
    }
