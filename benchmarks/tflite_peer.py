"""Our TFLite file beside litert-torch's of the same network: size, latency and difference.

litert-torch (922 MB) wants an environment of its own, so there are two steps:

    python -m venv other && other/bin/pip install . litert-torch==0.10.0
    other/bin/python benchmarks/tflite_peer.py write theirs/ mobilenet_v2 mobilenet_v3_large
    python benchmarks/tflite_peer.py compare theirs/ mobilenet_v2 mobilenet_v3_large

Latency is the median of one thread's CPU time over 60 rounds, in which both files take turns.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mobilenets.model import Model, create
from mobilenets.specs.families import backbone
from mobilenets.specs.model import InputContract, ModelSpec

ROUNDS = 60


def model(name: str) -> Model:
    """The network with random weights, 1000 classes, 224 px."""
    labels = tuple(str(i) for i in range(1000))
    return create(ModelSpec(backbone(name), labels, InputContract(size=224))).eval()


class ChannelsLast(torch.nn.Module):
    """A network that takes images N H W C, as the other file does."""

    def __init__(self, network: Model) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> Any:  # Any: as of a model
        """The logits."""
        return self.network(image.permute(0, 3, 1, 2))


def write(folder: Path, names: list[str]) -> None:
    """Write litert-torch's files."""
    import litert_torch  # type: ignore[import-not-found]  # in an environment of its own

    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        example = (torch.zeros(1, 224, 224, 3),)
        litert_torch.convert(ChannelsLast(model(name)).eval(), example).export(str(folder / f"{name}.tflite"))


def compare(folder: Path, names: list[str]) -> None:
    """Print a line for each network."""
    from ai_edge_litert.interpreter import Interpreter

    from mobilenets.deploy.write_tflite import to_tflite
    from mobilenets.exporters.lower import lower

    for name in names:
        files = {"ours": to_tflite(lower(model(name))), "theirs": (folder / f"{name}.tflite").read_bytes()}
        image = np.random.default_rng(0).normal(size=(1, 224, 224, 3)).astype(np.float32)
        interpreters, outputs = {}, {}
        for whose, data in files.items():
            interpreter = interpreters[whose] = Interpreter(model_content=data, num_threads=1)
            interpreter.allocate_tensors()
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
            interpreter.invoke()
            outputs[whose] = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        seconds: dict[str, list[float]] = {whose: [] for whose in files}
        for i in range(ROUNDS):
            for whose in sorted(files, reverse=bool(i % 2)):
                start = time.thread_time()
                interpreters[whose].invoke()
                seconds[whose].append(time.thread_time() - start)
        ours, theirs = (1e3 * statistics.median(seconds[whose]) for whose in ("ours", "theirs"))
        sizes = len(files["ours"]), len(files["theirs"])
        difference = np.abs(outputs["ours"] - outputs["theirs"]).max() / np.abs(outputs["theirs"]).max()
        print(f"{name}: {ours:.2f} and {theirs:.2f} ms ({ours / theirs:.3f}), {sizes} bytes, difference {difference:.1e}")


if __name__ == "__main__":
    {"write": write, "compare": compare}[sys.argv[1]](Path(sys.argv[2]), sys.argv[3:])
