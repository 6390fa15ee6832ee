"""Accuracy on ELPV (2,624 solar cells, whole or defective) over several seeds, through the command line a user types.

Each seed makes its own 75/25 split, stratified by cell type and defect probability, trains on the 75% (part of which
chooses the checkpoint), and evaluates on the test split once, at the end.

    python benchmarks/elpv.py --weights mobilenet_v2_1.0_224_quant.tflite --seeds 0 1 2
    python benchmarks/elpv.py --recipe scratch-small --seeds 0 1 2
"""

from __future__ import annotations

import json
import statistics

import runs


def main() -> None:
    """Train once per seed, and print the test accuracy of each run's report and the mean."""
    parser = runs.parser(__doc__, recipe="finetune", out="runs/elpv")
    parser.add_argument("--weights", default="none")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--with-val", action="store_true", help="once the recipe is decided: train on all of the 75%%")
    options = parser.parse_args()
    accuracies = []
    for seed in options.seeds:
        run = options.out / f"{options.recipe}-{seed}"
        arguments = ["--recipe", options.recipe, "--weights", options.weights, "--seed", str(seed)]
        arguments += ["--with-val"] if options.with_val else []
        minutes = runs.trained("elpv", run, arguments, options.set)
        accuracies.append(runs.metrics_of(run)["top1"]["value"])
        print(json.dumps({"seed": seed, "accuracy": accuracies[-1], "minutes": round(minutes, 1)}), flush=True)
    print(json.dumps({"mean": round(statistics.mean(accuracies), 4), "accuracies": accuracies}))


if __name__ == "__main__":
    main()
