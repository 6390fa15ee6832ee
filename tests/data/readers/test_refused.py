"""What is no dataset, or one that is not read, is refused by naming what was found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.data.readers.written import (
    LINE,
    Layout,
    N,
    classes,
    coco,
    each,
    pairs_of,
    photos,
    text,
    xml,
)

from mobilenets.data.open import open_dataset
from mobilenets.errors import DataError


def beside(pattern: str, file: str, content: str) -> Layout:
    """Images and one more file."""
    return lambda d: (photos(d, pattern), text(d / file, content))


REFUSED: dict[str, tuple[Layout, str]] = {
    "images and labels of nobody": (lambda d: (photos(d, "images/*.png"), photos(d, "overlay/x*.png")), "'images'|overlay"),
    "images alone": (lambda d: photos(d, "images/*.png"), "no folder per class, but 'images'.*3 .png"),
    "text of no known kind": (lambda d: each(d, "image_2/*.png", "label_2/*.txt", "Car 0 0 -1.5 587 173 614 x\n"), "3 .txt"),
    "kitti": (
        lambda d: each(d, "image_2/*.png", "label_2/*.txt", "Car 0.00 0 -1.58 587 173 614 200 1.6 1.7 3.6 -0.6 1.7 46 -1.5\n"),
        "0.txt' looks like KITTI's labels",
    ),
    "dota": (lambda d: each(d, "images/*.png", "labelTxt/*.txt", "1 1 4 1 4 3 1 3 small-vehicle 0\n"), "DOTA's rotated boxes"),
    "oidv4": (lambda d: each(d, "train/Cat/*.png", "train/Cat/Label/*.txt", "Wild cat 1.5 1 4 3\n"), "OIDv4 ToolKit"),
    "wider face": (beside("images/0--Parade/*.png", "split/train_gt.txt", "0--Parade/0.jpg\n1\n1 1 3 3 0 0 0\n"), "WIDER FACE"),
    "yolo in px": (
        lambda d: each(d, "images/*.png", "labels/*.txt", "0 48 36 20 20\n"),
        "0.txt' looks like YOLO's labels with px",
    ),
    "coco's panoptic segments": (
        beside("*.png", "a.json", '{"images": [], "annotations": [{"segments_info": []}], "categories": []}'),
        "COCO's panoptic segments",
    ),
    "fiftyone": (beside("data/*.png", "labels.json", '{"classes": ["cat"], "labels": {"0": 0}}'), "looks like FiftyOne's"),
    "datumaro": (
        beside(
            "images/*.png", "annotations/default.json", '{"info": {}, "categories": {"label": {"labels": []}}, "items": []}'
        ),
        "looks like Datumaro's",
    ),
    "a pointer in place of the annotations": (
        beside("images/*.png", "data.yaml", "version https://git-lfs.github.com/spec/v1\noid sha256:1\n"),
        "data.yaml' is a pointer of Git LFS, not the file itself",
    ),
    "images without endings": (
        lambda d: (photos(d, "cat/*.png"), [path.rename(path.with_suffix("")) for path in (d / "cat").iterdir()]),
        "holds an image; it holds these files: 3 without an extension",
    ),
    "names that are one text": (
        lambda d: (each(d, "images/*.png", "labels/*.txt", LINE), text(d / "data.yaml", "train: images\nnames: cat, dog\n")),
        "data.yaml': names is 'cat, dog', not a list of classes",
    ),
    "bdd": (beside("images/*.png", "l.json", '[{"name": "0.png", "labels": [{"box2d": {"x1": 1}}]}]'), "looks like BDD100K's"),
    "cvat's tags": (
        beside(
            "*.png", "a.xml", '<annotations><version>1.1</version><image name="0.png"><tag label="a"/></image></annotations>'
        ),
        "a.xml' has tags of whole images, but no box",
    ),
    "labels in matlab": (beside("jpg/*.png", "imagelabels.mat", "MATLAB 5.0"), "no folder per class, but 'jpg'.*1 .mat"),
    "masks that name different classes": (
        lambda d: (
            [pairs_of(f"{split}/{split}*.png", f"{split}/{split}*_mask.png")(d) for split in ("train", "valid")],
            [text(d / f"{split}/_classes.csv", f"Pixel Value, Class\n0, a\n1, {split}\n") for split in ("train", "valid")],
        ),
        "train/_classes.csv' and '.*valid/_classes.csv' name different classes",
    ),
    "coco's results": (
        beside("images/*.png", "r.json", '[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.9}]'),
        "looks like COCO's list of results",
    ),
    "masks as arrays": (
        lambda d: (photos(d, "images/*.png"), [text(d / f"masks/{i}.npy", "x") for i in range(3)]),
        "no folder per class, but 'images'.*3 .npy",
    ),
    "a table of an unknown form": (beside("data/*.png", "labels/boxes.csv", "ImageID,XMin\n0,0.1\n"), "but 'data'.*1 .csv"),
    "yolo without names": (lambda d: each(d, "*.png", "*.txt", LINE), "neither data.yaml nor classes.txt"),
    "labelme without shapes": (
        lambda d: each(d, "a/*.png", "a/*.json", '{"flags": {"cat": true}, "shapes": [], "imagePath": "0.png"}'),
        "has tags of whole images, but no box, polygon or mask",
    ),
    "labelme without images": (
        lambda d: text(d / "a.json", '{"shapes": [], "imagePath": "a.png", "imageData": "iVBOR"}'),
        "has labelme's files, but not their images",
    ),
    "label studio without annotations": (
        beside("images/*.png", "e.json", '[{"annotations": [{"lead_time": 3, "was_cancelled": true}]}]'),
        "e.json' has no image that was annotated",
    ),
    "via": (beside("train/*.png", "train/via.json", '{"a": {"regions": [{"region_attributes": {}}]}}'), "VGG Image Annotator"),
    "createml": (beside("a/*.png", "c.json", '[{"annotations": [{"coordinates": {"x": 1}}]}]'), "looks like CreateML's JSON"),
    "supervisely": (beside("img/*.png", "ann/0.json", '{"objects": [{"classTitle": "a"}]}'), "looks like Supervisely's JSON"),
    "cityscapes without masks": (
        lambda d: each(d, "leftImg8bit/train/a/*.png", "gtFine/train/a/*_gtFine_polygons.json", "{}"),
        "no photo in '.*' has a mask",
    ),
    "tfrecord": (lambda d: text(d / "train/a.tfrecord", "x"), r"1 TFRecord file \(.tfrecord\), which is not read"),
    "heic": (lambda d: [text(d / f"cat/{i}.HEIC", "x") for i in range(2)], r"2 HEIC images \(.heic\), which are not read"),
    "dicom without an ending": (lambda d: text(d / "a/IM1", "\0" * 128 + "DICM"), "1 DICOM image without an extension"),
    "a zip archive": (lambda d: text(d / "a.zip", "PK"), "1 zip archive"),
    "cvat for video": (
        beside("a/*.png", "a.xml", '<annotations><version>1.1</version><track id="0"/></annotations>'),
        "a.xml' is CVAT for video",
    ),
    "an unknown encoding": (
        lambda d: each(d, "*.png", "*.xml", f'<?xml version="1.0" encoding="klingon"?>{xml()}'),
        "0.xml' line 1 declares the unknown encoding 'klingon'",
    ),
    "an entity bomb": (
        lambda d: each(d, "*.png", "*.xml", f'<!DOCTYPE a [<!ENTITY b "b">]>{xml("&b;")}'),
        "0.xml' defines XML entities",
    ),
    "two coco files of no split": (
        lambda d: [text(d / f"{name}.json", coco(*photos(d, "*.png"))) for name in "ab"],
        "2 COCO files that name no split: 'a.json' and 'b.json'",
    ),
    "coco without categories": (
        lambda d: text(d / "a.json", coco(*photos(d, "*.png")).replace('[{"id": 1, "name": "cat"}]', "[]")),
        "'categories' is empty",
    ),
    "a mask per class": (
        lambda d: (pairs_of("images/*.png", "masks/car/*.png")(d), pairs_of("images/*.png", "masks/road/*.png")(d)),
        "several files called '0', in 'masks/car', 'masks/road'",
    ),
    "masks of a single class": (pairs_of("images/*.png", "masks/*.png", 0), "masks of a single class, 'class 0'"),
    "a class with a line end": (lambda d: classes(d, "a\nb", "c"), r"a\\nb' with the control character U\+000A"),
    "one folder too high": (lambda d: classes(d, "PetImages/cat", "PetImages/dog"), "holds folders with images: 'cat', 'dog'"),
}


@pytest.mark.parametrize("layout", REFUSED)
def test_what_is_not_read_is_named(tmp_path: Path, layout: str) -> None:
    write, message = REFUSED[layout]
    write(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(tmp_path)
    assert "\n" not in str(caught.value)


def test_names_of_images_that_begin_with_the_class_are_noticed(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        photos(tmp_path, f"train/{name}.*.png")
    photos(tmp_path, "test1/*.png")
    with pytest.raises(DataError, match="train' holds 6 images but no folder per class") as caught:
        open_dataset(tmp_path)
    assert caught.value.hint.startswith("do the names begin with the class ('cat', 'dog')?")


def test_a_dataset_of_another_task_is_named_as_such(tmp_path: Path) -> None:
    each(tmp_path, "images/*.png", "annotations/*.xml", xml())
    with pytest.raises(DataError, match="is not a segmentation dataset but a detection dataset: a folder with Pascal VOC"):
        open_dataset(tmp_path, task="segment")
    with pytest.raises(DataError, match="is not a classification dataset but a detection dataset: a folder with Pascal VOC"):
        open_dataset(tmp_path, task="classify")
    classes(tmp_path, "a", "b")
    photos(tmp_path, "d/*.png")
    with pytest.raises(DataError, match="is not a segmentation dataset but a detection dataset"):
        open_dataset(tmp_path, task="segment")


def test_images_that_no_annotation_lists_are_noted(tmp_path: Path) -> None:
    each(tmp_path, "cells/*.png", "cells/*.xml", xml())
    classes(tmp_path, "photos/a", "photos/b")
    pairs_of("cells/*.png", "masks/*.png")(tmp_path)
    left_out = "6 images are in the folder, but in no annotation, and left out, such as 'photos/a/photos-a0.png'"
    assert left_out in open_dataset(tmp_path).notes


def test_only_the_images_of_a_dataset_point_to_the_folder_above(tmp_path: Path) -> None:
    each(tmp_path, "images/*.png", "annotations/*.xml", xml())
    with pytest.raises(DataError, match="3 images but no folder") as caught:
        open_dataset(tmp_path / "images")
    assert f"the folder above, '{tmp_path}', which also has 'annotations'" in caught.value.hint


def test_faults_of_folders_and_descriptions_are_named_with_their_files(tmp_path: Path) -> None:
    each(tmp_path, "images/train/*.png", "labels/train/*.txt", LINE)
    os.mkfifo(tmp_path / "images/train/pipe.png")
    (tmp_path / "images/train/up").symlink_to(tmp_path / "images")
    (tmp_path / "data.yaml").write_bytes("train: images/train\nval: images/val\ntest: images/train\nnames: [Käfer]\n".encode())
    dataset = open_dataset(tmp_path)
    assert [(fault.code, fault.file) for fault in dataset.faults] == [
        ("special-file", "images/train/pipe.png"),
        ("link-loop", "images/train/up"),
        ("contradiction", "data.yaml"),
    ]
    assert dataset.notes[0] == "'data.yaml' names the same images for train and test"


def test_a_list_in_gb_or_windows_1252_is_read_and_noted_and_other_encodings_are_refused_with_their_line(tmp_path: Path) -> None:
    photos(tmp_path, "*.png")
    path = tmp_path / "list.csv"
    for labels, encoding in ((("汽车", "行人"), "gbk"), (("Mücke", "Käfer"), "cp1252")):
        text(path, f"path,label\r\n0.png,{labels[0]}\r\n1.png,{labels[1]}\r\n", encoding)
        dataset = open_dataset(path)
        assert (sorted(dataset.labels), [fault.code for fault in dataset.faults]) == (sorted(labels), ["encoding"])
    text(path, "path,label\r\n0.png,a\r\n1.png,кошка\r\n", "cp1251")
    with pytest.raises(DataError, match=r"list.csv' line 3 is not UTF-8 \(byte 0xEA\)"):
        open_dataset(path)


def test_a_file_in_a_folder_of_its_own_has_its_images_in_the_folder_above(tmp_path: Path) -> None:
    text(tmp_path / "annotations/instances_train2017.json", coco(*photos(tmp_path, "train2017/*.png")))
    dataset = open_dataset(tmp_path / "annotations/instances_train2017.json")
    assert [(sample.name, sample.path.is_file()) for sample in dataset.samples] == [
        (f"train2017/{i}.png", True) for i in range(N)
    ]


def test_a_place_that_a_yaml_states_is_not_searched_as_a_whole(tmp_path: Path) -> None:
    each(tmp_path, "images/*.png", "labels/*.txt", LINE)
    text(tmp_path / "data.yaml", "path: /\ntrain: images\nval:\nnames: [cat]\n")
    assert len(open_dataset(tmp_path / "data.yaml").samples) == N
    with pytest.raises(DataError, match="'/' is the root of the file system"):
        open_dataset("/")


def test_descriptions_that_disagree_with_themselves_are_named(tmp_path: Path) -> None:
    each(tmp_path, "images/*.png", "labels/*.txt", LINE)
    text(tmp_path / "data.yaml", "train: images\nnc: 3\nnames: [cat, Cat]\n")
    assert [(fault.file, fault.message) for fault in open_dataset(tmp_path).faults] == [
        ("data.yaml", "says nc: 3 but names 2 classes"),
        ("", "the classes 'cat' and 'Cat' differ only in case or spaces"),
    ]


def test_a_single_file_of_a_kind_that_is_not_read_is_named(tmp_path: Path) -> None:
    file = text(tmp_path / "via.json", '{"a.jpg1": {"filename": "a.jpg", "regions": [{"region_attributes": {}}]}}')
    with pytest.raises(DataError, match="it is VGG Image Annotator's JSON, which is not read"):
        open_dataset(file)


def test_classes_that_two_systems_spell_differently_are_named(tmp_path: Path) -> None:
    classes(tmp_path, "caf\u00e9", "cafe\u0301")
    (fault,) = open_dataset(tmp_path).faults
    assert fault.message.endswith("differ only in case, spaces or the way accents are stored")
