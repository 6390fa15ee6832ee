"""How TFLite's hard swish is written best: as one operator, or as an addition with a fused ReLU6 and multiplications.

Each network is written in three ways and run by LiteRT with XNNPACK, one thread, in turns; a figure is the median of the
thread's CPU time. The two-step form leaves the factor 1/6 to the weights of the next layer and is here not corrected: it shows
the time that such a rewriting would take.

    python benchmarks/hard_swish.py mobilenet_v3_large mobilenet_v3_small --rounds 60
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from mobilenets.deploy import write_tflite
from mobilenets.exporters.lower import lower
from mobilenets.model import create
from mobilenets.specs.families import backbone
from mobilenets.specs.model import InputContract, ModelSpec

Write = Callable[[Any, int, str], None]  # Any: the writer


def in_steps(*, sixth: bool) -> Write:
    """Hard swish as ADD with RELU6 and MUL, with a MUL by 1/6 or without."""

    def write(writer: Any, source: int, value: str) -> None:  # Any: as above
        draft, shape = writer.draft, writer.stored(writer.shapes[value])
        three = draft.constant(f"{value}/three", np.asarray([3], np.float32))
        cut = draft.operator("ADD", [source, three], draft.value(f"{value}/cut", shape), fusedActivationFunction="RELU6")
        if sixth:
            factor = draft.constant(f"{value}/sixth", np.asarray([1 / 6], np.float32))
            source = draft.operator(
                "MUL", [source, factor], draft.value(f"{value}/part", shape), fusedActivationFunction="NONE"
            )
        draft.operator("MUL", [source, cut], writer.make(value), fusedActivationFunction="NONE")

    return write


def main() -> None:
    """Print a line for each network and each way."""
    from ai_edge_litert.interpreter import Interpreter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+")
    parser.add_argument("--rounds", type=int, default=60)
    arguments = parser.parse_args()
    ways = {
        "HARD_SWISH": write_tflite._ACTIVATIONS["hard_swish"],
        "ADD, MUL": in_steps(sixth=False),
        "ADD, MUL, MUL": in_steps(sixth=True),
    }
    for name in arguments.networks:
        labels = tuple(str(i) for i in range(1000))
        graph = lower(create(ModelSpec(backbone(name), labels, InputContract(size=224))))
        interpreters = {}
        for way, write in ways.items():
            write_tflite._ACTIVATIONS["hard_swish"] = write
            interpreters[way] = Interpreter(model_content=write_tflite.to_tflite(graph), num_threads=1)
            interpreters[way].allocate_tensors()
            image = np.random.default_rng(0).normal(size=(1, 224, 224, 3)).astype(np.float32)
            interpreters[way].set_tensor(interpreters[way].get_input_details()[0]["index"], image)
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(arguments.rounds):
            for way, interpreter in interpreters.items():
                start = time.thread_time()
                interpreter.invoke()
                seconds[way].append(time.thread_time() - start)
        first = statistics.median(seconds["HARD_SWISH"])
        for way, times in seconds.items():
            print(f"{name}  {way:14} {1e3 * statistics.median(times):6.2f} ms  {statistics.median(times) / first:.3f}")


if __name__ == "__main__":
    main()
