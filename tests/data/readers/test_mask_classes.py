from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenets.data import masks
from mobilenets.data.masks import IGNORE
from mobilenets.data.readers.mask_classes import find_classes
from mobilenets.data.readers.mask_names import Named, read_names
from mobilenets.errors import DataError


def index(path: Path, *values: int, palette: list[int] | None = None) -> Path:
    image = Image.fromarray(np.array([values], np.uint8))
    if palette is not None:
        image.putpalette(palette)
    image.save(path)
    return path


def colored(path: Path, *colors: tuple[int, int, int]) -> Path:
    Image.fromarray(np.array([colors], np.uint8)).save(path)
    return path


def wrote(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_lines_are_names_in_the_order_of_values(tmp_path: Path) -> None:
    named = read_names(wrote(tmp_path / "classes.txt", "\ufeffsky\n\nroad surface\n# a remark\n"))
    assert named == (Named("sky", 0), Named("road surface", 1))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("palette.csv", "name,r,g,b\nsky,128,128,128\nroad,1,2,3\n"),
        ("class_dict.csv", "name; r; g; b\nsky;128;128;128\nroad;1;2;3\n"),
        ("labels.txt", "sky 128 128 128\nroad: 1,2,3\n"),
        ("label_colors.txt", "128 128 128\tsky\n1 2 3 road\n"),
        ("labelmap.txt", "# label:color_rgb:parts:actions\nsky:128,128,128::\nroad:1,2,3::\n"),
    ],
)
def test_names_with_colors_are_read_as_tools_write_them(tmp_path: Path, name: str, text: str) -> None:
    assert read_names(wrote(tmp_path / name, text)) == (Named("sky", 0, (128, 128, 128)), Named("road", 1, (1, 2, 3)))


def test_values_may_be_given(tmp_path: Path) -> None:
    assert read_names(wrote(tmp_path / "classes.csv", "id,name\n7,road\n26,car\n")) == (Named("road", 7), Named("car", 26))
    assert read_names(wrote(tmp_path / "classes.txt", "7: road\n26: car\n")) == (Named("road", 7), Named("car", 26))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("classes.txt", "sky\nsky\n", "has the name 'sky' twice"),
        ("classes.txt", "\n", "names no class"),
        ("palette.csv", "color,r\n", "has no column 'name'"),
        ("palette.csv", "name,r,g,b\nsky,1,2,300\n", "line 2: 1, 2, 300 is not a color"),
        ("classes.csv", "name,id\nsky,one\n", "'one' is not a value"),
    ],
)
def test_a_damaged_file_of_names_says_where(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_names(wrote(tmp_path / name, text))


def test_a_name_that_means_nothing_counts_nowhere(tmp_path: Path) -> None:
    wrote(tmp_path / "classes.txt", "sky\nroad\nUnlabelled\n")
    found = find_classes(tmp_path, [index(tmp_path / "a.png", 0, 1, 2, 255)])
    assert found.labels == ("sky", "road")
    assert masks.read(found.mask(tmp_path / "a.png")).tolist() == [[0, 1, IGNORE, IGNORE]]


@pytest.mark.parametrize("ignore", ["road", "1", "ROAD"])
def test_a_class_may_be_ignored_by_name_or_value(tmp_path: Path, ignore: str) -> None:
    found = find_classes(tmp_path, [index(tmp_path / "a.png", 0, 1, 2)], classes="sky,road,car", ignore=[ignore])
    assert found.labels == ("sky", "car")
    assert masks.read(found.mask(tmp_path / "a.png")).tolist() == [[0, IGNORE, 1]]


def test_a_value_without_a_name_may_be_ignored_and_is_an_error_otherwise(tmp_path: Path) -> None:
    path = index(tmp_path / "a.png", 0, 1, 11)
    assert masks.read(find_classes(tmp_path, [path], classes=["sky", "road"], ignore=["11"]).mask(path)).tolist() == [
        [0, 1, 255]
    ]
    strict = find_classes(tmp_path, [path], classes=["sky", "road"])
    assert masks.survey(strict.mask(path)).strays == {11: 1}


def test_what_cannot_be_ignored_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'rod' cannot be ignored"):
        find_classes(tmp_path, [index(tmp_path / "a.png", 0)], classes="sky,road", ignore=["rod"])


def test_without_names_the_values_are_the_classes(tmp_path: Path) -> None:
    files = [index(tmp_path / "a.png", 0, 7), index(tmp_path / "b.png", 2, 255)]
    found = find_classes(tmp_path, files)
    assert found.labels == ("class 0", "class 2", "class 7")
    assert masks.read(found.mask(files[0])).tolist() == [[0, 2]]
    assert masks.read(found.mask(files[1])).tolist() == [[1, IGNORE]]
    assert "no file names the classes" in found.notes[0]


def test_the_palette_of_index_masks_gives_the_colors(tmp_path: Path) -> None:
    found = find_classes(tmp_path, [index(tmp_path / "a.png", 0, 1, palette=[0, 0, 0, 128, 0, 0])])
    assert found.colors == ((0, 0, 0), (128, 0, 0))


PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0]


def test_a_palette_keeps_its_colors_where_names_are_given(tmp_path: Path) -> None:
    files = [index(tmp_path / "a.png", 0, 1), index(tmp_path / "b.png", 0, 1, 2, palette=PALETTE)]
    found = find_classes(tmp_path, files, classes="ground,void,house")
    assert (found.labels, found.colors) == (("ground", "house"), ((0, 0, 0), (0, 128, 0)))
    wrote(tmp_path / "classes.txt", "ground\nroad\nhouse\n")
    assert find_classes(tmp_path, files).colors == ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    assert find_classes(tmp_path, files, classes="a,b,c,d").colors == ()


def test_a_palette_of_greys_is_none(tmp_path: Path) -> None:
    grey = [value for value in range(256) for _ in range(3)]
    assert find_classes(tmp_path, [index(tmp_path / "a.png", 0, 1, palette=grey)], classes="ground,house").colors == ()


@pytest.mark.parametrize(
    ("classes", "colors"),
    [("road,sky", ((1, 2, 3), (128, 128, 128))), ("heaven,street", ((128, 128, 128), (1, 2, 3))), ("a,b,c", ())],
)
def test_a_palette_file_keeps_its_colors_where_names_are_given(
    tmp_path: Path, classes: str, colors: tuple[tuple[int, int, int], ...]
) -> None:
    """By name, and where it has other names by value."""
    wrote(tmp_path / "palette.csv", "name,r,g,b\nsky,128,128,128\nroad,1,2,3\n")
    assert find_classes(tmp_path, [index(tmp_path / "a.png", 0, 1)], classes=classes).colors == colors


def test_given_names_may_be_of_the_colors_of_a_palette_file(tmp_path: Path) -> None:
    wrote(tmp_path / "palette.csv", "name,r,g,b\nsky,128,128,128\nroad,1,2,3\n")
    path = colored(tmp_path / "a.png", (128, 128, 128), (1, 2, 3))
    found = find_classes(tmp_path, [path], classes="road,sky")
    assert (found.coding, masks.read(found.mask(path)).tolist()) == ("color", [[1, 0]])


@pytest.mark.parametrize("classes", ["", "background,cell"])
def test_masks_of_0_and_255_have_two_classes(tmp_path: Path, classes: str) -> None:
    files = [index(tmp_path / "a.png", 0, 255), index(tmp_path / "b.png", 0, 0)]
    found = find_classes(tmp_path, files, classes=classes)
    assert len(found.labels) == 2
    assert masks.read(found.mask(files[0])).tolist() == [[0, 1]]
    assert "255" in found.notes[0]


def test_colors_of_a_palette_file_are_looked_up_in_color_masks_only(tmp_path: Path) -> None:
    wrote(tmp_path / "palette.csv", "name,r,g,b\nsky,128,128,128\nvoid,0,0,0\nroad,1,2,3\n")
    color = colored(tmp_path / "a.png", (128, 128, 128), (0, 0, 0), (1, 2, 3))
    found = find_classes(tmp_path, [color])
    assert (found.coding, found.labels, found.colors) == ("color", ("sky", "road"), ((128, 128, 128), (1, 2, 3)))
    assert masks.read(found.mask(color)).tolist() == [[0, IGNORE, 1]]
    values = index(tmp_path / "b.png", 0, 1, 2)
    found = find_classes(tmp_path, [values])
    assert found.coding == "index"
    assert masks.read(found.mask(values)).tolist() == [[0, IGNORE, 1]]


def test_grey_colors_are_colors_where_the_values_are_no_classes(tmp_path: Path) -> None:
    wrote(tmp_path / "palette.csv", "name,r,g,b\nground,0,0,0\nhouse,255,255,255\n")
    path = index(tmp_path / "a.png", 0, 255)
    found = find_classes(tmp_path, [path])
    assert (found.coding, masks.read(found.mask(path)).tolist()) == ("color", [[0, 1]])


def test_a_color_may_be_ignored(tmp_path: Path) -> None:
    wrote(tmp_path / "palette.csv", "name,r,g,b\nsky,128,128,128\nroad,1,2,3\n")
    path = colored(tmp_path / "a.png", (128, 128, 128), (9, 9, 200))
    found = find_classes(tmp_path, [path], ignore=["#0909C8"])
    assert masks.read(found.mask(path)).tolist() == [[0, IGNORE]]


def test_many_values_without_names_are_taken_for_a_lossy_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="hold 200 different values") as caught:
        find_classes(tmp_path, [index(tmp_path / "a.png", *range(200))])
    assert "JPEG" in caught.value.hint


def test_color_masks_without_a_palette_file_say_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="color image") as caught:
        find_classes(tmp_path, [colored(tmp_path / "a.png", (1, 2, 3))])
    assert "palette.csv" in caught.value.hint


def test_a_text_that_is_neither_file_nor_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'names\.txt' is not a file"):
        find_classes(tmp_path, [], classes="names.txt")


def test_black_and_white_that_jpeg_blurred_is_cut_in_the_middle(tmp_path: Path) -> None:
    values = np.zeros((64, 64), np.uint8)
    values[20:50, 11:43] = 255
    Image.fromarray(values).save(tmp_path / "a.jpg", quality=60)
    stored = masks.stored(masks.Mask(tmp_path / "a.jpg"))
    assert len(np.unique(stored)) > 8
    for classes, labels in (("", ("class 0", "class 1")), (["ground", "road"], ("ground", "road"))):
        found = find_classes(tmp_path, [tmp_path / "a.jpg"], classes=classes)
        assert found.labels == labels
        assert "nearly all close to 0 or 255" in found.notes[-1]
        assert (masks.read(found.mask(tmp_path / "a.jpg")) == (values > 0)).mean() > 0.99


def test_a_single_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="masks of a single class, 'class 0'; segmentation needs two"):
        find_classes(tmp_path, [index(tmp_path / "a.png", 0, 0, 0)])


def test_a_line_of_a_million_characters_is_read_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 1 has a class name of 1,000,002 characters"):
        read_names(wrote(tmp_path / "classes.txt", "a" + " " * 1_000_000 + "b\n"))
