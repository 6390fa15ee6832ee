"""Descriptions that earlier versions wrote are read: specs, as checkpoints hold them, and manifests, as exports hold them.

The files of `tests/golden/descriptions` were written by those versions. They are never written again.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mobilenets.runtime.manifest import Manifest, manifest_of
from mobilenets.specs import codec
from mobilenets.specs.deeplab import deeplab
from mobilenets.specs.lraspp import lraspp
from mobilenets.specs.model import IMAGENET_MEAN, IMAGENET_STD, ClassifierHead, InputContract, ModelSpec
from mobilenets.specs.rows import (
    Attention,
    BackboneSpec,
    Bottleneck,
    Conv,
    Fused,
    ResNetBottleneck,
    Separable,
    Universal,
    with_output_stride,
)
from mobilenets.specs.ssd import SsdHead, ssd, ssdlite

GOLDEN = Path(__file__).parent / "golden" / "descriptions"

SHORT = BackboneSpec("short", (Conv(8, 3, 2), Bottleneck(16, 8, stride=2), Conv(12)))
DEEP = BackboneSpec(
    "deep",
    (
        Conv(8, 3, 2, activation="hard_swish"),
        Separable(16, 3, 2),
        Fused(32, 16, 3, 2),
        Bottleneck(64, 24, 5, 2, "hard_swish", c_squeeze=16),
        Bottleneck(48, 24, project_activation="relu6", shortcut="expansion"),
        Universal(96, 32, start_kernel=5, middle_kernel=3, stride=2, layer_scale=True),
        Attention(32, heads=4, key_dim=8, kv_stride=2),
        ResNetBottleneck(8, 32),
        Conv(64),
    ),
    tail=(Conv(96, activation="gelu", norm=False),),
    width=0.75,
    size=256,
    padding="symmetric",
    norm_eps=1e-5,
    norm_momentum=0.1,
    dropout=0.1,
    stochastic_depth=0.05,
)
GREY = replace(SHORT, name="grey", in_channels=1, padding="end")
MANY = replace(SHORT, name="many", in_channels=5)
TORCHVISION = InputContract(192, 3, IMAGENET_MEAN, IMAGENET_STD, "shorter_side_then_crop", 0.875, "bicubic")
COLORS = ((0, 0, 0), (255, 0, 9), (1, 2, 3))
LABELS = ("Möwe", "雪", 'a "quoted" one')

SPECS = {
    "classify": ModelSpec(SHORT, LABELS),
    "classify-deep": ModelSpec(DEEP, LABELS, TORCHVISION, ClassifierHead(1.7, "both"), weights="timm/somewhere"),
    "classify-grey": ModelSpec(GREY, LABELS, InputContract(64, 1, (0.5,), (0.25,), "stretch", 1.0, "nearest", wide=96)),
    "classify-many": ModelSpec(MANY, LABELS, InputContract(32, 5, (0.5,), (1.0,), "letterbox", 1.0, "lanczos")),
    "classify-dilated": ModelSpec(replace(with_output_stride(DEEP, 8), dilate_strided_row=True), LABELS),
    "ssdlite": ssdlite(DEEP, LABELS, size=(192, 256)),
    "ssdlite-sigmoid": ssdlite(DEEP, ("a", "b"), reduced=True, activation="sigmoid", maps=("s16", "s32"), extras=(32, 16)),
    "ssd": ssd(SHORT, LABELS, size=64, kernel=1, contract=replace(TORCHVISION, interpolation="nearest")),
    "ssd-fitted": ModelSpec(
        SHORT,
        LABELS,
        InputContract(64, resize="sample", crop=1.0),
        SsdHead(
            ("s4",), (4,), (((0.1, 1.0), (0.2, 0.5)),), extras=(), clip=True, class_thresholds=(0.2, 0.5, 1.0), iou=0.45
        ),
        weights="runs/cells",
    ),
    "deeplab": deeplab(DEEP, LABELS, rates=(6, 12), decoder="s4", auxiliary="s8", size=65, colors=COLORS),
    "deeplab-plain": deeplab(SHORT, LABELS, output_stride=8, size=65),
    "lraspp": lraspp(DEEP, LABELS, size=(64, 128), reduced=True, auxiliary="s16", colors=COLORS),
}  # fmt: skip


@pytest.mark.parametrize("name", SPECS)
def test_specs_of_the_version_before_typed_decoding_are_read(name: str) -> None:
    assert codec.from_json((GOLDEN / f"{name}.spec.json").read_text(encoding="utf-8")) == SPECS[name]


@pytest.mark.parametrize("name", SPECS)
def test_manifests_of_format_2_are_read(name: str) -> None:
    manifest = Manifest.from_json((GOLDEN / f"{name}.manifest-2.json").read_text(encoding="utf-8"))
    assert manifest == manifest_of(SPECS[name])


FIRST = ModelSpec(SHORT, LABELS, TORCHVISION, ClassifierHead(1.7), weights="runs/x")


@pytest.mark.parametrize("name", ["classify-first", "classify-second"])
def test_specs_of_the_first_checkpoints_are_read(name: str) -> None:
    """They named the task beside the head, once with the dropout in the head, and knew no inputs but squares."""
    assert codec.from_json((GOLDEN / f"{name}.spec.json").read_text(encoding="utf-8")) == FIRST


def test_a_manifest_of_format_1_is_read() -> None:
    assert Manifest.from_json((GOLDEN / "classify-first.manifest-1.json").read_text(encoding="utf-8")) == manifest_of(FIRST)


@pytest.mark.parametrize("name", SPECS)
def test_what_is_written_reads_back_equal(name: str) -> None:
    assert codec.from_json(codec.to_json(SPECS[name])) == SPECS[name]
    manifest = manifest_of(SPECS[name], precision="int8")
    assert Manifest.from_json(manifest.to_json()) == manifest
