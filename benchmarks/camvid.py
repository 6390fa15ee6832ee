"""V2, Table 7 on CamVid: DeepLabv3 on MobileNetV2 with and without ASPP, at output stride 16 and 8, single view and MF.

Two networks are trained at output stride 16, through the command line: `aspp-16` with the atrous branches and `plain-16`
without. The other variants are how these two are evaluated, as in the paper: at output stride 8 (strides become dilation and
atrous rates double) and MF, the mean over six scales and mirror images. MAdds are counted on the network that runs; those of
MF are the sum over its sizes.

    python benchmarks/camvid.py CAMVID --weights mobilenet_v2_1.0_224_quant.tflite --variants aspp-16 aspp-8 plain-16

Every variant has a folder in `--out`. What was begun is resumed and what is there is not computed again: the same command
goes on after an interruption, with more variants it adds to the table. CAMVID holds train, val and test, each with images and
masks of 480 x 360 px, in SegNet's 11 classes.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenets import checkpoint
from mobilenets.analysis.trace import trace
from mobilenets.data.open import open_dataset
from mobilenets.data.samples import Sample
from mobilenets.evaluation.segment.evaluate import SegmentationReport, Segmenter, evaluate_segmentation
from mobilenets.exporters.onnx import export_onnx
from mobilenets.model import Model, rebuilt
from mobilenets.runtime.engines.base import Engine
from mobilenets.runtime.engines.onnx import OnnxEngine
from mobilenets.runtime.manifest import manifest_of
from mobilenets.runtime.predictor import Predictor
from mobilenets.runtime.segment.scales import SCALES, MultiScale, scaled
from mobilenets.specs.deeplab import DeepLabHead, aspp_rates
from mobilenets.specs.rows import with_output_stride

CLASSES = "Sky,Building,Pole,Road,Pavement,Tree,SignSymbol,Fence,Car,Pedestrian,Bicyclist"
UNLABELLED = "11"
HEIGHT, WIDTH = 360, 480
RESULT = "result.json"
PART = 16
"""Images of the test split after which what was found is kept."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One line of the table.

    Args:
        aspp: whether the head has its atrous branches.
        stride: output stride at evaluation.
        multi_scale: MF, the mean over scales and mirror images.
        paper: mIoU in percent and MAdds in billions that Table 7 prints for V2* on PASCAL VOC 2012; None where it has no line.
    """

    aspp: bool
    stride: int
    multi_scale: bool
    paper: tuple[float, float] | None = None

    @property
    def network(self) -> str:
        """The variant whose weights it has."""
        return "aspp-16" if self.aspp else "plain-16"


# fmt: off
VARIANTS = {        #      aspp   OS     MF   paper
    "aspp-16":     Variant(True,  16, False, (75.70, 5.80)),
    "aspp-16-mf":  Variant(True,  16, True),
    "aspp-8":      Variant(True,   8, False),
    "aspp-8-mf":   Variant(True,   8, True,  (78.42, 387)),
    "plain-16":    Variant(False, 16, False, (75.32, 2.75)),
    "plain-16-mf": Variant(False, 16, True),
    "plain-8":     Variant(False,  8, False),
    "plain-8-mf":  Variant(False,  8, True,  (77.33, 152.6)),
}
# fmt: on


class Exported(Engine):
    """An engine for inputs of any size: the network is exported to ONNX, with a parity check, for each size that comes.

    Args:
        model: a segmenter.
        folder: where exports are kept.
    """

    def __init__(self, model: Model, folder: Path) -> None:
        self._model, self._folder = model, folder
        self.outputs = model.outputs
        self._engines: dict[tuple[int, int], OnnxEngine] = {}

    def run(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """The outputs by name, for a batch N C H W."""
        _, _, height, width = batch.shape
        if (height, width) not in self._engines:
            path = self._folder / f"{height}x{width}.onnx"
            if not path.is_file():
                spec = self._model.spec
                export_onnx(rebuilt(self._model, replace(spec, input=spec.input.shaped(height, width))), path)
            self._engines[height, width] = OnnxEngine(path)
        return self._engines[height, width].run(batch)


def main() -> None:
    """Train and evaluate what is missing, print the table of what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="the dataset's folder")
    parser.add_argument("--weights", required=True, help="of a MobileNetV2")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=["aspp-16"])
    parser.add_argument("--recipe", default="segment")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/camvid"))
    options = parser.parse_args()
    for name in options.variants:
        run = options.out / VARIANTS[name].network
        if not (run / "report" / "report.json").is_file():
            train(run, options.data, options.weights, options.recipe, options.set, aspp=VARIANTS[name].aspp, seed=options.seed)
        if not (options.out / name / RESULT).is_file():
            evaluate(name, options.out, options.data)
    print_table(options.out)


def train(run: Path, data: str, weights: str, recipe: str, changes: Sequence[str], *, aspp: bool, seed: int) -> None:
    """Train one network on train and val, or go on with it; the test split is met at the end."""
    command = [sys.executable, "-m", "mobilenets", "train", data, "--out", str(run)]
    if (run / "run.json").is_file():
        command += ["--resume"]
    else:
        command += ["--with-val", "--classes", CLASSES, "--ignore", UNLABELLED, "--recipe", recipe, "--seed", str(seed)]
        command += ["--model", "mobilenet_v2", "--weights", weights, "--size", str(HEIGHT)]
        for change in (f"wide={WIDTH}", "on=second_last", "output_stride=16", f"aspp={str(aspp).lower()}", *changes):
            command += ["--set", change]
    subprocess.run(command, check=True, stdout=sys.stderr)


def evaluate(name: str, out: Path, data: str) -> None:
    """Measure a variant on the test split and count it; at another output stride it becomes a checkpoint of its own."""
    variant = VARIANTS[name]
    model = checkpoint.load(out / variant.network)
    if variant.stride != model.spec.backbone.output_stride:
        model = at_output_stride(model, variant.stride)
        checkpoint.save(model, out / name / "best")
    dataset = open_dataset(data, task="segment", classes=CLASSES.split(","), ignore=(UNLABELLED,))
    predictor = Predictor(manifest_of(model.spec), Exported(model, out / name / "exported"))
    seen = MultiScale(predictor) if variant.multi_scale else predictor
    report = report_of(seen, dataset.split("test"), dataset.labels, out / name / "parts")
    miou = report.metric("miou")
    result = {
        "miou": miou.value,
        "low": miou.interval.low if miou.interval else None,
        "high": miou.interval.high if miou.interval else None,
        "pixel_accuracy": report.metric("pixel_accuracy").value,
        "images": len(report),
        "params": trace(model, (1, 3, *model.spec.input.shape)).params,
        "macs": macs(model, multi_scale=variant.multi_scale),
        "evaluated_s": round(report.seconds, 1),
    }
    (out / name).mkdir(parents=True, exist_ok=True)
    draft = out / name / f".{RESULT}"
    draft.write_text(json.dumps(result, indent=1) + "\n")
    draft.replace(out / name / RESULT)


def report_of(seen: Segmenter, samples: Sequence[Sample], labels: Sequence[str], parts: Path) -> SegmentationReport:
    """What `evaluate_segmentation` says, computed and kept in parts, so that an interruption costs one part at most."""
    parts.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[NDArray[np.int64]]] = {"hits": [], "support": [], "called": [], "confusion": []}
    seconds = 0.0
    for first in range(0, len(samples), PART):
        part = parts / f"{first:04d}.npz"
        if not part.is_file():
            report = evaluate_segmentation(seen, samples[first : first + PART], labels, boundaries=False)
            assert not report.unreadable
            draft = part.with_name(f".{part.name}")
            np.savez(draft, seconds=report.seconds, **{name: getattr(report, name) for name in found})
            draft.replace(part)
        with np.load(part) as kept:
            seconds += float(kept["seconds"])
            for name, arrays in found.items():
                arrays.append(kept[name])
        print(f"{parts.parent.name}: {min(first + PART, len(samples))} of {len(samples)} images", file=sys.stderr)
    hits, support, called = (np.concatenate(found[name]) for name in ("hits", "support", "called"))
    return SegmentationReport(
        model=seen.manifest.model,
        labels=seen.manifest.labels,
        colors=(),
        names=tuple(sample.name for sample in samples),
        hits=hits,
        support=support,
        called=called,
        confusion=np.sum(found["confusion"], axis=0),
        boundary_f=np.full(hits.shape, np.nan),
        seconds=seconds,
    )


def at_output_stride(model: Model, output_stride: int) -> Model:
    """The same weights at another output stride; atrous rates see as far as before.

    Args:
        model: with a DeepLabv3 head.
        output_stride: 8, 16 or 32.
    """
    head = model.spec.head
    assert isinstance(head, DeepLabHead)
    rates = aspp_rates(output_stride) if head.rates else ()
    dilated = with_output_stride(model.spec.backbone, output_stride)
    return rebuilt(model, replace(model.spec, backbone=dilated, head=replace(head, rates=rates))).eval()


def macs(model: Model, *, multi_scale: bool) -> int:
    """Multiply-adds for one image."""
    contract = model.spec.input
    views = [scaled(contract, scale, manifest_of(model.spec)) for scale in SCALES] * 2 if multi_scale else [contract]
    return sum(trace(model, (1, contract.channels, *view.shape)).macs for view in views)


def print_table(out: Path) -> None:
    """The variants that were measured, in the paper's order, beside what it prints for PASCAL VOC 2012."""
    print("| | OS | ASPP | MF | mIoU | 95% interval | Params | MAdds | minutes | paper, PASCAL: mIoU | MAdds |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name, variant in VARIANTS.items():
        if not (out / name / RESULT).is_file():
            continue
        found = json.loads((out / name / RESULT).read_text())
        low, high = (100 * (found[key] or 0) for key in ("low", "high"))
        cells = [
            name,
            str(variant.stride),
            "yes" if variant.aspp else "",
            "yes" if variant.multi_scale else "",
            f"{100 * found['miou']:.2f}",
            f"{low:.2f}-{high:.2f}" if high else "",
            f"{found['params'] / 1e6:.2f}M",
            f"{found['macs'] / 1e9:.2f}B",
            f"{trained_minutes(out / name):.1f}" if name == variant.network else "",
            *((f"{variant.paper[0]:.2f}", f"{variant.paper[1]:g}B") if variant.paper else ("", "")),
        ]
        print(f"| {' | '.join(cells)} |")


def trained_minutes(run: Path) -> float:
    """How long a network was trained, interruptions left out."""
    with (run / "metrics.csv").open(newline="") as file:
        return max(float(row["seconds"]) for row in csv.DictReader(file)) / 60


if __name__ == "__main__":
    main()
