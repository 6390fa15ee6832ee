"""How well the latency table predicts whole networks: pieces measured once, against random networks measured as a whole.

python benchmarks/latency_table.py --runtime onnx
python benchmarks/latency_table.py --runtime tflite --networks 30 --known 8

Random networks are the papers' networks at random widths and input sizes, with random channels on a third of their axes. The
first ones correct the table, as the start and some steps do in a search; the errors are those of the others. Each is measured
twice, the second time after all others: how far the two are apart is the error that no table can avoid.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from dataclasses import replace

import torch

from mobilenets.documents import encode
from mobilenets.errors import SpecError
from mobilenets.exporters.lower import lower
from mobilenets.model import create
from mobilenets.search.axes import knobs, resized, sizes
from mobilenets.search.costs import Costs
from mobilenets.search.devices import Here
from mobilenets.search.latency import TOLERANCE, LatencyTable
from mobilenets.specs.families import backbone
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.rows import BackboneSpec

NAMES = ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "mobilenet_v4_conv_small")
SIZES = (96, 128, 160, 192, 224)
WIDTHS = (0.5, 0.75, 1.0)


def main() -> None:
    """Measure, and print a line for each network and the errors of all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", default="onnx")
    parser.add_argument("--networks", type=int, default=30)
    parser.add_argument("--known", type=int, default=8, help="networks that correct the table")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    random_of = random.Random(asked.seed)
    specs = [drawn(random_of) for _ in range(asked.known + asked.networks)]
    device = Here(asked.runtime, rounds=asked.rounds)
    costs = Costs(LatencyTable(device.device), device)
    print(f"{device.device}: {costs.learn(specs)} pieces")
    graphs = [lower(create(spec)) for spec in specs]
    measured, again = device.latencies_ms(graphs), device.latencies_ms(graphs)
    table = costs.table
    assert table is not None
    wholes = [costs.whole(spec, ms) for spec, ms in zip(specs, measured, strict=True)]
    first = table.calibration()
    for whole in wholes[: asked.known]:
        table.add_whole(whole)
    fitted = table.calibration()
    errors, raw, floor = [], [], []
    for spec, whole, second in list(zip(specs, wholes, again, strict=True))[asked.known :]:
        errors.append(fitted.predicted_ms(whole.sum_ms, whole.pieces, whole.moved, whole.weights) / whole.ms - 1)
        raw.append(first.predicted_ms(whole.sum_ms, whole.pieces, whole.moved, whole.weights) / whole.ms - 1)
        floor.append(second / whole.ms - 1)
        name = f"{spec.backbone.name:24} {spec.backbone.width:4g} {spec.input.size:3} px"
        print(f"{name}  {whole.ms:7.3f} ms, again {floor[-1]:+6.1%}, predicted {errors[-1]:+6.1%}, uncorrected {raw[-1]:+6.1%}")
    print(
        f"corrected by {asked.known} networks: factor {fitted.factor:.3f}, {1000 * fitted.call_ms:.1f} us for each piece, "
        f"{fitted.move_ms:.3f} ms for a million numbers between them, {fitted.load_ms:.3f} ms for a million weights"
    )
    for name, values in (("predicted", errors), ("uncorrected", raw), ("measured again", floor)):
        print(f"{name:15} {told(values)}")
    networks = [encode(whole) for whole in wholes]
    print(json.dumps({"device": str(device.device), "errors": errors, "again": floor, "networks": networks}))


def told(values: list[float]) -> str:
    """The errors in words."""
    absolute = sorted(map(abs, values))
    within = sum(value <= TOLERANCE for value in absolute)
    return (
        f"error: median {statistics.median(absolute):.1%}, 90% up to {absolute[int(0.9 * (len(absolute) - 1))]:.1%}, largest "
        f"{absolute[-1]:.1%}; {within} of {len(values)} within {TOLERANCE:.0%}"
    )


def drawn(random_of: random.Random) -> ModelSpec:
    """A random network."""
    body: BackboneSpec = backbone(random_of.choice(NAMES), width=random_of.choice(WIDTHS))
    for axis in random_of.sample(knobs(body), len(knobs(body)) // 3):
        channels = max(8, round(sizes(body)[axis] * random_of.uniform(0.3, 1.0) / 8) * 8)
        try:
            body = resized(body, {axis: channels})
        except SpecError:
            continue  # it would gain a residual
    size = random_of.choice(SIZES)
    return ModelSpec(replace(body, size=size), tuple(map(str, range(10))), InputContract(size=size))


if __name__ == "__main__":
    main()
