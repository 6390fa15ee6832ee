from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from mobilenets.data.boxes import NamedBox
from mobilenets.data.open import open_dataset
from mobilenets.data.readers.box_lists import is_box_list, read_box_list
from mobilenets.data.samples import Dataset
from mobilenets.data.source import look_at
from mobilenets.data.writers.lists import write_box_list
from mobilenets.errors import DataError

SPLIT = "path,x0,y0,x1,y1,label,split\n"


def _list(folder: Path, text: str, name: str = "boxes.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_rows_of_an_image_are_gathered_and_a_bare_path_shows_nothing(tmp_path: Path) -> None:
    path = _list(
        tmp_path,
        "path,x0,y0,x1,y1,label,split,difficult,crowd\n"
        "a.jpg,1,2,3.5,4,cat,train,1,0\nb.jpg,,,,,,val,,\na.jpg,5,6,7,8,dog,train,,true\n",
    )
    listing = read_box_list(path)
    a, b = listing.entries
    assert a.boxes == (NamedBox("cat", 1, 2, 3.5, 4, difficult=True), NamedBox("dog", 5, 6, 7, 8, crowd=True))
    assert (a.path, a.split, b.boxes, b.split) == (tmp_path / "a.jpg", "train", (), "val")
    assert (listing.labels, listing.task) == (("cat", "dog"), "detect")


@pytest.mark.parametrize(
    ("header", "delimiter"),
    [
        ("filename xmin ymin xmax ymax class", ","),
        ("image x1 y1 x2 y2 label", ";"),
        ("file left top right bottom category", "\t"),
    ],
)
def test_usual_column_names_are_understood(tmp_path: Path, header: str, delimiter: str) -> None:
    rows = [header.split(), ["a.jpg", "1", "2", "3", "4", "cat"]]
    path = _list(tmp_path, "\n".join(delimiter.join(row) for row in rows), "boxes.tsv" if delimiter == "\t" else "boxes.csv")
    assert is_box_list(look_at(path))
    assert open_dataset(path, val=0, test=0).samples[0].boxes[0].corners == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("header", "box"),
    [
        ("filename,x,y,w,h,class", "10,20,30,40"),
        ("image_id,x,y,width,height,label", "10,20,30,40"),
        ("ImageID,Left,Top,Width,Height,LabelName", "10,20,30,40"),
        ("path,x_center,y_center,width,height,label", "25,40,30,40"),
        ("path,xmin,ymin,xmax,ymax,label,width,height", "10,20,40,60"),
    ],
)
def test_a_box_may_have_a_corner_or_its_center_with_a_width_and_a_height(tmp_path: Path, header: str, box: str) -> None:
    size = ",100,80" if header.endswith("width,height") else ""
    path = _list(tmp_path, f"{header}\na.jpg,{box},cat{size}\n")
    [entry] = read_box_list(path).entries
    assert entry.boxes == (NamedBox("cat", 10, 20, 40, 60),)
    assert entry.stated == ((100, 80) if size else None)  # the width of a box is not that of the image


def test_a_list_of_labels_is_none_of_boxes(tmp_path: Path) -> None:
    assert not is_box_list(look_at(_list(tmp_path, "path,label\na.jpg,cat\n")))


def test_a_point_is_no_box(tmp_path: Path) -> None:
    assert not is_box_list(look_at(_list(tmp_path, "path,x1,y1,label\na.jpg,3,4,cat\n")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,x0,y0,x1,label\n", "has no column 'y1'; found: path, x0, y0, x1, label"),
        ("path,x0,y0,x1,y1,label\n", "lists no image"),
        ("path,x0,y0,x1,y1,label\na.jpg,1,2,3,wide,cat\n", "line 2: y1 is 'wide', not a number"),
        ("path,x0,y0,x1,y1,label\na.jpg,1,2,,4,cat\n", "line 2: x1 is '', not a number"),
        ("path,x0,y0,x1,y1,label\na.jpg,1,2,3,4,\n", "line 2 has a box without a label"),
        ("path,x0,y0,x1,y1,label\n,1,2,3,4,cat\n", "line 2 has no path"),
        ("path,x0,y0,x1,y1,label\na.jpg,1,2,3,4,cat,5\n", "line 2 has 7 fields, but the header names 6: path, x0"),
        ("path,x0,y0,x1,y1,label,split\na.jpg,1,2,3,4,cat,most\n", "line 2: 'most' is not a split"),
        (f"{SPLIT}a.jpg,1,2,3,4,cat,val\na.jpg,1,2,3,4,cat,test\n", "line 3: 'a.jpg' is in the splits 'val' and 'test'"),
        (f"{SPLIT}a.jpg,1,2,3,4,cat,val\nb.jpg,1,2,3,4,cat,\n", "names a split for 1 of 2 images, but none for 'b.jpg'"),
        ("path,x0,y0,x1,y1,label,crowd\na.jpg,1,2,3,4,cat,maybe\n", "line 2: crowd is 'maybe', not 0 or 1"),
        (
            "path,x0,y0,x1,y1,label\n" + "https://host/a.jpg,0.1,0.2,0.3,1,cat\n" * 3,
            "edges as shares of images on a web server",
        ),
    ],
)  # fmt: skip
def test_a_bad_row_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_box_list(_list(tmp_path, text))


@pytest.mark.parametrize(
    "table",
    [
        "path,x0,y0,x1,y1,label\n" + "a.png,0.25,0.5,0.75,1,cat\n" * 3,
        "ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf\n" + "a,cat,0.25,0.75,0.5,1,0\n" * 3,  # Open Images
        "image,x_center,y_center,width,height,class\n" + "a.png,0.5,0.75,0.5,0.5,cat\n" * 3,
        "UNASSIGNED,gs://bucket/set/a.png,cat,0.25,0.5,,,0.75,1,,\n" * 3,  # Vertex AI
    ],
)
def test_edges_between_0_and_1_are_shares_of_the_image(tmp_path: Path, table: str) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    listing = read_box_list(_list(tmp_path, table))
    [entry] = listing.entries
    assert (entry.path, entry.split) == (tmp_path / "a.png", None)
    assert entry.boxes == (NamedBox("cat", 2, 3, 6, 6),) * 3
    assert "shares of the image" in listing.notes[0]


def test_shares_of_an_image_that_cannot_be_read_are_no_boxes(tmp_path: Path) -> None:
    [entry] = read_box_list(_list(tmp_path, "path,x0,y0,x1,y1,label\n" + "a.png,0.25,0.5,0.75,1,cat\n" * 3)).entries
    assert entry.boxes == ()


def test_two_small_boxes_are_px(tmp_path: Path) -> None:
    [entry] = read_box_list(_list(tmp_path, "path,x0,y0,x1,y1,label\n" + "a.png,0,0,1,1,cat\n" * 2)).entries
    assert entry.boxes == (NamedBox("cat", 0, 0, 1, 1),) * 2


def test_sheets_with_semicolons_have_decimal_commas(tmp_path: Path) -> None:
    [entry] = read_box_list(_list(tmp_path, 'path;x0;y0;x1;y1;label\na.png;1,5;2,5;30;4,25;"a, b"\n')).entries
    assert entry.boxes == (NamedBox("a, b", 1.5, 2.5, 30, 4.25),)


def test_a_list_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = _list(
        tmp_path,
        "path,x0,y0,x1,y1,label,split,difficult,crowd,group\n"
        "a.jpg,0.1,2,1e3,4,cat,train,1,0,g\nc/b.jpg,,,,,,val,,,\na.jpg,5,6,7,8,dog,train,0,1,g\n",
    )
    first = open_dataset(path)
    write_box_list(first, tmp_path / "again.csv")
    again = open_dataset(tmp_path / "again.csv")
    assert again == Dataset(first.labels, first.samples, "again", task="detect")


def test_drawn_splits_keep_the_shares_of_the_rarest_classes(tmp_path: Path) -> None:
    rows = [f"{i}.jpg,1,2,3,4,{'rare' if i % 10 == 0 else 'common'}\n{i}.jpg,1,2,3,4,common" for i in range(100)]
    dataset = open_dataset(_list(tmp_path, "path,x0,y0,x1,y1,label\n" + "\n".join(rows)), val=0.2, test=0.2)
    assert dataset.labels == ("common", "rare")
    assert [dataset.counts(split)[1] for split in ("train", "val", "test")] == [6, 2, 2]


def test_whole_boxes_in_one_column_are_read_as_in_kaggles_wheat_heads(tmp_path: Path) -> None:
    for name in ("b6ab77fd7", "00333207f"):
        (tmp_path / "train").mkdir(exist_ok=True)
        Image.new("RGB", (64, 48)).save(tmp_path / "train" / f"{name}.jpg")
    rows = 'b6ab77fd7,64,48,"[34.0, 22.5, 6.0, 13.0]",usask_1\nb6ab77fd7,64,48,"[2, 3, 4, 5]",usask_1\n00333207f,64,48,,x\n'
    path = _list(tmp_path, f"image_id,width,height,bbox,source\n{rows}", "train.csv")
    for source in (path, tmp_path):
        dataset = open_dataset(source, val=0, test=0)
        by_stem = {sample.path.stem: sample for sample in dataset.samples}
        assert [box.corners for box in by_stem["b6ab77fd7"].boxes] == [(34, 22.5, 40, 35.5), (2, 3, 6, 8)]
        assert by_stem["00333207f"].boxes == ()
        assert (dataset.labels, by_stem["b6ab77fd7"].stated) == (("object",), (64, 48))
        assert "the column 'bbox' was read as x, y, width and height of a box" in dataset.notes


@pytest.mark.parametrize("box", ["10 20 30 40", "[10 20 30 40]", "(10, 20, 30, 40)", '"10,20,30,40"'])
def test_whole_boxes_are_read_however_their_numbers_are_separated(tmp_path: Path, box: str) -> None:
    cell = box if box.startswith('"') or "," not in box else f'"{box}"'
    path = _list(tmp_path, f"path,label,bounding_box\na.jpg,cat,{cell}\n")
    assert read_box_list(path).entries[0].boxes == (NamedBox("cat", 10, 20, 40, 60),)


@pytest.mark.parametrize(
    ("cell", "words"), [("[1, 2, 3]", "line 2: bbox is '[1, 2, 3]', not four numbers"), ("[1, 2, x, 4]", "bbox_width is 'x'")]
)
def test_a_cell_that_is_no_box_is_named(tmp_path: Path, cell: str, words: str) -> None:
    path = _list(tmp_path, f'path,label,bbox\na.jpg,cat,"{cell}"\n')
    with pytest.raises(DataError) as caught:
        read_box_list(path)
    assert words in str(caught.value)


def test_the_sizes_of_boxes_are_not_taken_from_the_columns_of_the_image(tmp_path: Path) -> None:
    path = _list(tmp_path, "path,width,height,label,bbox_x,bbox_y,bbox_width,bbox_height\na.jpg,640,480,cat,10,20,30,40\n")
    (entry,) = read_box_list(path).entries
    assert (entry.boxes, entry.stated) == ((NamedBox("cat", 10, 20, 40, 60),), (640, 480))


def test_whole_boxes_in_lines_of_json_are_read(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    path = _list(tmp_path, '{"file_name": "a.png", "label": "cat", "bbox": [5, 6, 20, 22.5]}\n', "metadata.jsonl")
    for source in (path, tmp_path):
        assert open_dataset(source, val=0, test=0).samples[0].boxes[0].corners == (5, 6, 25, 28.5)


@pytest.mark.parametrize("column", ["BoxesString", "PredictionString"])
def test_several_boxes_in_a_cell_are_refused_by_the_name_of_their_column(column: str, tmp_path: Path) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    path = _list(tmp_path, f"image_name,{column}\na.png,5 6 20 22;1 2 3 4\n")
    with pytest.raises(DataError, match=f"has boxes in the column '{column}'; boxes are read from"):
        open_dataset(path)
