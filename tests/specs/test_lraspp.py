from __future__ import annotations

import pytest

from mobilenets.errors import SpecError, UnknownNameError
from mobilenets.specs import codec
from mobilenets.specs.families import backbone
from mobilenets.specs.lraspp import LrasppHead, lraspp

LABELS = ("road", "car")


def test_a_spec_comes_back_from_json() -> None:
    spec = lraspp(backbone("mobilenet_v3_small"), LABELS, reduced=True, size=360, colors=((1, 2, 3), (4, 5, 6)))
    assert codec.from_json(codec.to_json(spec)) == spec
    assert (spec.task, spec.backbone.c_out) == ("segment", 288)


def test_the_pooling_window_is_the_paper_s() -> None:
    head = lraspp(backbone("mobilenet_v3_large"), LABELS).head
    assert isinstance(head, LrasppHead)
    assert (head.window, head.window_strides, head.filters) == (49, (16, 20), 128)


def test_a_fresh_head_has_no_colors() -> None:
    assert LrasppHead(filters=64, colors=((1, 2, 3),)).fresh() == LrasppHead(filters=64)


def test_values_out_of_range_are_errors() -> None:
    with pytest.raises(SpecError, match="needs the name of a shallower map"):
        LrasppHead(low="")
    with pytest.raises(SpecError, match="cannot be"):
        LrasppHead(window_strides=(0, 20))
    with pytest.raises(UnknownNameError):
        lraspp(backbone("mobilenet_v3_small"), LABELS, low="s7")
