from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from mobilenets.errors import UsageError
from mobilenets.runtime.detect.decode import Detections
from mobilenets.runtime.detect.tiles import merged, predict_tiles, predict_tiles_decoded, tiles
from mobilenets.runtime.engines.base import Engine
from mobilenets.runtime.manifest import Manifest
from mobilenets.runtime.predictor import Predictor
from mobilenets.specs.model import InputContract
from mobilenets.specs.ssd import SsdHead

SIZE = 200
Box = tuple[int, int, int, int]


class Shades(Engine):
    """Finds every object of its own shade of grey, as far as it is in view; the less there is, the higher it scores."""

    outputs = ("boxes", "scores", "classes")
    concurrent = True

    def run(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        n = len(batch)
        boxes, scores = np.zeros((n, 100, 4), np.float32), np.zeros((n, 100), np.float32)
        classes = np.full((n, 100), -1, np.float32)
        for i, image in enumerate(np.rint(batch[:, 0] * 255).astype(np.int64)):
            for k, shade in enumerate(np.setdiff1d(image, [0])):
                y, x = np.nonzero(image == shade)
                boxes[i, k] = x.min(), y.min(), x.max() + 1, y.max() + 1
                scores[i, k] = 1 / (1 + len(x) / 10_000)
                classes[i, k] = 0
        return {"boxes": boxes, "scores": scores, "classes": classes}


HEAD = SsdHead(maps=("s32",), strides=(32,), anchors=(((1 / 3, 1.0),),), extras=())


def predictor(size: int = SIZE) -> Predictor:
    contract = InputContract(size=size, mean=(0, 0, 0), std=(1, 1, 1), resize="stretch", crop=1.0, interpolation="nearest")
    return Predictor(Manifest("shades", ("thing",), contract, HEAD), Shades(), threads=2, runs=2)


def scene(width: int, height: int, objects: list[Box]) -> Image.Image:
    pixels = np.zeros((height, width, 3), np.uint8)
    for shade, (x0, y0, x1, y1) in enumerate(objects, start=1):
        pixels[y0:y1, x0:x1] = shade
    return Image.fromarray(pixels)


def boxes(found: Detections) -> list[Box]:
    return sorted((round(x0), round(y0), round(x1), round(y1)) for x0, y0, x1, y1 in found.boxes.tolist())


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), st.integers(64, 300), st.sampled_from([0.0, 0.2, 0.5, 0.9]))
def test_tiles_have_one_size_lie_in_the_image_and_cover_it_with_the_overlap(w: int, h: int, tile: int, overlap: float) -> None:
    found = tiles(w, h, tile=tile, overlap=overlap)
    for low, high, length in ((0, 2, w), (1, 3, h)):
        spans = sorted({(one[low], one[high]) for one in found})
        assert {end - start for start, end in spans} == {min(tile, length)}
        assert (spans[0][0], spans[-1][1]) == (0, length)
        shared = [one[1] - two[0] for one, two in itertools.pairwise(spans)]
        assert min(shared, default=tile) >= int(tile * overlap) - 1


def test_an_object_on_the_border_of_tiles_is_found_once() -> None:
    objects = [(150, 90, 185, 120), (150, 300, 190, 330), (170, 165, 205, 195), (300, 20, 320, 60)]
    found = predict_tiles_decoded(predictor(), scene(600, 500, objects), tile=SIZE, overlap=0.25)
    assert boxes(found) == sorted(objects)
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_objects_smaller_than_the_overlap_are_found_once_wherever_they_lie(seed: int) -> None:
    numbers = np.random.default_rng(seed)
    objects = []
    for y in range(0, 480, 60):  # one in each cell of a grid, so that none hides another
        for x in range(0, 660, 60):
            (x0, y0), (w, h) = numbers.integers(0, 20, 2), numbers.integers(8, 40, 2)
            objects.append((int(x + x0), int(y + y0), int(x + x0 + w), int(y + y0 + h)))
    found = predict_tiles_decoded(predictor(), scene(660, 480, objects), tile=SIZE, overlap=0.25)
    assert boxes(found) == sorted(objects)


@pytest.mark.parametrize(
    "box", [(120, 150, 330, 180), (100, 100, 350, 300), (10, 10, 590, 490), (0, 230, 600, 250), (190, 190, 201, 400)]
)
def test_an_object_larger_than_the_overlap_is_joined_from_its_parts(box: Box) -> None:
    assert boxes(predict_tiles_decoded(predictor(), scene(600, 500, [box]), tile=SIZE, overlap=0.2)) == [box]


def test_neighbors_of_one_label_stay_apart() -> None:
    objects = [(100, 100, 145, 140), (145, 100, 190, 140), (190, 100, 235, 140), (100, 140, 145, 180)]
    found = predict_tiles_decoded(predictor(), scene(600, 500, objects), tile=SIZE, overlap=0.3)
    assert boxes(found) == sorted(objects)


def test_a_part_gives_way_to_an_entire_object_that_scores_less() -> None:
    regions = [(0, 0, 100, 100), (60, 0, 160, 100)]
    left = Detections(("a",), np.array([[50, 40, 90, 60]], np.float32), np.array([0.4], np.float32), np.zeros(1, np.int64))
    right = Detections(("a",), np.array([[60, 41, 88, 62]], np.float32), np.array([0.9], np.float32), np.zeros(1, np.int64))
    found = merged([left, right], regions, (160, 100), iou=0.6)
    assert boxes(found) == [(50, 40, 90, 60)]
    assert found.scores.tolist() == pytest.approx([0.9])


def test_parts_of_two_labels_are_two_objects() -> None:
    regions = [(0, 0, 100, 100), (60, 0, 160, 100)]
    left = Detections(("a", "b"), np.array([[50, 40, 90, 60]], np.float32), np.array([0.4], np.float32), np.array([0]))
    right = Detections(("a", "b"), np.array([[60, 40, 90, 60]], np.float32), np.array([0.9], np.float32), np.array([1]))
    assert merged([left, right], regions, (160, 100), iou=0.6).names == ("b", "a")


def test_the_whole_image_shows_what_no_tile_can() -> None:
    class Largest(Shades):
        """Sees only what is entire, with a margin: as a network does that never learned parts."""

        def run(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
            found = super().run(batch)
            entire = (found["boxes"][..., :2].min(axis=-1) > 0) & (found["boxes"][..., 2:].max(axis=-1) < SIZE)
            return {**found, "classes": np.where(entire, found["classes"], -1)}

    objects = [(20, 420, 50, 450), (30, 30, 570, 351)]
    sees = Predictor(predictor().manifest, Largest(), threads=1)
    assert boxes(predict_tiles_decoded(sees, scene(600, 600, objects), tile=SIZE)) == [objects[0]]
    assert boxes(predict_tiles_decoded(sees, scene(600, 600, objects), tile=SIZE, whole=True)) == objects


def test_an_image_within_a_tile_is_looked_at_as_any_other(tmp_path: Path) -> None:
    scene(90, 60, [(10, 20, 40, 50)]).save(tmp_path / "small.png")
    found = predict_tiles(predictor(), tmp_path / "small.png", tile=SIZE)
    whole = predictor().predict(tmp_path / "small.png")
    assert isinstance(whole, Detections)
    assert found.boxes.tolist() == whole.boxes.tolist() == pytest.approx(np.array([[10, 20, 40, 50]]), abs=0.6)


def test_a_narrow_image_is_filled_up_so_that_objects_keep_their_shape() -> None:
    shapes: list[tuple[int, int]] = []

    class Watched(Shades):
        def run(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
            found = super().run(batch)
            shapes.extend((round(box[2] - box[0]), round(box[3] - box[1])) for box in found["boxes"][found["classes"] >= 0])
            return found

    strip = scene(500, 60, [(20, 10, 50, 40)])
    found = predict_tiles_decoded(Predictor(predictor().manifest, Watched(), threads=1), strip, tile=SIZE)
    assert boxes(found) == [(20, 10, 50, 40)]
    assert set(shapes) == {(30, 30)}


def test_progress_counts_the_tiles() -> None:
    seen: list[tuple[int, int]] = []
    predict_tiles_decoded(
        predictor(), scene(500, 300, []), tile=SIZE, overlap=0.2, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(i, 6) for i in range(1, 7)]


def test_what_cannot_be_is_said(color_model: Path) -> None:
    with pytest.raises(UsageError, match="task is 'classify'"):
        predict_tiles_decoded(Predictor.open(color_model), scene(30, 30, []), tile=20)
    with pytest.raises(UsageError, match="overlap 1 is not between"):
        predict_tiles_decoded(predictor(), scene(500, 300, []), tile=SIZE, overlap=1)
    with pytest.raises(UsageError, match="a tile of 0 px"):
        predict_tiles_decoded(predictor(), scene(500, 300, []), tile=0)


@pytest.mark.slow
def test_an_image_of_100_megapixels_takes_less_than_600_megabytes(cell_model: Path, tmp_path: Path) -> None:
    image = Image.new("RGB", (10_000, 10_000))
    image.paste("red", (2240, 2240, 2880, 2880))
    image.paste("blue", (7680, 5120, 8320, 5760))
    image.save(tmp_path / "large.png", compress_level=1)
    image.close()
    program = f"""
import re
from pathlib import Path
from mobilenets.runtime.detect.tiles import predict_tiles
from mobilenets.runtime.predictor import Predictor
found = predict_tiles(Predictor.open({str(cell_model)!r}), {str(tmp_path / "large.png")!r}, tile=960).above(0.5)
print(sorted(set(found.names)), int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True)
    names, megabytes = done.stdout.rsplit(" ", 1)
    assert names == "['rose', 'sky']"
    assert int(megabytes) < 600  # of which the image is 381
