"""`mobilenets show` writes one page on which every image, box and mask can be looked at."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


class Page(HTMLParser):
    """The figures of a page, the addresses that it loads from, and whether every tag is closed."""

    VOID = frozenset(("meta", "img", "input", "br"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.figures: list[dict[str, str]] = []
        self.sources: list[str] = []
        self.rects: list[dict[str, str]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        self.sources += [value for name, value in found.items() if name in ("src", "href")]
        if tag == "figure":
            self.figures.append(found)
        if tag == "rect":
            self.rects.append(found)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def picture(path: Path, seed: int, size: tuple[int, int] = (60, 40)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(values).resize(size, Image.Resampling.NEAREST).save(path)
    return path


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    for k, label in enumerate(("cat", "dog", "=owl <b>")):
        for i in range((20, 6, 3)[k]):
            picture(tmp_path / "pets" / label / f"{i}.png", 100 * k + i)
    return tmp_path / "pets"


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    rows = ["path,x0,y0,x1,y1,label,split,crowd"]
    for i in range(6):
        picture(tmp_path / f"{i}.png", i, (1200, 400))
        rows += [f"{i}.png,120,40,600,200,cat,train,0", f"{i}.png,0,0,60,40,dog,train,1"]
    path = tmp_path / "boxes.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture
def streets(tmp_path: Path) -> Path:
    for i in range(6):
        picture(tmp_path / "streets/images" / f"{i}.png", i)
        mask = np.zeros((40, 60), np.uint8)
        mask[:20, :30], mask[30:, 50:] = 1, 255
        (tmp_path / "streets/masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(tmp_path / "streets/masks" / f"{i}.png")
    (tmp_path / "streets/classes.txt").write_text("background\nroad\n")
    return tmp_path / "streets"


def shown(mobilenets: Any, *arguments: str | Path) -> tuple[Page, dict[str, Any], str]:
    out = Path(arguments[0]).parent / "page.html"
    done = mobilenets("show", *arguments, "--out", out, "--json")
    assert done.code == 0, done.err
    text = out.read_text(encoding="utf-8")
    return Page(text), json.loads(done.out), text


def test_rare_classes_are_shown_as_often_as_frequent_ones(pets: Path, mobilenets: Any) -> None:
    page, said, _ = shown(mobilenets, pets, "--count", "9")
    figures = page.figures[:9]
    assert sorted(one["data-classes"] for one in figures) == ["0"] * 3 + ["1"] * 3 + ["2"] * 3
    assert (said["images"], said["broken"]) == (9, 0)


def test_the_page_is_one_file_that_loads_nothing_and_runs_no_name(pets: Path, mobilenets: Any) -> None:
    (pets / "cat" / "</script><img src=x onerror=alert(1)>".replace("/", "")).with_suffix(".png").write_bytes(
        (pets / "cat" / "0.png").read_bytes()
    )
    page, _, text = shown(mobilenets, pets, "--count", "40")
    assert page.open == []
    assert all(source.startswith("data:image/") for source in page.sources)
    assert "<b>" not in text.replace("<b>", "", text.count("<div class='fact'><b>"))
    assert "=owl &lt;b&gt;" in text
    assert "onerror=alert(1)&gt;" in text


def test_boxes_are_drawn_where_they_are(boxes: Path, mobilenets: Any) -> None:
    page, _, _ = shown(mobilenets, boxes, "--count", "1")
    first, second = page.rects[:2]  # an image of 1200 x 400 px is shown at 480 x 160
    assert [float(first[key]) for key in ("x", "y", "width", "height")] == [48, 16, 192, 64]
    assert [float(second[key]) for key in ("x", "y", "width", "height")] == [0, 0, 24, 16]
    assert ("stroke-dasharray" in first, "stroke-dasharray" in second) == (False, True)


def test_masks_are_drawn_in_their_colors_and_background_stays_clear(streets: Path, mobilenets: Any) -> None:
    _, _, text = shown(mobilenets, streets, "--count", "1")
    png = re.search(r"class='marks mask' src='data:image/png;base64,([^']*)'", text)
    assert png is not None
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(png[1]))))
    assert pixels[5, 5].tolist() == [31, 119, 180, 255]  # the first color of the palette
    assert pixels[25, 5].tolist() == [0, 0, 0, 0]
    assert pixels[39, 59].tolist() == [255, 255, 255, 200]


@pytest.mark.parametrize(("source", "name"), [("pets", "finetune"), ("boxes", "detect"), ("streets", "segment")])
def test_a_batch_is_augmented_by_the_recipe(source: str, name: str, mobilenets: Any, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    page, said, text = shown(mobilenets, request.getfixturevalue(source), "--count", "3", "--set", "size=64")
    assert (said["recipe"], said["augmented"]) == (name, min(16, len(page.figures) - 3))
    assert said["augmented"] >= 3
    assert "input of 64 x 64 px" in text
    assert f"As training sees them: recipe {name}" in text


def test_an_image_that_cannot_be_decoded_is_shown_with_the_reason(pets: Path, mobilenets: Any) -> None:
    (pets / "dog" / "0.png").write_bytes(b"<html>")
    page, said, text = shown(mobilenets, pets, "--count", "40")
    assert said["broken"] == 1
    assert "is not an image, but a web page" in text
    assert len(page.figures) >= 29


@pytest.mark.skipif(sys.platform != "linux", reason="not every name is allowed here")
def test_names_that_are_not_utf8_are_shown_as_escapes(pets: Path, mobilenets: Any) -> None:
    (pets / "dog" / "sch\udcf6n\n.png").write_bytes((pets / "dog" / "0.png").read_bytes())
    _, _, text = shown(mobilenets, pets, "--count", "40")
    assert r"dog/sch\xf6n\n.png" in text


def test_another_seed_shows_other_images_and_the_same_seed_the_same_page(pets: Path, mobilenets: Any) -> None:
    first, again, other = (shown(mobilenets, pets, "--count", "5", "--seed", seed)[2] for seed in ("0", "0", "1"))
    assert first == again != other


def test_without_torch_the_page_says_what_is_missing(pets: Path) -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "sys.argv = ['mobilenets', 'show', sys.argv[1], '--out', sys.argv[2]]\n"
        "from mobilenets.cli.app import main\nmain()"
    )
    out = pets.parent / "page.html"
    subprocess.run([sys.executable, "-c", program, str(pets), str(out)], check=True, capture_output=True)
    assert "Augmentation needs torch: pip install &#x27;mobilenets[train]&#x27;" in out.read_text(encoding="utf-8")


def test_a_recipe_for_another_task_is_refused(pets: Path, mobilenets: Any) -> None:
    done = mobilenets("show", pets, "--recipe", "detect", "--out", pets.parent / "page.html")
    assert done.code == 1
    assert "the recipe is for detection" in done.err
    assert not (pets.parent / "page.html").exists()
