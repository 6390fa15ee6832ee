"""Accuracy and latency of float and int8 files in every runtime, from imported weights and photos, half of them to calibrate.

Photos are named by their ImageNet class, "n01440764_tench.JPEG". The float network is quantized once with photos drawn from one
half; every runtime then runs its own file of the same graph on the other half. "7 bits" are files with weights fitted anew
with 32 of the calibration photos; "as is" is the int8 file in a program that does not ask for sums without overflow. Agreement
and signal to noise are against the float file of the same runtime. Latency is processor time of one image on one thread, the
median over rounds in which all files of a network take turns.

    python benchmarks/int8_runtimes.py imagenet-sample/ imagenet-classes.json mobilenet_v2_1.0_224_quant.tflite --folder out/
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy import file
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.narrow import narrowed
from mobilenets.deploy.quantize.quantize import quantize
from mobilenets.deploy.quantize.values import decibels
from mobilenets.exporters.lower import lower
from mobilenets.exporters.table import EXPORTERS
from mobilenets.runtime.engines.base import Outputs, Runs
from mobilenets.runtime.engines.table import ENGINES
from mobilenets.runtime.images.prepare import load_input
from mobilenets.runtime.machine import machine
from mobilenets.weights.load import load

Images = NDArray[np.float32]
SEED, NARROWED_WITH = 0, 32


def main() -> None:
    """Print a table for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("classes", type=Path)
    parser.add_argument("weights", nargs="+")
    parser.add_argument("--folder", type=Path, required=True, help="for graphs and files; graphs in it are used again")
    parser.add_argument("--calibrate", type=int, default=250, help="photos of the first half to calibrate on")
    parser.add_argument("--runtimes", nargs="+", default=["onnx", "openvino", "tflite", "executorch"])
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    photos = sorted(arguments.photos.glob("*.JPEG"))
    order = np.random.default_rng(SEED).permutation(len(photos))
    index = {known["wnid"]: known["index"] for known in json.loads(arguments.classes.read_text("utf-8"))}
    here = machine()
    print(f"{here.cpu}, {here.system}, 8-bit instructions: {', '.join(here.int8) or 'none'}")
    for weights in arguments.weights:
        model = load(weights)
        first, second = np.array_split(order, 2)
        chosen = first[: arguments.calibrate], second
        calibration, judged = (np.stack([load_input(photos[i], model.spec.input) for i in part]) for part in chosen)
        truth = np.asarray([index[photos[i].name.partition("_")[0]] for i in chosen[1]])
        graphs = graphs_of(lower(model), calibration, arguments.folder / Path(weights).stem)
        print(f"\n{Path(weights).stem}: calibrated with {len(calibration)} photos, judged on {len(judged)}")
        compare(
            graphs, arguments.runtimes, judged, truth, folder=arguments.folder / Path(weights).stem, rounds=arguments.rounds
        )


def graphs_of(graph: Graph, calibration: Images, folder: Path) -> dict[str, Graph]:
    """The network in floats, in 8 bits, and with weights in 7; kept in the folder."""
    makers: dict[str, Callable[[], Graph]] = {
        "float": lambda: graph,
        "int8": lambda: quantize(graph, calibration).graph,
        "7 bits": lambda: narrowed(graphs["int8"], calibration[:NARROWED_WITH]),
    }
    graphs: dict[str, Graph] = {}
    for name, make in makers.items():
        path = folder / f"{name.replace(' ', '-')}.safetensors"
        start = time.perf_counter()
        if not path.is_file():
            file.save(make(), path)
            print(f"{path.stem} made in {time.perf_counter() - start:.0f} s", flush=True)
        graphs[name] = file.load(path)
    return graphs


def compare(
    graphs: dict[str, Graph],
    runtimes: list[str],
    images: Images,
    truth: NDArray[Any],  # Any: integers
    *,
    folder: Path,
    rounds: int,
) -> None:
    """Print accuracy, agreement, noise and latency of each graph in each runtime."""
    engines: dict[tuple[str, str], Runs] = {}
    for runtime in runtimes:
        for kind, graph in graphs.items():
            if kind != "7 bits" or runtime in ("onnx", "openvino"):
                exporter = EXPORTERS[runtime]
                path = folder / kind.replace(" ", "-") / exporter.file
                path.parent.mkdir(exist_ok=True)
                exporter.format.write(graph, path, exporter.format.batch)
                engines[runtime, kind] = ENGINES[path.suffix].open(path, threads=1)
                if kind == "int8" and runtime in AS_IS:
                    engines[runtime, "as is"] = AS_IS[runtime](path)
    outputs = {key: np.concatenate([engine.run(x[None])["logits"] for x in images]) for key, engine in engines.items()}
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in engines}
    for i in range(rounds):
        for key, engine in engines.items():
            start = time.process_time()
            engine.run(images[i % len(images)][None])
            seconds[key].append(time.process_time() - start)
    print("runtime      network   top-1   same answer   SQNR dB     ms   of float")
    for (runtime, kind), logits in outputs.items():
        expected = outputs[runtime, "float"]
        first = logits[:, logits.shape[1] - 1000 :].argmax(1)  # some weights have a background class before the others
        same = (logits.argmax(1) == expected.argmax(1)).mean()
        milliseconds = 1e3 * statistics.median(seconds[runtime, kind])
        ratio = milliseconds / (1e3 * statistics.median(seconds[runtime, "float"]))
        print(
            f"{runtime:12} {kind:8} {(first == truth).mean():6.1%} {same:12.1%} {decibels(expected, logits):10.1f} "
            f"{milliseconds:7.2f} {ratio:8.2f}",
            flush=True,
        )


class OnnxAsIs:
    """ONNX Runtime with its defaults, on one thread."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(self, batch: Images) -> Outputs:
        """The logits."""
        return {"logits": self.session.run(["logits"], {"image": batch})[0]}


class OpenVinoAsIs:
    """OpenVINO with its defaults, on one thread."""

    def __init__(self, path: Path) -> None:
        import openvino

        settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        self.request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()

    def run(self, batch: Images) -> Outputs:
        """The logits."""
        return {"logits": self.request.infer({0: batch})["logits"].copy()}


AS_IS: dict[str, Callable[[Path], Runs]] = {"onnx": OnnxAsIs, "openvino": OpenVinoAsIs}
"""Runtimes that may overflow, as programs run them that do not know it."""


if __name__ == "__main__":
    main()
