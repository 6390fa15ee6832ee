"""Accuracy on ELPV (2,624 solar cells, defective or not) over several seeds, through the command line a user types.

Each seed makes its own 75/25 split, stratified by cell type and defect probability, trains on the 75 % (a part of which
chooses the checkpoint) and touches the test split once, at the end.

    python benchmarks/elpv.py --weights mobilenet_v2_1.0_224_quant.tflite --seeds 0 1 2
    python benchmarks/elpv.py --recipe scratch-small --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    """Train, read the test accuracy of each run's report, print the mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="none")
    parser.add_argument("--recipe", default="finetune")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--with-val", action="store_true", help="when the recipe is decided: train on all of the 75 %%")
    parser.add_argument("--out", type=Path, default=Path("runs/elpv"))
    options = parser.parse_args()
    accuracies = []
    for seed in options.seeds:
        run = options.out / f"{options.recipe}-{seed}"
        command = [sys.executable, "-m", "mobilenets", "train", "elpv", "--recipe", options.recipe]
        command += ["--weights", options.weights, "--seed", str(seed), "--out", str(run)]
        command += ["--with-val"] if options.with_val else []
        for change in options.set:
            command += ["--set", change]
        began = time.perf_counter()
        subprocess.run(command, check=True)
        minutes = (time.perf_counter() - began) / 60
        report = json.loads((run / "report" / "report.json").read_text())
        accuracies.append(report["metrics"]["top1"]["value"])
        print(json.dumps({"seed": seed, "accuracy": accuracies[-1], "minutes": round(minutes, 1)}), flush=True)
    print(json.dumps({"mean": round(statistics.mean(accuracies), 4), "accuracies": accuracies}))


if __name__ == "__main__":
    main()
