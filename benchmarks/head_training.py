"""Seconds per epoch of head training on cached features, beside fine-tuning the whole network. Same images, same weights.

Computing the features is told apart: it happens once, whatever the number of epochs.

    python benchmarks/head_training.py mobilenet_v2_1.0_224_quant.tflite --data elpv
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from mobilenets.data.open import open_dataset
from mobilenets.data.samples import Dataset
from mobilenets.model import Model
from mobilenets.training.loop import train
from mobilenets.training.recipe import Recipe
from mobilenets.training.recipes import recipe
from mobilenets.weights.load import load


def main() -> None:
    """Print both rates and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("--data", default="elpv")
    options = parser.parse_args()
    model, dataset = load(options.weights), open_dataset(options.data)
    head, features = seconds_per_epoch(model, dataset, replace(recipe("head"), epochs=20))
    whole, _ = seconds_per_epoch(model, dataset, replace(recipe("finetune"), epochs=2))
    print(
        json.dumps({"what": "head on cached features", "seconds_per_epoch": round(head, 2), "features_s": round(features, 1)})
    )
    print(json.dumps({"what": "whole network", "seconds_per_epoch": round(whole, 2)}))
    print(json.dumps({"ratio": round(whole / head, 1), "images": len(dataset.split("train"))}))


def seconds_per_epoch(model: Model, dataset: Dataset, settings: Recipe) -> tuple[float, float]:
    """Median seconds of an epoch, validation included, and the seconds before the first step."""
    began = time.perf_counter()
    start, ends = 0.0, []
    with tempfile.TemporaryDirectory() as folder:
        for step in train(model, dataset, settings, Path(folder) / "run"):
            start = start or time.perf_counter()
            if step.metrics:
                ends.append(time.perf_counter())
    return statistics.median(b - a for a, b in zip([start, *ends], ends, strict=False)), start - began


if __name__ == "__main__":
    main()
