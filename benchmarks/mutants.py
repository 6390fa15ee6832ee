"""Damaged files by the thousand: every reader must either accept one or refuse it with a message. Anything else is a fault.

A fault is an exception that is not a `MobileNetsError` (a traceback for the user), a crash of the process, more than 20 s, or
more than 4 GiB of memory beyond what the process starts with. Mutants are drawn from a seed, and `--keep DIR` saves those that
are faults.

    python benchmarks/mutants.py                                  # every kind, 1,000 mutants each
    python benchmarks/mutants.py --kinds model.json coco --count 10000
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from graph_files import a_graph, an_int8_graph, plan_and_write, run_natively
from PIL import Image

import mobilenets
from mobilenets.errors import DataError, MobileNetsError
from mobilenets.runtime.images.decode import decode_image
from mobilenets.runtime.manifest import METADATA_KEY, manifest_of
from mobilenets.specs.rows import Attention, BackboneSpec, Bottleneck, Conv, Separable, Universal
from mobilenets.training import record, state

SECONDS, BYTES = 20, 4 << 30  # of processor time, and of memory
ODD: tuple[Any, ...] = (  # Any: JSON values
    None, True, -1, 0, 2, 10**9, 10**400, -(10**30), 0.5, -1e308, 1e999, float("nan"), "", "x", "NaN", "\ud800", "a\n\x00b",
    "1e5", [], {}, [[]], [None], {"": {}}, "../../etc/passwd", "x" * 10_000,
)  # fmt: skip


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
    "graph": Kind(a_graph, plan_and_write, lambda data, generator: damaged_graph(data, generator)),
    "graph-int8": Kind(an_int8_graph, plan_and_write, lambda data, generator: damaged_graph(data, generator)),
    "native": Kind(a_graph, run_natively, lambda data, generator: damaged_graph(data, generator)),
    "native-int8": Kind(an_int8_graph, run_natively, lambda data, generator: damaged_graph(data, generator)),
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


def main() -> int:
    """Print a line for each kind; 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--count", type=int, default=1000, help="mutants of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the mutants that are faults")
    options = parser.parse_args()
    faults = 0
    for kind in options.kinds:
        start = time.monotonic()
        outcomes = attacked(kind, options.count, options.seed, options.keep)
        bad = {name: count for name, count in outcomes.items() if name not in ("accepted", "refused")}
        faults += sum(bad.values())
        counts = {"mutants": options.count, "accepted": outcomes["accepted"], "refused": outcomes["refused"]}
        print(json.dumps({"kind": kind, **counts, "faults": bad, "seconds": round(time.monotonic() - start)}), flush=True)
    return int(faults > 0)


def attacked(kind: str, count: int, seed: int, keep: Path | None) -> Counter[str]:
    """How often each outcome occurred: "accepted", "refused", or the name of a fault."""
    outcomes: Counter[str] = Counter()
    context, first = multiprocessing.get_context("spawn"), 0
    while first < count:
        ours, theirs = context.Pipe()
        process = context.Process(target=worker, args=(kind, first, count, seed, keep, theirs))
        process.start()
        theirs.close()
        started = False
        try:
            while True:
                outcomes[ours.recv()] += 1
                started, first = True, first + 1
        except EOFError:
            process.join()
        if first < count and not started and process.exitcode == 1:
            sys.exit(f"{kind}: the undamaged file cannot be read")
        if first < count:  # the process died on this mutant
            outcomes[f"process ended with {process.exitcode}"] += 1
            first += 1
    return outcomes


def worker(kind: str, first: int, count: int, seed: int, keep: Path | None, pipe: Connection) -> None:
    """Read the mutants from `first` on, and send the outcome of each."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        path = KINDS[kind].make(Path(name))
        original = path.read_bytes()
        KINDS[kind].read(path)  # imports everything, and must work
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, used + BYTES))
        signal.signal(signal.SIGPROF, late)
        damage = KINDS[kind].damage or mutant
        for i in range(first, count):
            path.write_bytes(damage(original, random.Random(f"{seed} {kind} {i}")))
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            outcome = outcome_of(kind, path)
            signal.setitimer(signal.ITIMER_PROF, 0)
            if keep is not None and outcome not in ("accepted", "refused"):
                keep.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, keep / f"{kind}-{i}{path.suffix}")
            pipe.send(outcome)
    pipe.close()


def late(*_: object) -> None:
    """Interrupt a reader that takes too long."""
    raise TimeoutError


def outcome_of(kind: str, path: Path) -> str:
    """What the reader makes of the file."""
    try:
        KINDS[kind].read(path)
    except MobileNetsError:
        return "refused"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:60]}"
    return "accepted"


def mutant(original: bytes, generator: random.Random) -> bytes:
    """A damaged copy: one to four changes of bytes or, for JSON, mostly of values."""
    try:
        document = json.loads(original)
    except ValueError:
        document = None
    if document is not None and generator.random() < 0.75:
        for _ in range(generator.randint(1, 3)):
            document = changed_value(document, generator)
        return json.dumps(document).encode("utf-8", "surrogatepass")
    data = bytearray(original)
    for _ in range(generator.randint(1, 4)):
        change_bytes(data, generator)
    return bytes(data)


def damaged_graph(original: bytes, generator: random.Random) -> bytes:
    """A damaged copy of a graph: mostly of the values in its header, which stays valid around them."""
    if generator.random() < 0.25:
        return mutant(original, generator)
    end = 8 + int.from_bytes(original[:8], "little")
    header = json.loads(original[8:end])
    if generator.random() < 0.8:
        operators = json.loads(header["__metadata__"]["graph"])
        for _ in range(generator.randint(1, 3)):
            operators = changed_value(operators, generator)
        header["__metadata__"]["graph"] = json.dumps(operators)
    else:
        header = changed_value(header, generator)
    changed = json.dumps(header).encode("utf-8", "surrogatepass")
    return len(changed).to_bytes(8, "little") + changed + original[end:]


def changed_value(value: Any, generator: random.Random) -> Any:  # Any: JSON
    """JSON with one value replaced, removed or repeated somewhere inside."""
    if isinstance(value, (dict, list)) and value and generator.random() < 0.85:
        place = generator.choice(list(value) if isinstance(value, dict) else range(len(value)))
        copy = value.copy()
        action = generator.random()
        if action < 0.1:
            del copy[place]
        elif action < 0.15 and isinstance(copy, dict):
            copy[generator.choice(("", "x", str(place).upper()))] = copy.pop(place)
        elif action < 0.2 and isinstance(copy, list):
            copy += [copy[place]] * generator.choice((1, 1000))
        else:
            copy[place] = changed_value(copy[place], generator)
        return copy
    return generator.choice(ODD)


def change_bytes(data: bytearray, generator: random.Random) -> None:
    """Flip, cut, insert, repeat or overwrite bytes in place."""
    if not data:
        data += b"\x00"
    i, length = generator.randrange(len(data)), generator.choice((1, 2, 4, 16, 256))
    match generator.randrange(6):
        case 0:
            data[i] ^= 1 << generator.randrange(8)
        case 1:
            del data[i:]
        case 2:
            del data[i : i + length]
        case 3:
            data[i:i] = generator.randbytes(length)
        case 4:
            data[i:i] = data[i : i + length] * generator.choice((1, 2, 50))
        case _:
            data[i : i + length] = generator.choice((b"\x00", b"\xff", b"9", b"-", b"\n", b'"', b"<", b"[")) * length


if __name__ == "__main__":
    sys.exit(main())
