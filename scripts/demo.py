"""Train on real photos in about five minutes, say how good the result is, and what to type next. `make demo` runs this.

python scripts/demo.py
python scripts/demo.py --weights mobilenet_v2_1.0_224_quant.tflite
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

RUNS = Path("runs")
SETTINGS = ("time_budget_minutes=5", "flip_vertical=0.5", "mirrors=both")  # a mirrored cell is as good as the original


def main() -> int:
    """Train, and print what the result means; the exit code of the training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="auto", help="a weights file; by default public weights if available")
    options = parser.parse_args()
    run = fresh_run()
    command = [sys.executable, "-m", "mobilenets", "train", "elpv", "--out", str(run), "--weights", options.weights]
    for setting in SETTINGS:
        command += ["--set", setting]
    code = subprocess.run(command, check=False).returncode
    if code == 0:
        print("\n" + "\n".join(closing_lines(run)))
    return code


def fresh_run() -> Path:
    """`runs/demo`, or the first of `runs/demo-2`, `runs/demo-3` and so on that does not exist."""
    names = ("demo", *(f"demo-{i}" for i in range(2, 10_000)))
    return next(RUNS / name for name in names if not (RUNS / name).exists())


def closing_lines(run: Path) -> list[str]:
    """What the result means, and what to type next."""
    report = json.loads((run / "report" / "report.json").read_text(encoding="utf-8"))
    spec = json.loads((run / "best" / "model.json").read_text(encoding="utf-8"))["spec"]
    recalls = {row["label"]: row["recall"] for row in report["classes"]}
    lines = [
        f"This model finds {recalls['defective']:.0%} of the defective cells and recognizes {recalls['functional']:.0%} of the "
        f"whole ones (accuracy {report['metrics']['top1']['value']:.1%})."
    ]
    if spec["weights"] == "scratch":
        lines += [
            "It was trained from scratch in five minutes, which is too short for a good model. From pretrained weights,",
            "MobileNetV2 reaches an accuracy of 90% in 15 minutes on one core. To start from a weights file:",
            "    make demo WEIGHTS=mobilenet_v2_1.0_224_quant.tflite",
        ]
    return [
        *lines,
        "",
        "Your own images, in one folder per class:",
        f"    {Path(sys.executable).parent / 'mobilenets'} train photos/",
    ]


if __name__ == "__main__":
    sys.exit(main())
