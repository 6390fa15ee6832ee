"""Does the shipped temperature cost likelihood when there are few images? The default recipe on 36 images of three classes.

For each seed, 12 photos of each class are drawn from a folder of photos named by their ImageNet class (birds, dogs and other
mammals); `mobilenets train` does the rest with its defaults. The negative log likelihood is then measured on all photos of the
three classes that were not drawn, with the shipped temperature and with temperature 1.

    python benchmarks/small_calibration.py imagenet-sample/ --weights mobilenet_v2_1.0_224_quant.tflite --seeds 5
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mobilenets.data.samples import Sample
from mobilenets.evaluation.classify.calibration import negative_log_likelihood
from mobilenets.evaluation.classify.evaluate import evaluate_classification
from mobilenets.runtime.predictor import Predictor

GROUPS = {"bird": ("n0151", "n0186"), "dog": ("n0208", "n0212"), "mammal": ("n0212", "n0251")}
"""First WordNet id of a class of photos, and the first that is no longer of it."""

TRAINED = 12
"""Photos of each class that the model is trained and validated on."""


def main() -> None:
    """Print one line per seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    print("seed  temperature  NLL shipped  NLL at 1  accuracy  held-out photos")
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            held_out = _draw(options.photos, Path(folder) / "photos", seed)
            run = Path(folder) / "run"
            _train(Path(folder) / "photos", run, weights=options.weights, seed=seed)
            report = evaluate_classification(Predictor.open(run), held_out, sorted(GROUPS))
        shipped, plain = report.metric("nll").value, negative_log_likelihood(report.logits, report.truth)
        figures = f"{shipped:11.4f}  {plain:8.4f}  {report.metric('top1').value:8.1%}  {len(report):15}"
        print(f"{seed:4}  {report.temperature:11.3f}  {figures}", flush=True)


def _draw(photos: Path, folder: Path, seed: int) -> list[Sample]:
    """Fill a folder of classes with the photos drawn, and return the others."""
    held_out = []
    for label, (name, (first, end)) in enumerate(sorted(GROUPS.items())):
        own = sorted(path for path in photos.iterdir() if first <= path.name < end)
        random.Random(seed).shuffle(own)
        (folder / name).mkdir(parents=True)
        for path in own[:TRAINED]:
            shutil.copy(path, folder / name)
        held_out += [Sample(path, label, "test", name=path.name) for path in own[TRAINED:]]
    return held_out


def _train(photos: Path, run: Path, *, weights: str, seed: int) -> None:
    command = ["-m", "mobilenets", "train", str(photos), "--weights", weights, "--seed", str(seed), "--out", str(run)]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)


if __name__ == "__main__":
    main()
