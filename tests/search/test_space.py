from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from mobilenets.errors import SpecError
from mobilenets.model import create
from mobilenets.search.inherit import inherited
from mobilenets.search.space import KEEP, Space, Value, stages
from mobilenets.specs.families import backbone
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.rows import Bottleneck, Universal
from mobilenets.specs.ssd import ssdlite

NAMES = ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v4_conv_small", "mobilenet_v4_hybrid_medium")


def _spec(name: str, width: float = 0.5) -> ModelSpec:
    return ModelSpec(backbone(name, width=width), ("a", "b"), InputContract(size=64))


def test_the_stages_of_v2_are_the_lines_of_its_table() -> None:
    counts = [len(stage.rows) for stage in stages(backbone("mobilenet_v2"))]
    assert counts == [1, 1, 2, 3, 4, 3, 3, 1, 1]  # the column n of V2, Table 2, with the stem and the last convolution


@pytest.mark.parametrize("name", NAMES)
def test_the_own_choice_is_the_network_itself(name: str) -> None:
    space = Space(_spec(name))
    spec, rows = space.made(space.own())
    assert spec == space.start
    assert rows == tuple(range(len(spec.backbone.rows)))
    assert space.told(space.own()) == "as the start"


@pytest.mark.parametrize("name", NAMES)
def test_every_choice_can_be_built_and_inherits(name: str) -> None:
    space, draws = Space(_spec(name)), random.Random(0)
    start = create(space.start)
    built = 0
    for _ in range(12):
        choice = {name: draws.choice(values) for name, values in space.choices.items()}
        try:
            spec, rows = space.made(choice)
        except SpecError:  # two counts that must differ are the same, as test_axes.py tests
            continue
        with torch.no_grad():
            assert inherited(start, spec, rows).eval()(torch.zeros(1, 3, *spec.input.shape)).shape == (1, 2)
        built += 1
    assert built > 3


def test_each_value_changes_what_it_says() -> None:
    space = Space(_spec("mobilenet_v3_small", width=1.0))

    def made(**choice: Value) -> ModelSpec:
        return space.made({**space.own(), **{name.replace("_", "."): value for name, value in choice.items()}})[0]

    def row(spec: ModelSpec, i: int) -> Bottleneck:
        found = spec.backbone.rows[i]
        assert isinstance(found, Bottleneck)
        return found

    assert made(size=0.5).input.size == 32
    assert len(made(stage3_depth=2).backbone.rows) == len(space.start.backbone.rows) - 1
    assert row(made(stage3_kernel=3), 4).kernel == 3
    assert row(space.start, 2).c_squeeze == 0
    assert row(made(stage2_squeeze="yes"), 2).c_squeeze > 0
    assert row(made(stage3_squeeze="no"), 4).c_squeeze == 0
    assert row(made(stage3_expansion=0.5), 5).c_expand == 120
    assert made(last=0.5).backbone.tail[0].c_out == 512
    assert row(made(width=0.5), 8).c_out == 24


def test_variants_of_universal_blocks_are_those_of_the_paper() -> None:
    space = Space(_spec("mobilenet_v4_conv_small"))
    own = space.own()
    name = next(name for name in space.choices if name.endswith("variant"))
    first = next(i for i, row in enumerate(space.start.backbone.rows) if isinstance(row, Universal))
    found = {}
    for variant in ("ExtraDW", "IB", "ConvNext", "FFN"):
        row = space.made({**own, name: variant})[0].backbone.rows[first + 1]
        assert isinstance(row, Universal)
        found[variant] = (row.start_kernel > 0, row.middle_kernel > 0)
    assert found == {"ExtraDW": (True, True), "IB": (False, True), "ConvNext": (True, False), "FFN": (False, False)}
    strided = space.made({**own, name: "FFN"})[0].backbone.rows[first]
    assert isinstance(strided, Universal)
    assert strided.middle_kernel > 0  # it has to stride somewhere


def test_a_detector_keeps_the_maps_that_its_head_reads() -> None:
    spec = ssdlite(backbone("mobilenet_v2", width=0.35), ("a", "b"), size=96)
    space = Space(spec)
    assert "width" not in space.choices
    choice = {**space.own(), "stage3.depth": 2, "stage4.expansion": 0.5}
    made, rows = space.made(choice)
    start = create(spec)
    head = start.head.state_dict()
    assert all(torch.equal(tensor, head[key]) for key, tensor in inherited(start, made, rows).head.state_dict().items())


def test_the_first_networks_are_the_plain_ladder() -> None:
    space = Space(_spec("mobilenet_v1"))
    first, *others = space.ladder()
    assert first == space.own()
    assert [space.told(one) for one in others[:2]] == ["width 0.875", "width 0.75"]
    assert len(others) == 8
    assert set(first.values()) == {KEEP, 1.0}
    assert replace(space.made(others[0])[0], backbone=space.start.backbone) == space.start
