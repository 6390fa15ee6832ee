"""Datasets as people have them, one small folder each: read as what they are, or refused by naming what was found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.data.readers.written import (
    CSV,
    LINE,
    Layout,
    N,
    classes,
    coco,
    each,
    mask,
    pairs_of,
    photo,
    photos,
    split_each,
    text,
    xml,
)

from mobilenets.data.open import open_dataset


def voc_two_years(d: Path) -> None:
    for year in ("VOC2007", "VOC2012"):
        each(d, f"VOCdevkit/{year}/JPEGImages/{year}_*.png", f"VOCdevkit/{year}/Annotations/{year}_*.xml", xml())
        text(d / f"VOCdevkit/{year}/ImageSets/Main/train.txt", f"{year}_0.png\n{year}_1\n")
        text(d / f"VOCdevkit/{year}/ImageSets/Main/val.txt", f"{year}_2\n")


def voc_named_inside(d: Path) -> None:
    for i in range(N):
        photo(d / f"images/IMG_{i}.png")
        text(d / f"annotations/{i + 100}.xml", xml(file=f"IMG_{i}.png"))


def yolo_darknet(d: Path) -> None:
    each(d, "obj_train_data/*.png", "obj_train_data/*.txt", LINE)
    text(d / "obj.data", "classes = 1\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n")
    text(d / "obj.names", "cat\n")
    text(d / "train.txt", "".join(f"data/obj_train_data/{i}.png\n" for i in range(N)))


def tensorflow_csv(d: Path) -> None:
    for split in ("train", "val"):
        names = photos(d, f"images/{split}/{split}*.png")
        text(d / f"data/{split}_labels.csv", CSV + "".join(f"{name},8,6,cat,1,1,4,4\n" for name in names))


def roboflow_csv(d: Path) -> None:
    for split in ("train", "valid"):
        names = photos(d, f"{split}/{split}*.png")
        text(d / f"{split}/_annotations.csv", CSV + "".join(f"{name},8,6,cat,1,1,4,4\n" for name in names))


def cvat_images(d: Path) -> None:
    names = photos(d, "images/*.png")
    box = '<box label="cat" xtl="1" ytl="1" xbr="4.5" ybr="4"/>'
    images = "".join(f'<image id="0" name="{name}" width="8" height="6">{box}</image>' for name in names)
    text(d / "annotations.xml", f"<annotations><version>1.1</version><meta></meta>{images}</annotations>")


DETECT: dict[str, tuple[Layout, tuple[str, ...], tuple[int, int] | None]] = {  # labels; images in train and val, None if drawn
    "voc annots beside Images": (lambda d: each(d, "Images/*.PNG", "annots/*.xml", xml()), ("cat",), None),
    "voc inside splits": (lambda d: split_each(d, "%/images/*.png", "%/annotations/*.xml", xml()), ("cat",), (N, N)),
    "voc splits below": (lambda d: split_each(d, "images/%/*.png", "annotations/%/*.xml", xml()), ("cat",), (N, N)),
    "voc two years, one folder too high": (voc_two_years, ("cat",), (4, 2)),
    "voc named inside the file": (voc_named_inside, ("cat",), None),
    "voc utf-16": (lambda d: each(d, "*.png", "*.xml", xml("Käfer"), "utf-16"), ("Käfer",), None),
    "voc cp1252": (lambda d: each(d, "*.png", "*.xml", xml("Käfer"), "cp1252"), ("Käfer",), None),
    "voc gb2312": (
        lambda d: each(d, "*.png", "*.xml", f'<?xml version="1.0" encoding="gb2312"?>{xml("汽车")}', "gb2312"),
        ("汽车",),
        None,
    ),
    "coco of any name": (lambda d: text(d / "my labels v2.json", coco(*photos(d, "data/*.png"))), ("cat",), None),
    "coco with another machine's paths": (
        lambda d: text(d / "a.json", coco(*(f"C:\\me\\images\\{name}" for name in photos(d, "images/*.png")))),
        ("cat",),
        None,
    ),
    "coco with percent signs": (
        lambda d: text(d / "a.json", coco(*(name.replace(" ", "%20") for name in photos(d, "images/a *.png")))),
        ("cat",),
        None,
    ),
    "coco in other case": (
        lambda d: text(d / "a.json", coco(*(name.lower() for name in photos(d, "images/A*.PNG")))),
        ("cat",),
        None,
    ),
    "coco utf-16": (lambda d: text(d / "a.json", coco(*photos(d, "images/*.png")), "utf-16"), ("cat",), None),
    "coco a file per split": (
        lambda d: [text(d / f"{split}.json", coco(*photos(d, f"{split}/{split}*.png"))) for split in ("train", "val")],
        ("cat",),
        (N, N),
    ),
    "coco polygons without boxes": (
        lambda d: text(d / "a.json", coco(*photos(d, "*.png"), bbox=None, segmentation=[[1, 1, 4, 1, 4, 4]])),
        ("cat",),
        None,
    ),
    "coco run lengths without boxes": (
        lambda d: text(
            d / "a.json", coco(*photos(d, "*.png"), bbox=None, segmentation={"size": [6, 8], "counts": [7, 3, 3, 3, 32]})
        ),
        ("cat",),
        None,
    ),
    "yolo with classes.txt": (
        lambda d: (each(d, "pics/*.png", "annotations/*.txt", LINE), text(d / "classes.txt", "cat\n")),
        ("cat",),
        None,
    ),
    "yolo in splits without a yaml": (
        lambda d: (split_each(d, "%/images/*.png", "%/Labels/*.TXT", LINE), text(d / "classes.txt", "cat\n")),
        ("cat",),
        (N, N),
    ),
    "yolo one folder too high, with yaml's words": (
        lambda d: (
            split_each(d, "signs/%/images/*.png", "signs/%/labels/*.txt", LINE),
            text(d / "signs/my.yaml", "train: ../train/images\nval: ..\\val\\images\ntest:\nnames:\n  0: no\n  1: 007\n"),
        ),
        ("no", "007"),
        (N, N),
    ),
    "yolo poses": (
        lambda d: (
            each(d, "images/*.png", "labels/*.txt", "0 .5 .5 .2 .2 .1 .9 2 .1 .9 1\n"),
            text(d / "data.yaml", "train: images\nkpt_shape: [2, 3]\nnames: [cat]\n"),
        ),
        ("cat",),
        (2, 1),
    ),
    "voc beside trimaps, as in Oxford pets": (
        lambda d: (
            each(d, "images/*.png", "annotations/xmls/*.xml", xml()),
            [mask(d / f"annotations/trimaps/{i}.png") for i in range(N)],
        ),
        ("cat",),
        None,
    ),
    "yolo with paths of another machine": (
        lambda d: (
            split_each(d, "%/images/%*.png", "%/labels/%*.txt", LINE),
            text(d / "data.yaml", "train: /content/set-1/train/images\nval: C:\\me\\val\\images\nnames: [cat]\n"),
        ),
        ("cat",),
        (N, N),
    ),
    "yolo with decimal commas": (
        lambda d: (each(d, "*.png", "*.txt", "0 0,5 0,5 0,2 0,2\n"), text(d / "classes.txt", "cat\n")),
        ("cat",),
        None,
    ),
    "voc from macOS, whose accents are characters of their own": (
        lambda d: each(d, "images/cafe\u0301*.png", "annotations/caf\u00e9*.xml", xml()),
        ("cat",),
        None,
    ),
    "yolo from macOS, whose accents are characters of their own": (
        lambda d: (each(d, "images/cafe\u0301*.png", "labels/caf\u00e9*.txt", LINE), text(d / "classes.txt", "cat\n")),
        ("cat",),
        None,
    ),
    "yolo as darknet and cvat write it": (yolo_darknet, ("cat",), None),
    "tensorflow's csv": (tensorflow_csv, ("cat",), (N, N)),
    "roboflow's csv": (roboflow_csv, ("cat",), (N, N)),
    "cvat's xml": (cvat_images, ("cat",), None),
}


@pytest.mark.parametrize("layout", DETECT)
def test_boxes_are_found_wherever_they_lie(tmp_path: Path, layout: str) -> None:
    write, labels, splits = DETECT[layout]
    write(tmp_path)
    dataset = open_dataset(tmp_path)
    assert (dataset.task, dataset.labels) == ("detect", labels)
    assert all(len(sample.boxes) == 1 and sample.path.is_file() for sample in dataset.samples)
    assert len(dataset.samples) == (sum(splits) if splits else N)
    if splits:
        assert (len(dataset.split("train")), len(dataset.split("val"))) == splits


def test_boxes_are_on_photos_and_not_on_masks_of_the_same_names(tmp_path: Path) -> None:
    DETECT["voc beside trimaps, as in Oxford pets"][0](tmp_path)
    assert [sample.name for sample in open_dataset(tmp_path).samples] == [f"images/{i}.png" for i in range(N)]


def test_decimal_commas_are_points(tmp_path: Path) -> None:
    DETECT["yolo with decimal commas"][0](tmp_path)
    assert open_dataset(tmp_path).samples[0].boxes[0].corners == pytest.approx((3.2, 2.4, 4.8, 3.6))


def test_a_pose_is_the_box_of_its_first_four_numbers(tmp_path: Path) -> None:
    DETECT["yolo poses"][0](tmp_path)
    corners = [sample.boxes[0].corners for sample in open_dataset(tmp_path).samples]
    assert corners == [pytest.approx((3.2, 2.4, 4.8, 3.6))] * N  # 0.5 +- 0.1 of 8 and of 6 px


def test_run_lengths_without_a_box_give_the_box_around_them(tmp_path: Path) -> None:
    DETECT["coco run lengths without boxes"][0](tmp_path)
    # down the columns of 6 px: 7 outside, 3 inside from column 1 row 1, 3 outside, 3 inside from column 2 row 1
    assert open_dataset(tmp_path).samples[0].boxes[0].corners == (1, 1, 3, 4)


SEGMENT: dict[str, tuple[Layout, tuple[str, ...]]] = {
    "Original and Ground Truth": (pairs_of("Original/*.tif", "Ground Truth/*.tif"), ("class 0", "class 1")),
    "names that begin with what they are": (pairs_of("images/img_00*.png", "masks/mask_00*.png"), ("class 0", "class 1")),
    "names with words around a number": (pairs_of("images/a_*_rgb.png", "masks/m_*_ids.png"), ("class 0", "class 1")),
    "names that say nothing": (pairs_of("CXR/*.png", "Manual/*_mask.png"), ("class 0", "class 1")),
    "masks beside their images": (pairs_of("*.png", "*_mask.png", 1), ("class 0", "class 1")),
    "a folder for each image, with its mask": (pairs_of("*/image.png", "*/mask.png", 1), ("class 0", "class 1")),
    "carvana's gifs": (pairs_of("train/*.png", "train_masks/*_mask.gif", 1), ("class 0", "class 1")),
    "a folder in a folder of the same name": (pairs_of("images/images/*.png", "masks/masks/*.png"), ("class 0", "class 1")),
    "alpha": (pairs_of("images/*.png", "masks/*.png", 255, "A"), ("class 0", "class 1")),
    "roboflow's masks and classes in each split": (
        lambda d: (
            pairs_of("train/*.png", "train/*_mask.png", 1)(d),
            text(d / "train/_classes.csv", "Pixel Value, Class\n0, background\n1, cat\n"),
        ),
        ("background", "cat"),
    ),
    "one folder too high, with a palette": (
        lambda d: (
            pairs_of("set/train/*.png", "set/train_labels/*_L.png", 255)(d),
            text(d / "set/class_dict.csv", "name,r,g,b\nroad,0,0,0\ncar,255,255,255\n"),
        ),
        ("road", "car"),
    ),
    "a photo and a mask beside each other, both with a word": (
        pairs_of("train/7*_sat.png", "train/7*_mask.png", 1),
        ("class 0", "class 1"),
    ),
    "ground truth by its folder's name, with other files among the photos": (
        lambda d: (pairs_of("S_Data/a*.png", "S_GroundTruth/a*_segmentation.png")(d), photos(d, "S_Data/a*_superpixels.png")),
        ("class 0", "class 1"),
    ),
    "one name for 0 and 255": (
        lambda d: (pairs_of("images/*.png", "masks/*.png")(d), text(d / "classes.txt", "polyp\n")),
        ("background", "polyp"),
    ),
}


@pytest.mark.parametrize("layout", SEGMENT)
def test_masks_are_found_wherever_they_lie(tmp_path: Path, layout: str) -> None:
    write, labels = SEGMENT[layout]
    write(tmp_path)
    dataset = open_dataset(tmp_path)
    assert (dataset.task, dataset.labels, len(dataset.samples)) == ("segment", labels, N)
    for sample in dataset.samples:
        assert sample.mask is not None
        assert sample.mask.read().tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]] * 6


def test_labels_beside_class_folders_are_mentioned(tmp_path: Path) -> None:
    classes(tmp_path, "a", "b")
    text(tmp_path / "more.csv", "filename,label\na0.png,x\nb0.png,y\n")
    assert "classes are the folders; 'more.csv' has labels as well, which are not read" in open_dataset(tmp_path).notes


def test_classes_made_of_classes_are_doubted(tmp_path: Path) -> None:
    photos(tmp_path, "*.png")
    dataset = open_dataset(text(tmp_path / "l.csv", "path,label\n0.png,a\n1.png,a|b\n2.png,b\n"))
    assert [fault.message for fault in dataset.faults] == [
        "the class 'a|b' is made of other classes, but a classifier learns one class for each image"
    ]


def linked(d: Path) -> None:
    classes(d.parent, "elsewhere/a", "elsewhere/b")
    for name in "ab":
        (d / name).symlink_to(d.parent / f"elsewhere/{name}")
    (d / "a/up").symlink_to(d)


def kaggle(d: Path) -> None:
    photos(d, "train/00*.png")
    photos(d, "test/90*.png")
    text(d / "train.csv", "id,breed\n000,a\n001,b\n002,a\n")
    text(d / "sample_submission.csv", "id,breed\n900,a\n")


CLASSIFY: dict[str, tuple[Layout, tuple[str, ...], int]] = {
    "doubled folders of archives": (
        lambda d: classes(d, "seg_train/seg_train/a", "seg_train/seg_train/b", "seg_test/seg_test/a", "seg_test/seg_test/b"),
        ("a", "b"),
        4 * N,
    ),
    "kaggle's table of identifiers": (kaggle, ("a", "b"), N),
    "classes with a table and a JSON beside them": (
        lambda d: (classes(d, "a", "b"), text(d / "meta.csv", "filename,label\nx,1\n"), text(d / "i.json", '{"images": 1}')),
        ("a", "b"),
        2 * N,
    ),
    "parts that are only numbered, with a table": (
        lambda d: (
            photos(d, "images_part_1/00*.png"),
            photos(d, "images_part_2/10*.png"),
            text(
                d / "metadata.csv",
                "lesion_id,image_id,dx\n" + "".join(f"x,{p}0{i},{'ab'[i % 2]}\n" for p in "01" for i in range(N)),
            ),
        ),
        ("a", "b"),
        2 * N,
    ),
    "digits that look like masks": (
        lambda d: [mask(d / f"{digit}/{i}.png", 255) for digit in "01" for i in range(N)],
        ("0", "1"),
        2 * N,
    ),
    "folders that are links": (linked, ("a", "b"), 2 * N),
    "names in Windows-1252": (
        lambda d: [photos(d, os.fsdecode(os.fsencode(name) + b"/*.png")) for name in (b"M\xfccke", b"K\xe4fer")],
        ("Käfer", "Mücke"),
        2 * N,
    ),
}


@pytest.mark.parametrize("layout", CLASSIFY)
def test_classes_are_found_where_they_really_are(tmp_path: Path, layout: str) -> None:
    write, labels, images = CLASSIFY[layout]
    (tmp_path / "set").mkdir()
    write(tmp_path / "set")
    dataset = open_dataset(tmp_path / "set")
    assert (dataset.task, dataset.labels, len(dataset.samples)) == ("classify", labels, images)
    assert all(sample.path.is_file() for sample in dataset.samples)
