"""`augmented`: training images with their boxes and masks, augmented as by a recipe."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from PIL import Image
from torch import Tensor

from mobilenets.data.samples import Dataset, Sample
from mobilenets.data.splits import digest
from mobilenets.errors import ImageError
from mobilenets.feeding.augment import seed_of
from mobilenets.feeding.boxes import Boxed
from mobilenets.reports.gallery import Drawn, Shown
from mobilenets.specs.families import backbone
from mobilenets.specs.model import InputContract
from mobilenets.training.heads import spec_for
from mobilenets.training.lessons import check, lesson
from mobilenets.training.recipe import Recipe


def augmented(dataset: Dataset, recipe: Recipe, *, count: int, seed: int) -> Iterator[Shown]:
    """Images of the train split, drawn by seed and augmented as in training; unreadable ones are skipped.

    Args:
        dataset: a dataset for the recipe's task.
        recipe: the augmentation and the input size.
        count: maximum number of images.
        seed: another seed gives other images and other augmentation.

    Raises:
        RecipeError: the recipe does not fit the dataset.
    """
    check(recipe, dataset.task)
    shape = backbone(recipe.model, width=recipe.width)
    spec = spec_for(dataset, shape, InputContract(size=recipe.size or shape.size, wide=recipe.wide), recipe)
    samples = dataset.split("train")
    teacher = lesson(spec, samples, recipe, torch.device("cpu")).teacher
    if isinstance(teacher, Boxed):  # its targets are anchors, but the boxes themselves are needed here
        teacher = Boxed(teacher.augmentation, lambda *boxes: boxes, channels=teacher.channels)
    shown = 0
    for sample in sorted(samples, key=lambda sample: digest(sample.name, seed)):
        if shown == count:
            return
        try:
            loaded = teacher.load(sample)
        except (ImageError, OSError):
            continue
        image, targets = teacher.show(loaded, sample, seed_of(seed, sample.name))
        shown += 1
        yield _shown(dataset, sample, image, targets)


def _shown(dataset: Dataset, sample: Sample, image: Tensor, targets: tuple[Tensor, ...]) -> Shown:
    pixels = image.permute(1, 2, 0).numpy()  # H W C
    canvas = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0]).convert("RGB")
    if dataset.task == "classify":
        return Shown(sample.name, sample.split, (sample.label,), canvas)
    if dataset.task == "segment":
        mask = targets[0].numpy()
        classes = tuple(label for label in sorted(set(mask.ravel().tolist())) if label < len(dataset.labels))
        return Shown(sample.name, sample.split, classes, canvas, mask=mask)
    boxes, labels, ignored = targets
    width, height = canvas.size
    shares = boxes / torch.tensor([width, height, width, height])
    drawn = tuple(
        Drawn((x0, y0, x1, y1), int(label), "not learned" if left_out else "")
        for (x0, y0, x1, y1), label, left_out in zip(shares.tolist(), labels.tolist(), ignored.tolist(), strict=True)
    )
    return Shown(sample.name, sample.split, tuple(sorted({box.label for box in drawn})), canvas, boxes=drawn)
