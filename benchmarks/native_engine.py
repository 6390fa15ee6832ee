"""The native engine against other runtimes: a network in each precision, runs of all taking turns in one process.

The network has random weights, and its integers are fitted to one image: only the speed is compared. Prints, for each
runtime, the time of an image, and the median of its ratios to the native engine, round by round, with the quartiles. With
`--clock cpu` the time that the process computed is compared: other programs on the machine change it less, but it counts every
thread.

    python benchmarks/native_engine.py --model mobilenet_v2 --threads 1 --seconds 60
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import mobilenets
from mobilenets.deploy import file
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.quantize.quantize import quantize
from mobilenets.deploy.write_onnx import to_onnx
from mobilenets.deploy.write_tflite import to_tflite
from mobilenets.errors import MobileNetsError
from mobilenets.exporters.executorch import write_executorch
from mobilenets.exporters.lower import lower
from mobilenets.runtime.engines.executorch import ExecuTorchEngine
from mobilenets.runtime.engines.native import NativeEngine, Plan
from mobilenets.specs.heads import HEADS

Run = Callable[[], object]
Precision = Literal["float32", "bfloat16", "int8"]
RUNS_A_TURN = 3
REST_S = 0.05
"""Between the turns of two engines with several threads: those of the one before spin for a while, and then sleep."""
OURS = "native, fastest"
CLASSES = {"ClassifierHead": 1000, "SsdHead": 20, "DeepLabHead": 21, "LrasppHead": 21}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def natively(graph: Graph, image: NDArray[Any], threads: int, folder: Path, plan: Plan) -> Run:
    """A run of the native engine under a plan."""
    file.save(graph, folder / "model.graph")
    engine = NativeEngine(folder / "model.graph", threads, plan=plan)
    print(f"  plan {plan}: arena {engine.arena_bytes / 1e6:.2f} MB, scratch {engine.scratch_bytes / 1e3:.0f} kB", flush=True)
    return lambda: engine.run(image)


def in_precision(graph: Graph, image: NDArray[Any], precision: Precision) -> Graph:
    """A network in floats in this precision; its integers are fitted to one image."""
    if precision == "int8":
        return quantize(graph, image).graph
    return replace(graph, manifest=replace(graph.manifest, precision=precision))


def by_onnxruntime(graph: Graph, image: NDArray[Any], threads: int) -> Run:
    """A run of ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(to_onnx(graph).SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"image": image})


def by_openvino(graph: Graph, image: NDArray[Any], threads: int) -> Run:
    """A run of OpenVINO."""
    import openvino

    core = openvino.Core()
    hint = "bf16" if graph.manifest.precision == "bfloat16" else "f32"
    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(core.read_model(to_onnx(graph).SerializeToString()), "CPU", settings).create_infer_request()
    return lambda: request.infer({0: image})


def by_litert(graph: Graph, image: NDArray[Any], threads: int) -> Run:
    """A run of LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=to_tflite(graph), num_threads=threads)
    interpreter.allocate_tensors()
    place, last = interpreter.get_input_details()[0]["index"], np.ascontiguousarray(image.transpose(0, 2, 3, 1))

    def run() -> None:
        interpreter.set_tensor(place, last)
        interpreter.invoke()

    return run


def by_executorch(graph: Graph, image: NDArray[Any], threads: int) -> Run:
    """A run of ExecuTorch, whose threads all files of a process share: it is opened last."""
    with tempfile.TemporaryDirectory() as folder:
        write_executorch(graph, Path(folder, "model.pte"))
        engine = ExecuTorchEngine(Path(folder, "model.pte"), threads)
    return lambda: engine.run(image)


PEERS = {"ONNX Runtime": by_onnxruntime, "OpenVINO": by_openvino, "LiteRT": by_litert, "ExecuTorch": by_executorch}


def opened(graph: Graph, image: NDArray[Any], threads: int, folder: Path) -> dict[str, Run]:
    """A run of each engine that can run the graph; says which one cannot."""
    plans: tuple[Plan, ...] = ("fastest", "fused", "layers")
    runs = {f"native, {plan}": natively(graph, image, threads, folder, plan) for plan in plans}
    for name, make in PEERS.items():
        try:
            runs[name] = make(graph, image, threads)
            runs[name]()
        except (MobileNetsError, RuntimeError, ValueError) as error:
            runs.pop(name, None)
            print(f"  not by {name}: {str(error).splitlines()[0]}", flush=True)
    return runs


def compared(runs: dict[str, Run], seconds: float, clock: Callable[[], float], rest_s: float) -> None:
    """Run all in turn, and print what each took."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[OURS]) < RUNS_A_TURN:
        for name, run in runs.items():
            time.sleep(rest_s)
            run()  # finds the caches full of what the others computed
            start = clock()
            for _ in range(RUNS_A_TURN):
                run()
            times[name].append(1000 * (clock() - start) / RUNS_A_TURN)
    ours = np.array(times[OURS])
    for name, ms in times.items():
        low, middle, high = np.quantile(np.array(ms) / ours, (0.25, 0.5, 0.75))
        least, tenth, median = np.quantile(ms, (0, 0.1, 0.5))
        print(
            f"  {name:16} {least:6.2f} {tenth:6.2f} {median:6.2f} ms   ratio {middle:.2f} ({low:.2f} to {high:.2f})", flush=True
        )


def main() -> None:
    """Print a table for each precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mobilenet_v2")
    parser.add_argument("--head", choices=list(HEADS), default="ClassifierHead")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument(
        "--precision", nargs="+", choices=["float32", "bfloat16", "int8"], default=["float32", "bfloat16", "int8"]
    )
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    options = parser.parse_args()
    labels = tuple(map(str, range(CLASSES[options.head])))
    contract = mobilenets.InputContract(size=options.size)
    spec = mobilenets.ModelSpec(mobilenets.backbone(options.model), labels, contract, HEADS[options.head]())
    floats = lower(mobilenets.create(spec))
    image = np.random.default_rng(0).normal(size=(1, 3, options.size, options.size)).astype(np.float32)
    for precision in options.precision:
        graph = in_precision(floats, image, precision)
        print(f"{options.model} {options.size} px, {precision}, {options.threads} threads: least, tenth percentile, median")
        with tempfile.TemporaryDirectory() as folder:
            runs = opened(graph, image, options.threads, Path(folder))
            compared(runs, options.seconds, CLOCKS[options.clock], REST_S if options.threads > 1 else 0)


if __name__ == "__main__":
    main()
