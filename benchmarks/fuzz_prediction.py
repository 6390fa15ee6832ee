"""Damaged images, models and manifests, thousands of each: prediction ends in a result or in an error of one line.

    python benchmarks/fuzz_prediction.py --mutants 10000

In each mutant some bytes are changed, cut out, repeated or cut off; in a manifest, values are replaced by senseless ones. The
mutants of a kind run in another process, so that a crash of a library counts and the rest goes on. Anything but a prediction
or a `MobileNetsError` (or an `OSError` for an image) counts as a failure, and its number makes the same mutant again.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import resource
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from PIL import Image

from mobilenets.errors import MobileNetsError
from mobilenets.runtime.images.decode import decode_image, read_header
from mobilenets.runtime.manifest import METADATA_KEY, Manifest
from mobilenets.runtime.predictor import Predictor
from mobilenets.specs.model import InputContract

MEMORY = 6 << 30  # bytes of address space for each process
SENSELESS: tuple[Any, ...] = (None, -1, 0, 10**9, 10**400, 1e308, -0.5, "", "x", "\0", [], {}, [[]], [1] * 99, True, "nan")


def main() -> None:
    """Run all kinds and print how many mutants of each failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=10_000, help="of images, and of models and manifests together")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--child", nargs=3, metavar=("KIND", "FIRST", "LAST"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        run_child(options.child[0], int(options.child[1]), int(options.child[2]))
        return
    failures = 0
    for kind in options.kinds:
        count = options.mutants if kind == "image" else options.mutants // 2
        failures += report(kind, count)
    sys.exit(1 if failures else 0)


def report(kind: str, count: int) -> int:
    """Run the mutants of a kind; returns how many failed."""
    first, failures, outcomes = 0, 0, {"predicted": 0, "refused": 0}
    while first < count:
        command = [sys.executable, __file__, "--child", kind, str(first), str(count)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
            assert child.stdout is not None
            for line in child.stdout:
                fields = line.rstrip("\n").split("\t")
                if len(fields) != 3 or not fields[0].isdecimal():
                    continue  # what a library printed, or a line that a crash cut off
                number, outcome, words = fields
                first = int(number) + 1
                if outcome in outcomes:
                    outcomes[outcome] += 1
                else:
                    failures += 1
                    print(f"{kind} {number}: {words}")
        if first < count:
            failures += 1
            print(f"{kind} {first}: the process ended with {child.returncode}")
            first += 1
    print(f"{kind}: {count:,} mutants, {outcomes['predicted']:,} predicted, {outcomes['refused']:,} refused, {failures} failed")
    return failures


def run_child(kind: str, first: int, last: int) -> None:
    """Print a line for each mutant: its number, what became of it, and where it failed."""
    with tempfile.TemporaryDirectory() as folder:
        try_one = KINDS[kind](Path(folder))
        for number in range(first, last):
            words = ""
            try:
                outcome = "predicted" if try_one(number) else "refused"
            except (MobileNetsError, OSError) as error:
                outcome = "refused" if "\n" not in str(error) else "failed"
                words = "" if outcome == "refused" else "more than one line"
            except Exception as error:
                place = traceback.extract_tb(error.__traceback__)[-1]
                outcome, words = (
                    "failed",
                    f"{error!r:.100} at {place.filename}:{place.lineno}".replace("\n", " ").replace("\t", " "),
                )
            print(number, outcome, words, sep="\t", flush=True)


def images(folder: Path) -> Callable[[int], bool]:
    """Mutants of small images in every common format."""
    encoded = encoded_images()
    predictor = Predictor.open(color_model(folder / "model.onnx"), threads=1)
    path = folder / "image"

    def try_one(number: int) -> bool:
        data = mutant(encoded[number % len(encoded)], number)
        (result,) = predictor.stream([data])
        if number % 4 == 0:
            path.write_bytes(data)
            for read in (read_header, decode_image):
                read(path)
        return result.prediction is not None

    return try_one


def encoded_images() -> list[bytes]:
    """A small image in every common format."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8))
    grey = Image.fromarray(np.arange(768, dtype=np.uint16).reshape(24, 32) * 80)
    exif = Image.Exif()
    exif[0x0112] = 6
    encoded = []
    for image, kind, how in (
        (noise, "JPEG", {"exif": exif}), (noise, "JPEG", {"progressive": True}), (noise, "PNG", {"exif": exif}),
        (noise.quantize(9), "PNG", {"transparency": 0}), (grey, "PNG", {}), (noise, "GIF", {}), (noise, "BMP", {}),
        (noise, "TIFF", {"compression": "tiff_lzw"}), (grey, "TIFF", {}), (noise.convert("F"), "TIFF", {}),
        (noise.convert("LAB"), "TIFF", {}), (noise.convert("CMYK"), "TIFF", {"compression": "tiff_adobe_deflate"}),
        (noise, "WEBP", {"lossless": True}), (noise, "WEBP", {}), (noise, "PPM", {}), (noise, "TGA", {}), (noise, "ICO", {}),
        (noise, "JPEG2000", {}), (noise, "PCX", {}), (noise, "DDS", {}), (noise, "SGI", {}),
    ):  # fmt: skip
        buffer = io.BytesIO()
        image.save(buffer, kind, **how)
        encoded.append(buffer.getvalue())
    return encoded


def models(folder: Path) -> Callable[[int], bool]:
    """Mutants of a whole `.onnx` file, its manifest included."""
    original = color_model(folder / "model.onnx").read_bytes()
    return lambda number: predicts(folder, mutant(original, number))


def manifests(folder: Path) -> Callable[[int], bool]:
    """A sound network with a manifest that is damaged: as text, or one value of it."""
    model = onnx.load(color_model(folder / "model.onnx"))
    (metadata,) = model.metadata_props
    text = metadata.value

    def try_one(number: int) -> bool:
        if number % 2:
            damaged = mutant(text.encode(), number).decode("utf-8", "replace")
        else:
            damaged = json.dumps(senseless(json.loads(text), random.Random(number)))
        metadata.value = damaged
        return predicts(folder, model.SerializeToString())

    return try_one


KINDS: dict[str, Callable[[Path], Callable[[int], bool]]] = {"image": images, "model": models, "manifest": manifests}


def predicts(folder: Path, model: bytes) -> bool:
    """Whether an image is predicted by the file with these bytes."""
    (folder / "mutant.onnx").write_bytes(model)
    predictor = Predictor.open(folder / "mutant.onnx", threads=1)
    prediction = predictor.predict(np.full((20, 20, 3), 90, np.uint8))
    return bool(prediction.to_json())


def mutant(data: bytes, seed: int) -> bytes:
    """The bytes with a few changes, the same for the same seed."""
    rng = random.Random(seed)
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at, length = rng.randrange(len(changed) + 1), rng.choice((1, 1, 2, 4, 64))
        way = rng.randrange(6)
        if way == 0:
            changed[at : at + length] = rng.randbytes(length)
        elif way == 1:
            changed[at : at + length] = rng.choice((b"\xff", b"\0", b"\x7f", b"\x80")) * length
        elif way == 2:
            del changed[at : at + length]
        elif way == 3:
            changed[at:at] = changed[max(0, at - length) : at]
        elif way == 4 and changed and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif way == 5 and rng.random() < 0.3:
            del changed[at:]
    return bytes(changed)


def senseless(data: Any, rng: random.Random) -> Any:
    """JSON with one value, somewhere, replaced by one that makes no sense, or one key gone or new."""
    if isinstance(data, dict) and data and rng.random() < 0.9:
        key = rng.choice(list(data))
        how = rng.random()
        if how < 0.1:
            return {name: value for name, value in data.items() if name != key}
        if how < 0.2:
            return {**data, rng.choice(("", "x", key.upper())): rng.choice(SENSELESS)}
        return {**data, key: senseless(data[key], rng)}
    if isinstance(data, list) and data and rng.random() < 0.7:
        at = rng.randrange(len(data))
        return [*data[:at], senseless(data[at], rng), *data[at + 1 :]]
    return rng.choice(SENSELESS)


def color_model(path: Path) -> Path:
    """A small network that tells red, green and blue images apart."""
    floats = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Conv", ["image", "weights"], ["map"], kernel_shape=[3, 3], strides=[2, 2]),
            onnx.helper.make_node("GlobalAveragePool", ["map"], ["pooled"]),
            onnx.helper.make_node("Flatten", ["pooled"], ["logits"]),
        ],
        "color",
        [onnx.helper.make_tensor_value_info("image", floats, ["n", 3, 16, 16])],
        [onnx.helper.make_tensor_value_info("logits", floats, ["n", 3])],
        [onnx.helper.make_tensor("weights", floats, [3, 3, 3, 3], np.arange(81) / 81)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    manifest = Manifest("color", ("red", "green", "blue"), InputContract(size=16))
    onnx.helper.set_model_props(model, {METADATA_KEY: manifest.to_json()})
    onnx.save(model, path)
    return path


if __name__ == "__main__":
    main()
