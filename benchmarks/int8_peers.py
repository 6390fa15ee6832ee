"""Post-training int8 of this package beside that of other libraries, on the same photos: imported weights, both halves.

Photos are named by their ImageNet class, "n01440764_tench.JPEG". Every library of `quantizers.py` quantizes the float network
with one half of the photos and answers for the other half, and then the other way round, so that no photo is judged by a
network that was calibrated on it. `int8_peers_run.py` does the same with a run on its own data.

A library that is not installed is left out, and named. Columns: top-1 of the int8 network, the difference in points to the
float network with its paired standard error, the share of equal answers, the signal to noise of all logits together, in which
a few photos with extreme logits can count most, the one that half of the photos reach each for itself, and how many photos only
ours and only the other has right, with the p-value of McNemar's exact test.

    python benchmarks/int8_peers.py imagenet-sample/ imagenet-classes.json mobilenet_v2_1.0_224_quant.tflite
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from math import comb
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from quantizers import LIBRARIES, Images, Quantizer, floats

from mobilenets.deploy.quantize.values import decibels
from mobilenets.model import Model
from mobilenets.runtime.images.prepare import load_input
from mobilenets.weights.load import load

SEED = 0


def main() -> None:
    """Print a table for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("classes", type=Path)
    parser.add_argument("weights", nargs="+")
    parser.add_argument("--libraries", nargs="+", choices=list(LIBRARIES), default=list(LIBRARIES))
    arguments = parser.parse_args()
    photos = sorted(arguments.photos.glob("*.JPEG"))
    index = {known["wnid"]: known["index"] for known in json.loads(arguments.classes.read_text("utf-8"))}
    truth = np.asarray([index[path.name.partition("_")[0]] for path in photos])
    halves = np.array_split(np.random.default_rng(SEED).permutation(len(photos)), 2)
    for weights in arguments.weights:
        model = load(weights)
        images = np.stack([load_input(path, model.spec.input) for path in photos])
        print(f"\n{Path(weights).stem}: {len(images)} photos")
        judge(arguments.libraries, floats(model)(images), partial(_halves, model, images, halves), partial(_right, truth=truth))


def judge(
    libraries: Sequence[str],
    expected: Images,
    logits: Callable[[Quantizer], Images],
    right: Callable[[Images], NDArray[np.bool_]],
) -> None:
    """Print a row for each library.

    Args:
        libraries: keys of `LIBRARIES`; "ours" comes first if the others are to be tested against it.
        expected: the logits of the float network, N C.
        logits: those of the network that a library makes, for the same images.
        right: which images such logits get right, N.
    """
    real = right(expected)
    print(f"top-1 in floats {real.mean():.2%}")
    print("library              top-1   points ± error   same answer   SQNR dB    half   only ours : only it       p   minutes")
    ours: NDArray[np.bool_] | None = None
    for library in libraries:
        start = time.perf_counter()
        try:
            made = logits(LIBRARIES[library])
        except ImportError as error:
            print(f"{library:18} left out: {error}", flush=True)
            continue
        its = right(made)
        change = its.astype(float) - real
        same = (made.argmax(1) == expected.argmax(1)).mean()
        row = f"{library:18} {its.mean():7.2%} {100 * change.mean():+8.2f} ± {100 * change.std() / len(its) ** 0.5:.2f}"
        each = np.median([decibels(meant, logit) for meant, logit in zip(expected, made, strict=True)])
        row += f" {same:14.2%} {decibels(expected, made):9.1f} {each:7.1f} "
        row += 34 * " " if ours is None else _against(ours, its)
        print(f"{row} {(time.perf_counter() - start) / 60:9.1f}", flush=True)
        ours = its if library == "ours" else ours


def _halves(model: Model, images: Images, halves: list[NDArray[np.int64]], quantizer: Quantizer) -> Images:
    """The logits for each half by the network that is calibrated on the other."""
    parts = [(others, quantizer(model, images[some])(images[others])) for some, others in (halves, halves[::-1])]
    logits = np.empty((len(images), parts[0][1].shape[1]), np.float32)
    for others, part in parts:
        logits[others] = part
    return logits


def _right(logits: Images, truth: NDArray[np.int64]) -> NDArray[np.bool_]:
    right: NDArray[np.bool_] = logits[:, logits.shape[1] - 1000 :].argmax(1) == truth  # some have a background class first
    return right


def _against(ours: NDArray[np.bool_], its: NDArray[np.bool_]) -> str:
    """The images that only one of both has right, and McNemar's exact test of them."""
    only_ours, only_its = int((ours & ~its).sum()), int((its & ~ours).sum())
    n = only_ours + only_its
    tail = sum(comb(n, k) for k in range(min(only_ours, only_its) + 1))
    return f"{only_ours:13} : {only_its:<9} {min(1.0, 2 * tail / 2**n):7.2g}"


if __name__ == "__main__":
    main()
