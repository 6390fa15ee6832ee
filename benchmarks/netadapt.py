"""NetAdapt against the width and size ladder at equal measured latency, over several seeds.

python benchmarks/netadapt.py cifar10/ --model mobilenet_v3_large --width 0.5 --size 64 --epochs 10 --out runs/netadapt
python benchmarks/netadapt.py elpv --model mobilenet_v2 --width 0.5 --size 96 --epochs 20 --out runs/netadapt-elpv

Each seed trains a start, searches for a network at a share of its latency on this machine, and trains that network and the
best rungs of the ladder with the same recipe. The difference is on the test split. What a folder holds already is not done
again.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import replace
from pathlib import Path

import torch

from mobilenets import checkpoint
from mobilenets.data.open import open_dataset
from mobilenets.data.samples import Dataset
from mobilenets.model import create
from mobilenets.search.costs import Costs
from mobilenets.search.devices import Here
from mobilenets.search.flow import Result, search
from mobilenets.search.judge import drawn
from mobilenets.search.latency import LatencyTable
from mobilenets.search.methods import Wanted
from mobilenets.search.report import data, found, write_report
from mobilenets.search.telling import Telling
from mobilenets.specs.families import backbone
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.training.loop import train
from mobilenets.training.recipe import with_overrides
from mobilenets.training.recipes import recipe
from mobilenets.training.step import Step


def main() -> None:
    """Run every seed, and print a line for each and the mean of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--model", default="mobilenet_v3_large")
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--images", type=int, default=0, help="training images, drawn at random; 0 for all")
    parser.add_argument("--target", type=float, default=0.6, help="share of the start's latency")
    parser.add_argument("--step", type=float, default=0.02)
    parser.add_argument("--tune", type=int, default=0)
    parser.add_argument("--ladder", type=int, default=2)
    parser.add_argument("--runtime", default="onnx")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--out", type=Path, default=Path("runs/netadapt"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    gains: list[float] = []
    for seed in range(asked.first, asked.first + asked.seeds):
        result = one(asked, seed)
        rungs = [network for network in result.networks if network.finalist.origin == "ladder"]
        best = max(rungs, key=lambda network: network.finalist.value)
        mine = found(result)
        gains.append(100 * (mine.finalist.value - best.finalist.value))
        print(
            f"seed {seed}: start {result.networks[0].finalist.value:.2%}, NetAdapt {mine.finalist.value:.2%} at "
            f"{mine.measured_ms:.3f} ms, {best.finalist.title} {best.finalist.value:.2%} at {best.measured_ms:.3f} ms: "
            f"{gains[-1]:+.2f} points",
            flush=True,
        )
    spread = f", standard deviation {statistics.stdev(gains):.2f}" if len(gains) > 1 else ""
    print(f"NetAdapt against the best of the ladder: {statistics.mean(gains):+.2f} points over {len(gains)} seeds{spread}")


def one(asked: argparse.Namespace, seed: int) -> Result:
    """The search of one seed."""
    home = asked.out / f"seed-{seed}"
    dataset = part_of(open_dataset(asked.data, seed=seed), asked.images, seed)
    changes = [f"epochs={asked.epochs}", f"seed={seed}", f"size={asked.size}", "time_budget_minutes=0", "workers=0"]
    how = with_overrides(recipe("scratch-small"), changes)
    body = backbone(asked.model, width=asked.width)
    spec = ModelSpec(replace(body, size=asked.size), dataset.labels, InputContract(size=asked.size))
    resumes = checkpoint.settled(home / "start" / "last").is_dir()
    for step in train(create(spec, seed=seed), dataset, how, home / "start", resume=resumes, source=asked.data):
        told(step)
    start = checkpoint.load(home / "start")
    device = Here(asked.runtime)
    path = asked.out / "latency.jsonl"
    table = LatencyTable.read(path) if path.is_file() else LatencyTable(device.device, path)
    costs = Costs(table, device)
    budget = home / "budget.json"
    if not budget.is_file():
        (ms,) = costs.check([start.spec])
        budget.write_text(json.dumps({"start_ms": ms, "ms": asked.target * ms}))
    wanted = Wanted(
        {"ms": json.loads(budget.read_text())["ms"]}, share=asked.step, tune=asked.tune, rungs=asked.ladder, seed=seed
    )
    telling = Telling(said=lambda text: print(text, flush=True), trained=told)
    result = search(
        start,
        dataset,
        how,
        wanted,
        costs,
        home,
        to=asked.runtime,
        source=asked.data,
        telling=telling,
    )
    write_report(result, title=f"{asked.model} on {dataset.name}, seed {seed}", facts=vars(asked))
    (home / "result.json").write_text(json.dumps(data(result)))
    return result


def part_of(dataset: Dataset, images: int, seed: int) -> Dataset:
    """The dataset with so many training images at most."""
    if not images:
        return dataset
    kept = drawn(dataset.split("train"), images, seed)
    return replace(dataset, samples=(*kept, *(sample for sample in dataset.samples if sample.split != "train")))


def told(step: Step) -> None:
    """A line for each epoch."""
    if step.metrics:
        print(f"epoch {step.epoch}/{step.epochs}", {name: round(value, 4) for name, value in step.metrics.items()}, flush=True)


if __name__ == "__main__":
    main()
