"""Small valid files of every kind that the package reads, for `mutants.py` to damage, and how each is read."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from damage import damaged_graph
from graph_files import a_graph, an_int8_graph, plan_and_write, run_natively
from PIL import Image

import mobilenets
from mobilenets.errors import DataError
from mobilenets.runtime.images.decode import decode_image
from mobilenets.runtime.manifest import METADATA_KEY, manifest_of
from mobilenets.specs.rows import Attention, BackboneSpec, Bottleneck, Conv, Separable, Universal
from mobilenets.training import record, state


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of file.

    Args:
        make: writes a valid file and what belongs to it into a folder, and returns the path of the file to damage.
        read: reads that file as the package does.
        damage: makes a mutant of its bytes; None for `mutant`.
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], object]
    damage: Callable[[bytes, random.Random], bytes] | None = None


def photo(seed: int = 0) -> Image.Image:
    """A small image of noise."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (24, 32, 3), np.uint8))


def png(image: Image.Image) -> bytes:
    """The image as a file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


PHOTO = png(photo())


def model() -> mobilenets.Model:
    """A tiny classifier."""
    contract = mobilenets.InputContract(size=32)
    return mobilenets.create(
        mobilenets.ModelSpec(BackboneSpec("plain", (Conv(8, 3, 2), Conv(8, 3, 2))), ("cat", "dog"), contract)
    )


def a_checkpoint(folder: Path) -> Path:
    """The description of a checkpoint."""
    mobilenets.save(model(), folder / "checkpoint")
    return folder / "checkpoint" / "model.json"


def a_detector(folder: Path) -> Path:
    """The description of a detector's checkpoint."""
    body = BackboneSpec("plain", (Conv(8, 3, 2), Bottleneck(16, 8, stride=2, c_squeeze=4), Universal(16, 8, 3, 3, stride=2)))
    mobilenets.save(mobilenets.create(mobilenets.ssdlite(body, ["cat", "dog"], size=32)), folder / "checkpoint")
    return folder / "checkpoint" / "model.json"


def a_segmenter(folder: Path) -> Path:
    """The description of a segmenter's checkpoint."""
    body = BackboneSpec("plain", (Conv(8, 3, 2), Separable(8, 3, 2), Attention(8, heads=2, key_dim=4), Conv(16)))
    colors = ((0, 0, 0), (255, 0, 0))
    spec = mobilenets.lraspp(body, ["road", "sky"], size=32, low="s2", output_stride=8, colors=colors)
    mobilenets.save(mobilenets.create(spec), folder / "checkpoint")
    return folder / "checkpoint" / "model.json"


def a_manifest(folder: Path) -> Path:
    """The manifest of an exported network, beside it."""
    mobilenets.export_onnx(model(), folder / "model.onnx")
    (folder / "manifest.json").write_text(manifest_of(model().spec).to_json())
    return folder / "manifest.json"


def predict_with_manifest(path: Path) -> object:
    """Put the manifest into the exported file, and predict with it."""
    network = onnx.load(path.parent / "model.onnx")
    [entry] = [entry for entry in network.metadata_props if entry.key == METADATA_KEY]
    entry.value = path.read_bytes().decode("utf-8", "replace")
    onnx.save(network, path.parent / "changed.onnx")
    return mobilenets.Predictor.open(path.parent / "changed.onnx").predict(io.BytesIO(PHOTO))


def a_recipe(folder: Path) -> Path:
    """A recipe as JSON."""
    (folder / "recipe.json").write_text(mobilenets.recipe("finetune").to_json())
    return folder / "recipe.json"


def a_run(folder: Path) -> Path:
    """The run.json of a run of one epoch."""
    return trained(folder) / "run.json"


def a_training_state(folder: Path) -> Path:
    """The training.json of a run of one epoch."""
    return trained(folder) / "last" / "training.json"


def trained(folder: Path) -> Path:
    """A run folder."""
    for i in range(8):
        (folder / "photos" / ("cat", "dog")[i % 2]).mkdir(parents=True, exist_ok=True)
        photo(i).save(folder / "photos" / ("cat", "dog")[i % 2] / f"{i}.png")
    recipe = mobilenets.Recipe(epochs=1, batch=4, workers=0, size=32)
    for _ in mobilenets.train(model(), mobilenets.open_dataset(folder / "photos"), recipe, folder / "run"):
        pass
    return folder / "run"


def resumed(path: Path) -> object:
    """Read everything that a resumed run reads of its descriptions."""
    run = path.parent if path.name == "run.json" else path.parents[1]
    return record.recipe_of(run), state.progress_of(run / "last"), mobilenets.load(run / "last")


def some_weights(folder: Path) -> Path:
    """The weights of a checkpoint."""
    mobilenets.save(model(), folder / "checkpoint")
    return folder / "checkpoint" / "model.safetensors"


def an_export(folder: Path) -> Path:
    """An exported network."""
    mobilenets.export_onnx(model(), folder / "model.onnx")
    return folder / "model.onnx"


def an_image(file_format: str) -> Callable[[Path], Path]:
    """A maker of image files in this format."""

    def make(folder: Path) -> Path:
        photo().save(folder / f"image.{file_format.lower()}", file_format)
        return folder / f"image.{file_format.lower()}"

    return make


def a_list(folder: Path) -> Path:
    """A list of images with labels."""
    for i in range(4):
        photo(i).save(folder / f"{i}.png")
    rows = "".join(f"{i}.png,{'cat' if i % 2 else 'dog'},{'train' if i < 3 else 'val'},1.5,g{i}\n" for i in range(4))
    (folder / "list.csv").write_text("path,label,split,weight,group\n" + rows)
    return folder / "list.csv"


def a_coco_file(folder: Path) -> Path:
    """A COCO file of a detection dataset."""
    for i in range(3):
        photo(i).save(folder / f"{i}.png")
    data = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 32, "height": 24} for i in range(3)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"id": i, "image_id": i % 3, "category_id": 1 + i % 2, "bbox": [2, 3, 10, 8], "area": 80, "iscrowd": 0}
            for i in range(5)
        ],
    }
    (folder / "instances_train.json").write_text(json.dumps(data))
    return folder / "instances_train.json"


def a_voc_file(folder: Path) -> Path:
    """One of the XML files of a Pascal VOC dataset."""
    for name in ("Annotations", "JPEGImages"):
        (folder / name).mkdir()
    for i in range(3):
        photo(i).save(folder / "JPEGImages" / f"{i}.jpg")
        (folder / "Annotations" / f"{i}.xml").write_text(
            f"<annotation><filename>{i}.jpg</filename><size><width>32</width><height>24</height><depth>3</depth></size>"
            "<object><name>cat</name><difficult>0</difficult><bndbox><xmin>2</xmin><ymin>3</ymin><xmax>12</xmax><ymax>11</ymax>"
            "</bndbox></object></annotation>"
        )
    return folder / "Annotations" / "1.xml"


def a_yolo_file(folder: Path) -> Path:
    """The description of a YOLO dataset."""
    for name in ("images", "labels"):
        (folder / name).mkdir()
    for i in range(3):
        photo(i).save(folder / "images" / f"{i}.jpg")
        (folder / "labels" / f"{i}.txt").write_text("0 0.5 0.5 0.25 0.25\n1 0.2 0.3 0.1 0.1\n")
    (folder / "data.yaml").write_text("path: .\ntrain: images\nnc: 2\nnames: [cat, dog]\n")
    return folder / "data.yaml"


def a_mask(folder: Path) -> Path:
    """One of the masks of a segmentation dataset."""
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for i in range(3):
        photo(i).save(folder / "images" / f"{i}.png")
        Image.fromarray(np.random.default_rng(i).integers(0, 2, (24, 32), np.uint8)).save(folder / "masks" / f"{i}.png")
    (folder / "classes.txt").write_text("road\nsky\n")
    return folder / "masks" / "1.png"


def dataset(path: Path) -> object:
    """Open the dataset that the file belongs to, and read everything in it."""
    folder = path if path.suffix == ".csv" else path.parents[1] if path.parent.name in ("Annotations", "masks") else path.parent
    opened = mobilenets.open_dataset(folder)
    for sample in opened.samples:
        try:
            image = sample.read()
        except OSError as error:  # a list may name a file that does not exist; check and train say so
            raise DataError(str(error)) from error
        decode_image(image)
        if sample.mask is not None:
            sample.mask.read()
    return opened


KINDS = {
    "model.json": Kind(a_checkpoint, lambda path: mobilenets.load(path.parent)),
    "detector.json": Kind(a_detector, lambda path: mobilenets.load(path.parent)),
    "segmenter.json": Kind(a_segmenter, lambda path: mobilenets.load(path.parent)),
    "manifest": Kind(a_manifest, predict_with_manifest),
    "recipe": Kind(a_recipe, lambda path: mobilenets.Recipe.from_json(path.read_text(encoding="utf-8", errors="replace"))),
    "run.json": Kind(a_run, resumed),
    "training.json": Kind(a_training_state, resumed),
    "safetensors": Kind(some_weights, lambda path: mobilenets.load(path.parent)),
    "graph": Kind(a_graph, plan_and_write, damaged_graph),
    "graph-int8": Kind(an_int8_graph, plan_and_write, damaged_graph),
    "native": Kind(a_graph, run_natively, damaged_graph),
    "native-int8": Kind(an_int8_graph, run_natively, damaged_graph),
    "onnx": Kind(an_export, lambda path: mobilenets.Predictor.open(path).predict(io.BytesIO(PHOTO))),
    **{
        name.lower(): Kind(an_image(name), lambda path: decode_image(path.read_bytes()))
        for name in ("JPEG", "PNG", "GIF", "TIFF", "WEBP")
    },
    "csv": Kind(a_list, dataset),
    "coco": Kind(a_coco_file, dataset),
    "voc": Kind(a_voc_file, dataset),
    "yolo": Kind(a_yolo_file, dataset),
    "mask": Kind(a_mask, dataset),
}
