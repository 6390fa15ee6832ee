"""Accuracy on BCCD (364 images of blood cells with boxes), through the command line a user types.

SSDLite on MobileNetV2 at 320 px learns from train and val and meets the 72 test images once, at the end; decide the recipe
before, on val, with `mobilenets train`. `bccd_torchvision.py` is its counterpart.

    python benchmarks/bccd.py BCCD --weights mobilenet_v2_1.0_224_quant.tflite --set time_budget_minutes=55
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    """Train, read the test metrics of the run's report, print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="the dataset's folder")
    parser.add_argument("--weights", required=True, help="of a MobileNetV2")
    parser.add_argument("--recipe", default="detect")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/bccd"))
    options = parser.parse_args()
    command = [sys.executable, "-m", "mobilenets", "train", options.data, "--with-val", "--recipe", options.recipe]
    command += ["--model", "mobilenet_v2", "--size", "320", "--weights", options.weights]
    command += ["--seed", str(options.seed), "--out", str(options.out)]
    for change in options.set:
        command += ["--set", change]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=sys.stderr)
    minutes = (time.perf_counter() - began) / 60
    metrics = json.loads((options.out / "report" / "report.json").read_text())["metrics"]
    figures = {name: round(metrics[key]["value"], 4) for name, key in (("mAP50", "map50"), ("mAP", "map"))}
    print(json.dumps({"what": "mobilenets", **figures, "minutes": round(minutes, 1), "seed": options.seed}))


if __name__ == "__main__":
    main()
