"""V3's functions, against torch's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional

from mobilenets.science.networks import classifier
from mobilenets.science.v3 import nonlinearities, variants
from mobilenets.specs.families import backbone
from mobilenets.specs.rows import BackboneSpec, Bottleneck


def test_the_hard_functions_are_torchs() -> None:
    x = nonlinearities.X
    tensor = torch.from_numpy(x)
    assert np.allclose(nonlinearities.hard_sigmoid(x), functional.hardsigmoid(tensor).numpy())
    assert np.allclose(x * nonlinearities.hard_sigmoid(x), functional.hardswish(tensor).numpy())
    assert np.allclose(nonlinearities.sigmoid(x), torch.sigmoid(tensor).numpy())


def test_the_path_begins_at_v2_and_ends_at_v3_large() -> None:
    path = variants.path()
    assert next(iter(path)) == "V2"
    *_, last = path.values()
    assert last == backbone("mobilenet_v3_large")


def test_the_original_last_stage_costs_what_figure_5_saves() -> None:
    """By hand, at 7 x 7: depthwise 9 x 960, projection 960 x 320, last 320 x 1280; now 960 x 1280 at 1 x 1."""
    old, new = (
        classifier("x", spec).graph().macs for spec in (variants.original_last_stage(variants.large()), variants.large())
    )
    assert old - new == 49 * (9 * 960 + 960 * 320 + 320 * 1280) - 960 * 1280


def test_each_idea_changes_only_what_it_names() -> None:
    large = variants.large()
    relu, plain = variants.with_relu(large), variants.without_squeeze_excite(large)
    assert set(of(relu, "activation")) == {"relu"}
    assert of(relu, "c_out") == of(large, "c_out")
    assert [replace(row, c_squeeze=0) if isinstance(row, Bottleneck) else row for row in large.rows] == list(plain.rows)
    assert variants.with_squeeze_excite(large, 1 / 4) == large
    assert of(variants.three_by_three(large), "kernel")[1:-1] == [3] * 15


def test_hard_swish_starts_at_the_first_row_of_so_many_channels() -> None:
    spec = variants.hard_swish_from(variants.large(), 80)
    pairs = list(zip(of(spec, "c_out"), of(spec, "activation"), strict=True))
    assert pairs[:8] == [
        (16, "relu"),
        (16, "relu"),
        (24, "relu"),
        (24, "relu"),
        (40, "relu"),
        (40, "relu"),
        (40, "relu"),
        (80, "hard_swish"),
    ]
    assert {activation for _, activation in pairs[7:]} == {"hard_swish"}
    assert set(of(variants.hard_swish_from(variants.large(), 16), "activation")) == {"hard_swish"}


def of(spec: BackboneSpec, field: str) -> list[object]:
    """A field of every row."""
    return [getattr(row, field) for row in spec.rows]
