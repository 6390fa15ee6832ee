"""`mobilenets show`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilenets.cli import output
from mobilenets.cli.reading import ClassesOption, IgnoreOption, Reading, TaskOption
from mobilenets.data.text import counted
from mobilenets.errors import DataError, UsageError

if TYPE_CHECKING:
    from mobilenets.data.samples import Dataset
    from mobilenets.reports.gallery_page import Batch

_BATCH = 16  # augmented images
_USUAL = {"classify": "finetune", "detect": "detect", "segment": "segment"}


def command(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="The dataset, as for `mobilenets train`: a folder, list, shards, COCO, ...")
    ],
    count: Annotated[
        int, typer.Option(min=1, metavar="N", help="Number of images to show, taken from all classes in turn.")
    ] = 60,
    recipe: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The recipe whose augmentation to show; the task's by default.", show_default=False),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change one setting of the recipe; may be repeated.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The page to write; show-DATA.html by default.", show_default=False)
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    task: TaskOption = None,
    classes: ClassesOption = "",
    ignore: IgnoreOption = None,
    seed: Annotated[
        int, typer.Option(help="Another seed shows other images; also used to draw splits that the dataset does not define.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the path of the page as JSON, for programs.")] = False,
) -> None:
    """Show a dataset before you train: one HTML page with images, boxes and masks, and a batch of augmented images.

    Example: mobilenets show photos/ --open
    """
    from mobilenets import files
    from mobilenets.data.samples import SPLITS
    from mobilenets.reports import gallery
    from mobilenets.reports.gallery_page import gallery_page

    dataset = Reading.of(task, classes, ignore).open(data, seed=seed)
    if not dataset.samples:
        raise DataError(f"'{data}' has no images to show")
    page = out or Path(f"show-{_file_name(dataset.name)}.html")
    if page.is_dir():
        raise UsageError(f"--out '{page}' is a folder", hint=f"--out {page / 'show.html'}")
    masked = dataset.task == "segment"
    read = min(len(dataset.samples), gallery.MASKS_READ) if masked else 0
    with output.progress(f"reading {dataset.name}", read + min(count, len(dataset.samples)) + _BATCH) as advance:
        of_samples = gallery.classes_shown(dataset, seed=seed, advance=advance)
        shown = []
        for image in gallery.load(dataset, gallery.chosen(dataset, of_samples, count=count, seed=seed), of_samples):
            shown.append(image)
            advance(1)
        batch = _batch(dataset, recipe, overrides or [], seed)
    objects = [sum(of_split) for of_split in zip(*map(dataset.counts, SPLITS), strict=True)]
    html = gallery_page(
        dataset,
        shown,
        gallery.class_counts(dataset, of_samples),
        batch,
        counted=read if masked and read < len(dataset.samples) else None,
        objects=objects if dataset.task == "detect" else (),
    )
    try:
        files.write_text(page, html)
    except OSError as error:
        raise DataError(f"'{page}' cannot be written: {error.strerror or error}", hint="--out FILE") from error
    broken = sum(1 for image in shown if image.problem)
    if as_json:
        output.show_json(
            {"page": str(page), "images": len(shown), "augmented": len(batch.images), "recipe": batch.recipe, "broken": broken}
        )
    else:
        output.show(f"{page}: {len(shown):,} of {len(dataset.samples):,} images, {len(batch.images)} augmented")
        if broken:
            output.note(f"{counted(broken, 'image')} cannot be shown in full; mobilenets check {data} says why")
    if open_it:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())


def _batch(dataset: Dataset, recipe: str | None, overrides: list[str], seed: int) -> Batch:
    """Augmented training images; without torch, the reason why there are none."""
    from mobilenets.reports.gallery_page import Batch

    name = recipe or _USUAL[dataset.task]
    try:
        from mobilenets.training import recipes
        from mobilenets.training.preview import augmented
        from mobilenets.training.recipe import with_overrides
    except ImportError as error:
        return Batch((), name, f"Augmentation needs {error.name or 'torch'}: pip install 'mobilenets[train]'")
    settings = with_overrides(recipes.recipe(name), overrides)
    images = tuple(augmented(dataset, settings, count=_BATCH, seed=seed))
    if not images:
        return Batch((), name, "There is no readable image in the train split.")
    width, height = images[0].image.size if images[0].image is not None else (0, 0)
    note = f"A batch of training images after augmentation, at the network's input of {width} x {height} px."
    if settings.mixup_alpha or settings.cutmix_alpha:
        note += " MixUp and CutMix, which blend the images of a batch, are not shown."
    return Batch(images, name, note)


def _file_name(name: str) -> str:
    plain = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name).strip("-.")
    return plain[:60] or "dataset"
