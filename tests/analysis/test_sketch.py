"""The sketch of a classifier has the memory plan of the lowered module."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.analysis.test_outline import EVERY_ROW

from mobilenets.analysis.outline import outline
from mobilenets.analysis.sketch import row_by_row_bytes, sketch
from mobilenets.deploy.arena import fused_plan, plan
from mobilenets.deploy.quantize.quantize import quantize
from mobilenets.exporters.lower import lower
from mobilenets.model import create
from mobilenets.specs.families import BACKBONES, backbone
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.rows import BackboneSpec, Padding, with_output_stride


def spec_of(body: BackboneSpec, size: int) -> ModelSpec:
    return ModelSpec(body, ("a", "b", "c"), InputContract(size=size))


@pytest.mark.parametrize("name", BACKBONES)
def test_every_network_has_the_plan_of_its_module(name: str) -> None:
    spec = spec_of(backbone(name, width=0.5), 97)
    drawn, lowered = sketch(spec, outline(spec.backbone, 3, 97, 97)), lower(create(spec))
    assert plan(drawn).live_bytes == plan(lowered).live_bytes
    assert fused_plan(drawn).live_bytes == fused_plan(lowered).live_bytes
    assert row_by_row_bytes(drawn, "fp32") == fused_plan(lowered).size_bytes
    assert row_by_row_bytes(drawn, "fp16") == fused_plan(lowered, number_bytes=2).size_bytes
    drawn.check()


@pytest.mark.parametrize("padding", ["tf", "symmetric", "end"])
@pytest.mark.parametrize("output_stride", [8, 32])
def test_every_row_has_the_plan_of_its_module_under_every_option(padding: Padding, output_stride: int) -> None:
    spec = spec_of(with_output_stride(replace(EVERY_ROW, padding=padding), output_stride), 64)
    drawn, lowered = sketch(spec, outline(spec.backbone, 3, 64, 64)), lower(create(spec))
    assert [type(operator) for operator in drawn.operators if operator.block < 0] == [
        type(operator) for operator in lowered.operators if operator.block < 0
    ]
    assert fused_plan(drawn).live_bytes == fused_plan(lowered).live_bytes


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v4_hybrid_medium"])
def test_the_plan_in_integers_is_that_of_the_quantized_network(name: str) -> None:
    spec = spec_of(backbone(name, width=0.25), 64)
    images = np.random.default_rng(0).normal(0, 0.5, (2, 3, 64, 64)).astype(np.float32)
    whole = quantize(lower(create(spec)), images).graph
    assert row_by_row_bytes(sketch(spec, outline(spec.backbone, 3, 64, 64)), "int8") == fused_plan(whole).size_bytes
