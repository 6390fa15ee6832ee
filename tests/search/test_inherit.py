from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mobilenets.model import Model, create
from mobilenets.search.axes import ROWS, axes, knobs, narrower, resized, sizes
from mobilenets.search.inherit import importances, inherited, maps_of
from mobilenets.specs.deeplab import deeplab
from mobilenets.specs.families import BACKBONES, backbone
from mobilenets.specs.lraspp import lraspp
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.ssd import ssdlite

X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def _of(name: str) -> Model:
    spec = ModelSpec(backbone(name, width=0.25), ("a", "b"), InputContract(size=32))
    model = create(spec, seed=2).eval()
    for norm in (module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)  # trained norms differ from channel to channel
    return model


@pytest.mark.parametrize("name", [name for name in BACKBONES if "v4" not in name or "small" in name or "hybrid_medium" in name])
def test_the_same_shape_inherits_every_weight(name: str) -> None:
    model = _of(name)
    made = inherited(model, model.spec, seed=9)
    assert all(torch.equal(tensor, made.state_dict()[key]) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_small", "mobilenet_v4_hybrid_medium", "mobilenet_v2_resnet"])
def test_what_is_removed_is_what_counts_least_and_channels_that_are_dead_are_not_missed(name: str) -> None:
    model = _of(name)
    body = model.spec.backbone
    for axis in [knob for knob in knobs(body) if narrower(body, knob)][::5]:
        narrow = narrower(body, axis)[0]
        dead = torch.arange(sizes(body)[axis])[:: max(1, sizes(body)[axis] // (sizes(body)[axis] - sizes(narrow)[axis]))]
        dead = dead[: sizes(body)[axis] - sizes(narrow)[axis]]  # spread over the axis
        killed = _without(model, axis, dead)
        with torch.no_grad():
            torch.testing.assert_close(
                inherited(killed, replace(model.spec, backbone=narrow))(X), killed(X), atol=1e-5, rtol=1e-4, msg=axis
            )


def test_importance_follows_filters_and_the_scale_of_their_norm(model: Model) -> None:
    with torch.no_grad():
        scale = model.get_parameter("backbone.blocks.2.expand.norm.weight")
        scale[5], scale[7] = 100, 0
    ranked = importances(model)["rows.2.inner"].argsort(descending=True)
    assert (int(ranked[0]), int(ranked[-1])) == (5, 7)


def test_a_larger_kernel_begins_as_the_smaller_one(model: Model) -> None:
    spec = model.spec
    rows = tuple(replace(row, kernel=5) if i == 2 else row for i, row in enumerate(spec.backbone.rows))
    wider = inherited(model, replace(spec, backbone=replace(spec.backbone, rows=rows))).eval()
    with torch.no_grad():
        torch.testing.assert_close(wider(X), model(X), atol=1e-5, rtol=1e-4)


def test_a_smaller_kernel_keeps_the_center(model: Model) -> None:
    spec = model.spec
    rows = tuple(replace(row, kernel=3) if i == 3 else row for i, row in enumerate(spec.backbone.rows))
    made = inherited(model, replace(spec, backbone=replace(spec.backbone, rows=rows)))
    old, new = (each.get_parameter("backbone.blocks.3.depthwise.conv.weight") for each in (model, made))
    assert torch.equal(new, old[:, :, 1:4, 1:4])


def test_rows_can_be_left_out(model: Model) -> None:
    spec = model.spec
    shorter = replace(spec.backbone, rows=(*spec.backbone.rows[:2], *spec.backbone.rows[3:]))
    made = inherited(model, replace(spec, backbone=shorter), rows=(0, 1, 3, 4))
    inherits = made.get_parameter("backbone.blocks.2.project.conv.weight")
    assert torch.equal(inherits, model.get_parameter("backbone.blocks.3.project.conv.weight"))
    assert torch.equal(made.head.linear.weight, model.head.linear.weight)


def test_a_wider_axis_keeps_all_old_channels_and_gets_fresh_ones(model: Model) -> None:
    wider = resized(model.spec.backbone, {"rows.2.inner": 96})
    made = inherited(model, replace(model.spec, backbone=wider))
    old, new = (each.get_parameter("backbone.blocks.2.expand.conv.weight") for each in (model, made))
    assert torch.equal(new[:72], old)
    assert new[72:].abs().sum() > 0


BODY, LABELS = backbone("mobilenet_v2", width=0.35), ("a", "b")


@pytest.mark.parametrize(
    "spec",
    [ssdlite(BODY, LABELS, size=64), deeplab(BODY, LABELS, size=64, decoder="s4"), lraspp(BODY, LABELS, size=64)],
    ids=lambda spec: type(spec.head).__name__,
)
def test_a_head_keeps_its_weights_whatever_shrinks_beside_the_maps_that_it_reads(spec: ModelSpec) -> None:
    model = create(spec, seed=3).eval()
    head = model.head.state_dict()
    axes = knobs(spec.backbone, maps=maps_of(spec))
    assert "rows.0.out" in axes  # the stem
    assert len(axes) > 20
    for axis in [axis for axis in axes if narrower(spec.backbone, axis)][::4]:
        made = inherited(model, replace(spec, backbone=narrower(spec.backbone, axis)[-1]))
        assert all(torch.equal(tensor, head[key]) for key, tensor in made.head.state_dict().items())
        made(torch.zeros(1, 3, 64, 64))


def _without(model: Model, axis: str, dead: torch.Tensor) -> Model:
    """The model with nothing written to some channels of an axis, and nothing read of them."""
    killed = model.like(model.spec).eval()
    state = killed.state_dict()
    every = axes(model.spec.backbone)
    count = len(model.spec.backbone.rows)
    for i, row in enumerate((*model.spec.backbone.rows, *model.spec.backbone.tail)):
        home = f"backbone.blocks.{i}." if i < count else f"backbone.tail.{i - count}."
        for layer in ROWS[type(row)].layers:
            prefix = f"{home}{layer.name}{layer.name and '.'}"
            for key in [key for key in state if key.startswith(prefix) and key[len(prefix) :].count(".") < 2]:
                if every[i].get(layer.writes) == axis and state[key].dim() and not key.endswith("running_var"):
                    state[key][dead] = 0
                if every[i].get(layer.reads) == axis and state[key].dim() > 1:
                    state[key][:, dead] = 0
    if every[-1]["out"] == axis:
        state["head.linear.weight"][:, dead] = 0
    killed.load_state_dict(state)
    return killed
