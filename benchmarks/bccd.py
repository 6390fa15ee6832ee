"""Accuracy on BCCD (364 images of blood cells with boxes), through the command line a user types.

SSDLite on MobileNetV2 at 320 px trains on the train and val splits and is evaluated once, at the end, on the 72 test images.
Choose the recipe beforehand, on val, with `mobilenets train`. `bccd_torchvision.py` is the counterpart.

    python benchmarks/bccd.py BCCD --weights mobilenet_v2_1.0_224_quant.tflite --set time_budget_minutes=55
"""

from __future__ import annotations

import json

import runs


def main() -> None:
    """Train, and print the test metrics of the run's report."""
    parser = runs.parser(__doc__, recipe="detect", out="runs/bccd")
    parser.add_argument("data", help="the dataset's folder")
    parser.add_argument("--weights", required=True, help="of a MobileNetV2")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    arguments = ["--with-val", "--recipe", options.recipe, "--model", "mobilenet_v2", "--size", "320"]
    arguments += ["--weights", options.weights, "--seed", str(options.seed)]
    minutes = runs.trained(options.data, options.out, arguments, options.set)
    metrics = runs.metrics_of(options.out)
    figures = {name: round(metrics[key]["value"], 4) for name, key in (("mAP50", "map50"), ("mAP", "map"))}
    print(json.dumps({"what": "mobilenets", **figures, "minutes": round(minutes, 1), "seed": options.seed}))


if __name__ == "__main__":
    main()
