"""Public weights that can be loaded by name: their address, input contract, license and accuracy.

The facts are in `public.csv`. They come from torchvision 0.29, timm 1.0.31 with its ImageNet results, keras.applications and
its documentation, and the repository google-coral/test_data, whose top-1 is from slim's README. `score` is in percent.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from fractions import Fraction
from importlib import resources
from typing import Literal, cast

from mobilenets.specs.model import HALF, IMAGENET_MEAN, IMAGENET_STD, InputContract, Interpolation, Resize, Task
from mobilenets.table import Table

Library = Literal["torchvision", "timm", "keras", "tflite"]
HUB = "hf-hub:"

METRICS: dict[Task, str] = {"classify": "top-1", "detect": "mAP", "segment": "mIoU"}
"""The metric of the score: on the validation images of ImageNet, of COCO, and of COCO with Pascal VOC's classes."""

RANGES = {  # mean and std of pixels scaled to 0..1
    "half": (HALF, HALF),
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "zero_to_one": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


@dataclass(frozen=True, slots=True)
class PublicWeights:
    """One file of public weights.

    Args:
        name: what users type, such as `"timm/mobilenetv4_conv_small.e2400_r224_in1k"`.
        origin: the library whose file format it has.
        task: the task of its head.
        model: our name for the network.
        width: the width multiplier.
        input: the contract that the weights were trained with.
        score: the task's `metric` at that input, 0 to 1, as published by the library; None if it publishes none.
        license: SPDX identifier.
        checksum: `"sha256:"` and the digest or its beginning, or `"md5:"` and the digest; empty if the library publishes none.
        url: the file's address, or `"hf-hub:"` and a repository on the Hugging Face Hub.
    """

    name: str
    origin: Library
    task: Task
    model: str
    width: float
    input: InputContract
    score: float | None
    license: str
    checksum: str
    url: str

    @property
    def metric(self) -> str:
        """The metric that `score` measures."""
        return METRICS[self.task]

    @property
    def architecture(self) -> str:
        """The library's own name for the network, such as `"tf_mobilenetv3_large_100"`."""
        return self.name.partition("/")[2].partition(".")[0]

    @property
    def file(self) -> str:
        """Name of the file in a cache."""
        if self.url.startswith(HUB):
            return f"{self.name.partition('/')[2]}.safetensors"
        return self.url.rpartition("/")[2]


def for_model(name: str, width: float = 1.0) -> list[PublicWeights]:
    """The public classifiers of one network, best first; those without a score come last."""
    classifiers = [entry for entry in CATALOG.values() if entry.task == "classify"]
    of_network = [entry for entry in classifiers if (entry.model, entry.width) == (name, width)]
    return sorted(of_network, key=lambda entry: -(entry.score or 0))


def by_file(file: str) -> PublicWeights | None:
    """The entry whose file has this name; None if there is none."""
    return next((entry for entry in CATALOG.values() if entry.file == file), None)


def _read() -> dict[str, PublicWeights]:
    text = resources.files("mobilenets.weights").joinpath("public.csv").read_text(encoding="utf-8")
    return {row["name"]: _entry(row) for row in csv.DictReader(text.splitlines())}


def _entry(row: dict[str, str]) -> PublicWeights:
    mean, std = RANGES[row["range"]]
    contract = InputContract(
        size=int(row["size"]),
        mean=mean,
        std=std,
        resize=cast(Resize, row["resize"]),
        crop=float(Fraction(row["crop"])),
        interpolation=cast(Interpolation, row["interpolation"]),
    )
    return PublicWeights(
        name=row["name"],
        origin=cast(Library, row["library"]),
        task=cast(Task, row["task"]),
        model=row["model"],
        width=float(row["width"]),
        input=contract,
        score=round(float(row["score"]) / 100, 5) if row["score"] else None,
        license=row["license"],
        checksum=row["checksum"],
        url=row["url"],
    )


CATALOG: Table[PublicWeights] = Table("public weights", _read())
