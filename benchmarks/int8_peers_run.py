"""Post-training int8 of this package beside that of other libraries, on a trained classifier and its own data.

Every library of `quantizers.py` quantizes the float network with the same images, drawn from the train split of the run, and
answers for the same images of its test split. To compare settings of a quantizer, use `--split val`: nothing is to be chosen by
test images. The columns are those of `int8_peers.py`.

    mobilenets train cifar10/ --recipe scratch-small --model mobilenet_v3_small --size 64 --out v3s
    python benchmarks/int8_peers_run.py v3s --count 512
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from int8_peers import judge
from numpy.typing import NDArray
from quantizers import LIBRARIES, Images, Quantizer, floats

from mobilenets import checkpoint
from mobilenets.cli.measuring import trained_on_data
from mobilenets.data.samples import SPLITS, Split
from mobilenets.evaluation.metric import label_columns
from mobilenets.int8.images import drawn, inputs
from mobilenets.model import Model
from mobilenets.reports.history import facts

SEED = 0


def main() -> None:
    """Print a table for each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run folder of a classifier")
    parser.add_argument("--count", type=int, default=512, help="images to calibrate on")
    parser.add_argument("--split", choices=SPLITS, default="test", help="the images to answer for")
    parser.add_argument("--most", type=int, default=10_000, help="of them, drawn at random")
    parser.add_argument("--libraries", nargs="+", choices=list(LIBRARIES), default=list(LIBRARIES))
    arguments = parser.parse_args()
    for run in arguments.runs:
        model = checkpoint.load(run)
        data = material(run, count=arguments.count, split=arguments.split, most=arguments.most)
        told = f"calibrated with {len(data.calibration)} images, {len(data.images)} of the {arguments.split} split"
        print(f"\n{run.name}: {told}")
        judge(
            arguments.libraries,
            floats(model)(data.images),
            partial(_logits, model, data),
            partial(_right, truth=data.truth),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """Images of a run, N C H W.

    Args:
        calibration: of the train split, to calibrate on.
        images: to answer for.
        truth: the class of each of those, N.
    """

    calibration: Images
    images: Images
    truth: NDArray[np.int64]


def material(run: Path, *, count: int, split: Split, most: int) -> Material:
    """The images of a run.

    Args:
        run: a run folder of a classifier.
        count: images to calibrate on.
        split: of the images to answer for.
        most: of them, drawn at random.
    """
    spec = checkpoint.load(run).spec
    data = trained_on_data(run / "splits.csv", facts(run).get("Data", {}), "classify")
    calibration = inputs(drawn(data.split("train"), SEED), spec.input, count).values
    judging = data.split(split)
    samples = [judging[i] for i in np.random.default_rng(SEED).permutation(len(judging))[:most]]
    images = inputs(samples, spec.input, len(samples)).values
    columns = np.asarray(label_columns(data.labels, spec.labels))
    return Material(calibration, images, columns[[sample.label for sample in samples]])


def _logits(model: Model, data: Material, quantizer: Quantizer) -> Images:
    return quantizer(model, data.calibration)(data.images)


def _right(logits: Images, truth: NDArray[np.int64]) -> NDArray[np.bool_]:
    right: NDArray[np.bool_] = logits.argmax(1) == truth
    return right


if __name__ == "__main__":
    main()
