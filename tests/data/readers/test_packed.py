"""Boxes and masks in tar shards: read as they are described, and read back as they were written."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.data.readers.test_shards import tar

from mobilenets.data.boxes import Box
from mobilenets.data.masks import Mask
from mobilenets.data.open import fingerprint, open_dataset
from mobilenets.data.samples import Dataset, Sample
from mobilenets.data.writers.shards import write_shards
from mobilenets.errors import DataError, ImageError


def png(values: Any, palette: list[int] | None = None) -> bytes:
    image = Image.fromarray(np.asarray(values, np.uint8))
    if palette:
        image.putpalette(bytes(palette).ljust(768, b"\0"))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


PHOTO = png(np.full((4, 6, 3), 90))


def of_json(path: Path, *abouts: object) -> Path:
    members: dict[str, bytes] = {}
    for i, about in enumerate(abouts):
        members |= {f"{i}.png": PHOTO, f"{i}.json": json.dumps(about).encode()}
    return tar(path, members)


def test_boxes_are_edges_or_coco_boxes_of_named_or_numbered_classes(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    corners = {"label": "dog", "x0": 1, "y0": 0.5, "x1": 4, "y1": 3, "difficult": True}
    coco = {"category": 0, "bbox": [2, 1, 3, 2], "crowd": 1}
    path = of_json(tmp_path / "train-0.tar", {"boxes": [corners, coco], "width": 6, "height": 4}, {"boxes": []}, {"label": "x"})
    dataset = open_dataset(path, val=0)
    assert (dataset.task, dataset.labels) == ("detect", ("cat", "dog"))
    first, empty = dataset.samples
    assert first.boxes == (Box(1, 1, 0.5, 4, 3, difficult=True), Box(0, 2, 1, 5, 3, crowd=True))
    assert (first.stated, first.read(), empty.boxes) == ((6, 4), PHOTO, ())
    assert [(fault.code, fault.file) for fault in dataset.faults] == [("unannotated", "2.png")]


def test_masks_are_images_beside_images_whose_values_labels_txt_names(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("ground\ncat\n")
    mask = png([[0, 1, 255]] * 2, [0, 0, 0, 9, 8, 7])
    path = tar(tmp_path / "a.tar", {"x/1.jpg": PHOTO, "x/1.mask.png": mask, "2.jpg": PHOTO, "2.seg.png": mask, "3.jpg": PHOTO})
    dataset = open_dataset(path, val=0, test=0)
    assert (dataset.task, dataset.labels, dataset.colors) == ("segment", ("ground", "cat"), ((0, 0, 0), (9, 8, 7)))
    assert [sample.name for sample in dataset.samples] == ["x/1.jpg", "2.jpg"]
    assert all(sample.mask is not None and sample.mask.read().tolist() == [[0, 1, 255]] * 2 for sample in dataset.samples)
    assert [fault.file for fault in dataset.faults] == ["3.jpg"]
    named = open_dataset(path, val=0, test=0, classes=["soil", "cat", "dog"], ignore=["soil"])
    assert named.labels == ("cat", "dog")


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"boxes": {}}, "boxes is not a list"),
        ({"boxes": [3]}, r"boxes\[0\] is not an object"),
        ({"boxes": [{"x0": 1, "y0": 1, "x1": 2, "y1": 2}]}, r"boxes\[0\] has no label"),
        ({"boxes": [{"label": "a", "x0": 1, "y0": 1, "x1": "2", "y1": 2}]}, "is not four numbers"),
        ({"boxes": [{"label": "a", "bbox": [1, 2, 3]}]}, "is not four numbers"),
        ({"boxes": [{"label": "a", "bbox": [1, 2, 3, float("nan")]}]}, "is not four numbers"),
        ({"boxes": [{"label": "7", "bbox": [1, 2, 3, 4]}]}, "names 1 classes"),
    ],
)
def test_a_box_that_is_none_is_named_with_its_file(tmp_path: Path, about: object, said: str) -> None:
    (tmp_path / "labels.txt").write_text("a\n")
    with pytest.raises(DataError, match=rf"s\.tar/0\.png'.*{said}"):
        open_dataset(of_json(tmp_path / "s.tar", about))


def test_the_task_decides_where_shards_have_several_annotations(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("a\nb\n")
    about = json.dumps({"label": "b", "boxes": [{"label": "a", "bbox": [0, 0, 2, 2]}]}).encode()
    members = {"0.png": PHOTO, "0.json": about, "0.mask.png": png([[0, 1]]), "1.png": PHOTO, "1.json": about}
    path = tar(tmp_path / "s.tar", members)
    seen = open_dataset(path, val=0, test=0)
    assert seen.task == "detect"
    assert any("also have masks" in note for note in seen.notes)
    assert [sample.label for sample in open_dataset(path, val=0, test=0, task="classify").samples] == [1, 1]
    assert len(open_dataset(path, val=0, test=0, task="segment").samples) == 1


@pytest.mark.parametrize(
    ("members", "task", "said"),
    [
        ({"0.png": PHOTO, "0.cls": b"1"}, "detect", "has boxes"),
        ({"0.png": PHOTO, "0.cls": b"1"}, "segment", "has a mask"),
        ({"0.png": PHOTO, "0.mask.png": png([[0, 1]])}, None, "nothing names the classes"),
        ({"0.png": PHOTO, "0.mask.png": png([[0, 1]])}, "classify", "has no label"),
    ],
)
def test_what_shards_lack_for_a_task_is_said(tmp_path: Path, members: dict[str, bytes], task: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        open_dataset(tar(tmp_path / "s.tar", members), task=task)


def test_a_damaged_mask_is_named_by_its_member(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("a\nb\n")
    path = tar(tmp_path / "s.tar", {"0.png": PHOTO, "0.mask.png": b"no image"})
    [sample] = open_dataset(path, val=0, test=0).samples
    assert sample.mask is not None
    with pytest.raises(ImageError, match=r"'s\.tar/0\.mask\.png' is not an image"):
        sample.mask.read()


def many(folder: Path, task: Any) -> Dataset:
    random = np.random.default_rng(0)
    samples = []
    for i in range(5):
        image, mask = folder / f"{i}.png", folder / f"{i}-mask.png"
        image.write_bytes(png(random.integers(0, 255, (8, 12, 3))))
        mask.write_bytes(png(random.choice([0, 1, 2, 255], (8, 12))))
        boxes = tuple(Box(k % 2, 0.5, k, 7.25, 8, difficult=k == 1, crowd=k == 2) for k in range(i))
        split: Any = "test" if i == 4 else "train"
        truth = {"boxes": boxes, "stated": (12, 8)} if task == "detect" else {"mask": Mask(mask)}
        samples.append(Sample(image, -1, split, name=image.name, **truth))
    labels, colors = (("cat", "dog"), ()) if task == "detect" else (("ground", "cat", "dog"), ((0, 0, 0), (9, 0, 0), (0, 9, 0)))
    return Dataset(labels, tuple(samples), "many", task=task, colors=colors)


@pytest.mark.parametrize("task", ["detect", "segment"])
@pytest.mark.parametrize("remote", [False, True])
def test_what_was_written_is_read_back(tmp_path: Path, web: Any, task: Any, remote: bool) -> None:
    dataset = many(tmp_path, task)
    written = write_shards(dataset, web.folder / "s", per_shard=2)
    assert [file.name for file in written] == ["train-000000.tar", "train-000001.tar", "test-000000.tar"]
    listed = "".join(f"{web.url if remote else web.folder}/s/{file.name}\n" for file in written)
    (tmp_path / "list.txt").write_text(listed)
    again = open_dataset(tmp_path / "list.txt", val=0)
    assert (again.task, again.labels, again.colors, len(again.faults)) == (task, dataset.labels, dataset.colors, 0)
    images = {sample.read(): sample for sample in again.samples}
    assert len(images) == 5
    for sample in dataset.samples:
        found = images[sample.read()]
        assert (found.split, found.boxes, found.stated) == (sample.split, sample.boxes, sample.stated)
        if sample.mask is not None:
            assert found.mask is not None
            np.testing.assert_array_equal(found.mask.read(), sample.mask.read())
    kept = open_dataset(tmp_path / "list.txt", val=0)  # of a web server, from the index that was kept
    assert kept.samples == again.samples
    assert fingerprint(kept) == fingerprint(again)


def test_a_server_that_is_gone_is_not_a_damaged_mask(tmp_path: Path, web: Any) -> None:
    write_shards(many(tmp_path, "segment"), web.folder / "s")
    (tmp_path / "list.txt").write_text(f"{web.url}/s/train-000000.tar\n")
    [sample, *_] = open_dataset(tmp_path / "list.txt", val=0, test=0).samples
    web.busy = 10**9
    assert sample.mask is not None
    with pytest.raises(ConnectionError):
        sample.mask.read()
