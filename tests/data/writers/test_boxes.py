from __future__ import annotations

import json
import sys
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenets.data.boxes import Box
from mobilenets.data.open import open_dataset
from mobilenets.data.samples import Dataset, Sample, Split
from mobilenets.data.writers.boxes import WRITERS, write_boxes
from mobilenets.data.writers.images import plain_names
from mobilenets.errors import DataError, UnknownNameError

PLAIN = (Box(0, 1.25, 2, 10, 8), Box(2, 0, 0, 40, 30), Box(2, 5, 5, 6, 6), Box(0, -2, 28, 45, 33))


def _dataset(folder: Path, **boxes: tuple[Box, ...]) -> Dataset:
    """An image of 40 x 30 px for each split, with these boxes."""
    folder.mkdir()
    samples = []
    splits: tuple[Split, ...] = ("train", "val", "test")
    for split in splits:
        path = folder / f"{split} image.png"
        Image.fromarray(np.full((30, 40, 3), 90, np.uint8)).save(path)
        samples.append(Sample(path, -1, split, name=path.name, boxes=boxes.get(split, ())))
    return Dataset(("cat", "cow", "dog"), tuple(samples), "pets", task="detect")


def _source(folder: Path, kind: str) -> Path:
    return folder / "boxes.csv" if kind == "csv" else folder


def _content(dataset: Dataset, *, flags: bool) -> dict[str, tuple[str, list[tuple[object, ...]]]]:
    """Split and boxes of each image, by its file's name."""
    return {
        sample.path.name: (
            sample.split,
            [
                (
                    dataset.labels[box.label],
                    *(round(edge, 6) for edge in box.corners),
                    *((box.difficult, box.crowd) if flags else ()),
                )
                for box in sample.boxes
            ],
        )
        for sample in dataset.samples
    }


@pytest.mark.parametrize(("first", "second"), list(permutations(WRITERS, 2)))
def test_boxes_go_through_any_two_formats_and_back_unchanged(tmp_path: Path, first: str, second: str) -> None:
    dataset = _dataset(tmp_path / "pets", train=PLAIN, test=(Box(1, 3, 4, 5, 6),))
    write_boxes(dataset, tmp_path / "one", first)
    one = open_dataset(_source(tmp_path / "one", first))
    write_boxes(one, tmp_path / "two", second, link=True)
    two = open_dataset(_source(tmp_path / "two", second))
    assert _content(two, flags=True) == _content(dataset, flags=True)
    assert two.labels == dataset.labels
    assert two.faults == ()
    assert all(sample.read() == dataset.samples[0].read() for sample in two.samples)


@pytest.mark.parametrize(("kind", "flags", "said"), [  # difficult and crowd of a plain, a difficult and a crowd box
    ("csv",  [(False, False), (True, False), (False, True)], ""),
    ("coco", [(False, False), (True, False), (False, True)], ""),
    ("voc",  [(False, False), (True, False), (True, False)], "1 crowd box is written as difficult: VOC has no crowds"),
    ("yolo", [(False, False), (False, False)],               "1 crowd box is left out: YOLO has no crowds"),
])  # fmt: skip
def test_flags_are_kept_where_the_format_has_them(tmp_path: Path, kind: str, flags: list[object], said: str) -> None:
    boxes = (Box(0, 1, 2, 3, 4), Box(1, 1, 2, 3, 4, difficult=True), Box(2, 1, 2, 3, 4, crowd=True))
    dataset = _dataset(tmp_path / "pets", train=boxes)
    notes = write_boxes(dataset, tmp_path / "out", kind)
    again = open_dataset(_source(tmp_path / "out", kind))
    assert [(box.difficult, box.crowd) for box in again.split("train")[0].boxes] == flags
    assert (said in notes) == bool(said)


def test_coco_files_are_what_pycocotools_reads(tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    write_boxes(_dataset(tmp_path / "pets", val=PLAIN), tmp_path / "out", "coco")
    read = coco.COCO(str(tmp_path / "out" / "annotations" / "instances_val.json"))
    boxes = [one["bbox"] for one in read.loadAnns(read.getAnnIds())]
    assert boxes == [[1.25, 2, 8.75, 6], [0, 0, 40, 30], [5, 5, 1, 1], [-2, 28, 47, 5]]
    assert [one["name"] for one in read.loadCats(read.getCatIds())] == ["cat", "cow", "dog"]


def test_vocs_numbers_are_pixels_from_1(tmp_path: Path) -> None:
    write_boxes(_dataset(tmp_path / "pets", train=(Box(0, 0, 0, 40, 30),)), tmp_path / "out", "voc")
    text = (tmp_path / "out" / "Annotations" / "train image.xml").read_text()
    assert all(f"<{key}>{value}</{key}>" in text for key, value in {"xmin": 1, "ymin": 1, "xmax": 40, "ymax": 30}.items())
    sets = {path.stem: path.read_text() for path in (tmp_path / "out" / "ImageSets" / "Main").iterdir()}
    assert sets == {
        "train": "train image\n",
        "val": "val image\n",
        "trainval": "train image\nval image\n",
        "test": "test image\n",
    }


def test_images_of_one_name_get_the_names_of_their_folders(tmp_path: Path) -> None:
    names = ("a/1.jpg", "b/1.png", "b/2.jpg", "x/a_1.jpg")
    samples = [Sample(tmp_path / name, -1, "train", name=name) for name in names]
    assert plain_names(samples) == ["a_1_2.jpg", "b_1.png", "2.jpg", "a_1.jpg"]


def test_a_broken_image_is_left_out_and_named(tmp_path: Path) -> None:
    dataset = _dataset(tmp_path / "pets", train=PLAIN)
    dataset.samples[1].path.write_bytes(b"")
    notes = write_boxes(dataset, tmp_path / "out", "coco")
    assert len(open_dataset(tmp_path / "out", val=0).samples) == 2
    assert notes[0].startswith("val image.png is left out: ")


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(DataError, match="out' is not empty"):
        write_boxes(_dataset(tmp_path / "pets"), tmp_path / "out", "voc")


def test_only_boxes_can_be_written_and_only_in_known_formats(tmp_path: Path) -> None:
    dataset = _dataset(tmp_path / "pets")
    with pytest.raises(UnknownNameError, match="did you mean 'yolo'"):
        write_boxes(dataset, tmp_path / "out", "yol")
    with pytest.raises(DataError, match="has no boxes to write: it is a classification dataset"):
        write_boxes(Dataset(("a",), dataset.samples), tmp_path / "out", "yolo")


def test_classes_without_a_box_stay_where_classes_are_listed(tmp_path: Path) -> None:
    dataset = _dataset(tmp_path / "pets", train=(Box(1, 1, 2, 3, 4),))
    for kind in ("voc", "coco", "yolo"):
        write_boxes(dataset, tmp_path / kind, kind)
        assert open_dataset(tmp_path / kind).labels == dataset.labels
    notes = write_boxes(dataset, tmp_path / "csv", "csv")
    assert "the class 'cat' has no box, so it is missing from the list" in notes


def test_coco_keeps_the_size_of_each_image(tmp_path: Path) -> None:
    write_boxes(_dataset(tmp_path / "pets"), tmp_path / "out", "coco")
    data = json.loads((tmp_path / "out" / "annotations" / "instances_train.json").read_text())
    assert data["images"] == [{"id": 1, "file_name": "train image.png", "width": 40, "height": 30}]


@pytest.mark.skipif(sys.platform != "linux", reason="not every name is allowed here")
@pytest.mark.parametrize("kind", WRITERS)
def test_images_of_any_name_are_written_and_read_back(tmp_path: Path, kind: str) -> None:
    samples = []
    for i, name in enumerate(("a\nb.png", "a\rb.png", "c\u2028d.png", "e\x0cf.png", "g\udcffh.png", "=i.png")):
        Image.fromarray(np.full((30, 40, 3), i, np.uint8)).save(tmp_path / name)
        samples.append(Sample(tmp_path / name, -1, "train", name=name, boxes=(Box(0, 1, 2, 3 + i, 4),)))
    write_boxes(Dataset(("cat",), tuple(samples), "odd", task="detect"), tmp_path / "out", kind)
    again = open_dataset(_source(tmp_path / "out", kind), val=0, test=0)
    assert sorted(round(sample.boxes[0].x1, 6) for sample in again.samples) == [3, 4, 5, 6, 7, 8]
    assert sorted(sample.read() for sample in again.samples) == sorted(sample.read() for sample in samples)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_class_that_breaks_lines_is_refused(tmp_path: Path, kind: str) -> None:
    dataset = replace(_dataset(tmp_path / "pets", train=(Box(0, 1, 2, 3, 4),)), labels=("two\nlines", "cow", "dog"))
    with pytest.raises(DataError, match="cannot be written in the format"):
        write_boxes(dataset, tmp_path / "out", kind)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", WRITERS)
def test_a_conversion_that_is_stopped_leaves_nothing(tmp_path: Path, kind: str) -> None:
    dataset = _dataset(tmp_path / "pets", train=PLAIN)

    class Stopped(BaseException):
        pass

    def stop(_: int) -> None:
        assert not (tmp_path / "out").exists()
        raise Stopped

    with pytest.raises(Stopped):
        write_boxes(dataset, tmp_path / "out", kind, advance=stop)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pets"]


def test_of_many_images_without_a_header_a_few_are_named(tmp_path: Path) -> None:
    samples = [Sample(tmp_path / f"{i}.png", -1, "train", name=f"{i}.png") for i in range(12)]
    notes = write_boxes(Dataset(("cat",), tuple(samples), "gone", task="detect"), tmp_path / "out", "csv")
    assert [note for note in notes if "left out" in note][5:] == ["7 more images are left out; mobilenets check lists them all"]
