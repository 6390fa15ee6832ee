"""The page of `mobilenets show`: a single HTML file that needs no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from string import Template

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenets.data.masks import IGNORE
from mobilenets.data.samples import SPLITS, Dataset
from mobilenets.reports.gallery import Drawn, Shown
from mobilenets.runtime.segment.palette import BACKGROUND, Color, colors_for

TASKS = {"classify": "Classification", "detect": "Detection", "segment": "Segmentation"}
_IGNORED: Color = (255, 255, 255)
_PILLS = 6  # maximum number of classes named below an image


@dataclass(frozen=True, slots=True)
class Batch:
    """Images as training sees them.

    Args:
        images: the augmented images.
        recipe: the name of the recipe that augmented them.
        note: a remark about them, or the reason why there are none.
    """

    images: tuple[Shown, ...]
    recipe: str
    note: str = ""


def gallery_page(
    dataset: Dataset,
    shown: Sequence[Shown],
    counts: Sequence[dict[str, int]],
    batch: Batch,
    *,
    counted: int | None = None,
    objects: Sequence[int] = (),
) -> str:
    """The whole page, as HTML.

    Args:
        dataset: the dataset.
        shown: the images to show from it.
        counts: for each class, the number of images in each split.
        batch: images as training sees them.
        counted: how many images were read for `counts`, if not all of them.
        objects: the number of boxes of each class, for detection.
    """
    colors = dataset.colors or colors_for(dataset.labels)
    hexes = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in colors]
    text = resources.files("mobilenets.reports").joinpath("gallery.html").read_text(encoding="utf-8")
    per_split = {split: len(dataset.split(split)) for split in SPLITS}
    facts = [("images", len(dataset.samples)), *((split, n) for split, n in per_split.items() if n)]
    facts += [("boxes", sum(objects))] if objects else []
    facts.append(("class" if len(dataset.labels) == 1 else "classes", len(dataset.labels)))
    seen = f"{counted:,} of {len(dataset.samples):,} masks were read for this table." if counted is not None else ""
    values = {
        "title": _text(dataset.name or "dataset"),
        "task": TASKS[dataset.task],
        "facts": "".join(f"<div class='fact'><b>{n:,}</b> {name}</div>" for name, n in facts),
        "notes": "".join(f"<li>{_text(note)}</li>" for note in dataset.notes),
        "rows": _rows(dataset, counts, hexes, objects),
        "objects_head": "<th class='n'>boxes</th>" if objects else "",
        "counted": seen,
        "splits": "".join(
            f"<label class='chip'><input type='checkbox' value='{split}' checked>{split}</label>"
            for split, n in per_split.items()
            if n
        ),
        "overlay": "" if dataset.task == "classify" else _OVERLAY,
        "tiles": "".join(_tile(tile, dataset.labels, hexes, colors) for tile in shown),
        "shown": f"{len(shown):,}",
        "of": f"{len(dataset.samples):,}",
        "batch_title": f"As training sees them: recipe {_text(batch.recipe)}" if batch.recipe else "As training sees them",
        "batch_note": _text(batch.note),
        "batch": "".join(_tile(tile, dataset.labels, hexes, colors) for tile in batch.images),
    }
    return Template(text).substitute(values)


_OVERLAY = (
    "<label class='chip'><input type='checkbox' id='overlay' checked>annotations</label>"
    "<label class='slider'>strength <input type='range' id='strength' min='0' max='100' value='55'></label>"
)


def _rows(dataset: Dataset, counts: Sequence[dict[str, int]], hexes: Sequence[str], objects: Sequence[int]) -> str:
    totals = [sum(count.values()) for count in counts]
    most = max([*totals, 1])
    rows = []
    for i, (label, count) in enumerate(zip(dataset.labels, counts, strict=True)):
        cells = "".join(f"<td class='n'>{count.get(split, 0):,}</td>" for split in SPLITS)
        boxes = f"<td class='n'>{objects[i]:,}</td>" if objects else ""
        bar = f"<td class='bar'><i style='width:{100 * totals[i] / most:.1f}%;background:{hexes[i]}'></i></td>"
        name = (
            f"<button type='button' data-class='{i}'><i class='dot' style='background:{hexes[i]}'></i>{_text(label)}</button>"
        )
        rows.append(f"<tr><td>{name}</td>{cells}<td class='n'>{totals[i]:,}</td>{boxes}{bar}</tr>")
    return "".join(rows)


def _tile(shown: Shown, labels: Sequence[str], hexes: Sequence[str], colors: Sequence[Color]) -> str:
    name = _text(shown.name)
    classes = " ".join(map(str, shown.classes))
    pills = "".join(
        f"<span class='pill'><i class='dot' style='background:{hexes[i]}'></i>{_text(labels[i])}</span>"
        for i in shown.classes[:_PILLS]
    )
    pills += f"<span class='pill'>and {len(shown.classes) - _PILLS} more</span>" if len(shown.classes) > _PILLS else ""
    if shown.image is None:
        view = f"<div class='view gone'>{_text(shown.problem)}</div>"
    else:
        width, height = shown.image.size
        mask = _mask(shown.mask, labels, colors) if shown.mask is not None else ""
        boxes = _boxes(shown.boxes, labels, hexes, width, height) if shown.boxes else ""
        image = f"<img src='data:image/jpeg;base64,{_jpeg(shown.image)}' alt='{name}' loading='lazy'>"
        view = f"<div class='view' style='aspect-ratio:{width}/{height}' tabindex='0'>{image}{mask}{boxes}</div>"
    problem = f"<p class='problem'>{_text(shown.problem)}</p>" if shown.problem and shown.image is not None else ""
    caption = f"<figcaption>{pills}{problem}<p class='file'>{shown.split + ' · ' if shown.split else ''}{name}</p></figcaption>"
    return f"<figure data-split='{shown.split}' data-classes='{classes}' data-name='{name.lower()}'>{view}{caption}</figure>"


def _boxes(boxes: Sequence[Drawn], labels: Sequence[str], hexes: Sequence[str], width: int, height: int) -> str:
    """An SVG of the boxes that lies over the image, in px of the image on the page. Small boxes are drawn last."""
    parts = []
    for box in sorted(boxes, key=lambda box: -(box.corners[2] - box.corners[0]) * (box.corners[3] - box.corners[1])):
        x0, y0, x1, y1 = (edge * side for edge, side in zip(box.corners, (width, height) * 2, strict=True))
        label = _text(labels[box.label]) + (f" ({box.note})" if box.note else "")
        dashes = " stroke-dasharray='5 4'" if box.note else ""
        color = hexes[box.label]
        shape = f"x='{x0:.1f}' y='{y0:.1f}' width='{max(0, x1 - x0):.1f}' height='{max(0, y1 - y0):.1f}'"
        text = f"<text x='{max(2, x0 + 3):.1f}' y='{max(11, y0 - 4):.1f}'>{label}</text>" if len(boxes) <= 12 else ""
        parts.append(f"<g style='--c:{color}'><rect {shape}{dashes}><title>{label}</title></rect>{text}</g>")
    return f"<svg class='marks' viewBox='0 0 {width} {height}' aria-hidden='true'>{''.join(parts)}</svg>"


def _mask(mask: NDArray[np.uint8], labels: Sequence[str], colors: Sequence[Color]) -> str:
    """The mask as a PNG that lies over the image: a background class is transparent, and ignored pixels are white."""
    table = np.zeros((256, 4), np.uint8)
    for i, (label, color) in enumerate(zip(labels, colors, strict=False)):
        if label.lower() not in BACKGROUND:
            table[i] = (*color, 255)
    table[IGNORE] = (*_IGNORED, 200)
    buffer = io.BytesIO()
    Image.fromarray(table[mask]).save(buffer, "PNG", optimize=True)
    return f"<img class='marks mask' src='data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}' alt=''>"


def _jpeg(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=82, optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def _text(text: str) -> str:
    """Text from a dataset, escaped for HTML. Control characters and bytes that are not UTF-8 become a replacement character."""
    readable = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") if _is_encodable(text) else ascii(text)
    return escape("".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in readable))


def _is_encodable(text: str) -> bool:
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True
