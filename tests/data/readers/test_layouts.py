"""Datasets as people have them, one small folder each: read as what they are, or refused by naming what was found."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenets.data.open import open_dataset
from mobilenets.errors import DataError

N = 3
BOX = "<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>5</xmax><ymax>5</ymax></bndbox>"
CSV = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
LINE = "0 .5 .5 .2 .2\n"


def photo(path: Path) -> None:
    """An image of 8 x 6 px in which no two pixels are alike."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)).save(path)


def mask(path: Path, high: int = 1, mode: str = "L") -> Path:
    """A mask whose left half is 0."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.zeros((6, 8), np.uint8)
    values[:, 4:] = high
    if mode == "A":
        Image.fromarray(np.dstack([np.zeros((6, 8, 3), np.uint8), values])).save(path)
    else:
        Image.fromarray(values).save(path)
    return path


def text(path: Path, content: str, encoding: str = "utf-8") -> Path:
    """A text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode(encoding))
    return path


def xml(name: str = "cat", file: str = "") -> str:
    """An annotation with one box."""
    return f"<annotation><filename>{file}</filename><object><name>{name}</name>{BOX}</object></annotation>"


def coco(*names: str, **more: object) -> str:
    """A COCO file with a box on each image; a key that is given as None is left out."""
    box = {"category_id": 1, "bbox": [1, 1, 3, 3], **more}
    boxes = [{"id": i, "image_id": i, **{k: v for k, v in box.items() if v is not None}} for i in range(len(names))]
    images = [{"id": i, "width": 8, "height": 6, "file_name": name} for i, name in enumerate(names)]
    return json.dumps({"images": images, "categories": [{"id": 1, "name": "cat"}], "annotations": boxes})


def each(folder: Path, image: str, annotation: str, content: str, encoding: str = "utf-8") -> Path:
    """Images with a text file each; `*` is their number."""
    for i in range(N):
        photo(folder / image.replace("*", str(i)))
        text(folder / annotation.replace("*", str(i)), content, encoding)
    return folder


def split_each(folder: Path, image: str, annotation: str, content: str) -> Path:
    """The same in train and val; `%` is the split."""
    for split in ("train", "val"):
        each(folder, image.replace("%", split), annotation.replace("%", split), content)
    return folder


def photos(folder: Path, pattern: str) -> tuple[str, ...]:
    """Images alone; their names."""
    names = [pattern.replace("*", str(i)) for i in range(N)]
    for name in names:
        photo(folder / name)
    return tuple(Path(name).name for name in names)


Layout = Callable[[Path], object]


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


def test_a_pose_is_the_box_of_its_first_four_numbers(tmp_path: Path) -> None:
    DETECT["yolo poses"][0](tmp_path)
    corners = [sample.boxes[0].corners for sample in open_dataset(tmp_path).samples]
    assert corners == [pytest.approx((3.2, 2.4, 4.8, 3.6))] * N  # 0.5 +- 0.1 of 8 and of 6 px


def test_run_lengths_without_a_box_give_the_box_around_them(tmp_path: Path) -> None:
    DETECT["coco run lengths without boxes"][0](tmp_path)
    # down the columns of 6 px: 7 outside, 3 inside from column 1 row 1, 3 outside, 3 inside from column 2 row 1
    assert open_dataset(tmp_path).samples[0].boxes[0].corners == (1, 1, 3, 4)


def pairs_of(image: str, mask_name: str, high: int = 255, mode: str = "L") -> Layout:
    """Images with masks."""

    def write(d: Path) -> None:
        for i in range(N):
            photo(d / image.replace("*", str(i)))
            mask(d / mask_name.replace("*", str(i)), high, mode)

    return write


SEGMENT: dict[str, tuple[Layout, tuple[str, ...]]] = {
    "Original and Ground Truth": (pairs_of("Original/*.tif", "Ground Truth/*.tif"), ("class 0", "class 1")),
    "names that begin with what they are": (pairs_of("images/img_00*.png", "masks/mask_00*.png"), ("class 0", "class 1")),
    "names with words around a number": (pairs_of("images/a_*_rgb.png", "masks/m_*_ids.png"), ("class 0", "class 1")),
    "names that say nothing": (pairs_of("CXR/*.png", "Manual/*_mask.png"), ("class 0", "class 1")),
    "masks beside their images": (pairs_of("*.png", "*_mask.png", 1), ("class 0", "class 1")),
    "carvana's gifs": (pairs_of("train/*.png", "train_masks/*_mask.gif", 1), ("class 0", "class 1")),
    "a folder in a folder of the same name": (pairs_of("images/images/*.png", "masks/masks/*.png"), ("class 0", "class 1")),
    "alpha": (pairs_of("images/*.png", "masks/*.png", 255, "A"), ("class 0", "class 1")),
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


def classes(d: Path, *folders: str) -> Path:
    for folder in folders:
        photos(d, f"{folder}/{folder.replace('/', '-')}*.png")
    return d


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


def beside(pattern: str, file: str, content: str) -> Layout:
    """Images and one more file."""
    return lambda d: (photos(d, pattern), text(d / file, content))


REFUSED: dict[str, tuple[Layout, str]] = {
    "images and labels of nobody": (lambda d: (photos(d, "images/*.png"), photos(d, "overlay/x*.png")), "'images'|overlay"),
    "images alone": (lambda d: photos(d, "images/*.png"), "no folder per class, but 'images'.*3 .png"),
    "kitti": (lambda d: each(d, "image_2/*.png", "label_2/*.txt", "Car 0 0 -1.5 587 173 614 200\n"), "3 .txt"),
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
    "labelme": (lambda d: each(d, "a/*.png", "a/*.json", '{"shapes": [], "imagePath": ""}'), "looks like labelme's JSON"),
    "label studio": (beside("images/*.png", "e.json", '[{"annotations": [{"lead_time": 3}]}]'), "Label Studio's own JSON"),
    "via": (beside("train/*.png", "train/via.json", '{"a": {"regions": [{"region_attributes": {}}]}}'), "VGG Image Annotator"),
    "createml": (beside("a/*.png", "c.json", '[{"annotations": [{"coordinates": {"x": 1}}]}]'), "looks like CreateML's JSON"),
    "supervisely": (beside("img/*.png", "ann/0.json", '{"objects": [{"classTitle": "a"}]}'), "looks like Supervisely's JSON"),
    "cityscapes": (
        lambda d: each(d, "leftImg8bit/train/a/*.png", "gtFine/train/a/*_gtFine_polygons.json", "{}"),
        "has the layout of Cityscapes",
    ),
    "tfrecord": (lambda d: text(d / "train/a.tfrecord", "x"), r"1 TFRecord file \(.tfrecord\), which is not read"),
    "heic": (lambda d: [text(d / f"cat/{i}.HEIC", "x") for i in range(2)], r"2 HEIC images \(.heic\), which are not read"),
    "dicom without an ending": (lambda d: text(d / "a/IM1", "\0" * 128 + "DICM"), "1 DICOM image without an ending"),
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
