from __future__ import annotations

import json

import pytest

from mobilenets.errors import CheckpointError
from mobilenets.runtime.manifest import Manifest, manifest_of
from mobilenets.specs.model import IMAGENET_MEAN, IMAGENET_STD, ClassifierHead, InputContract, ModelSpec
from mobilenets.specs.rows import BackboneSpec, Conv

CONTRACT = InputContract(192, 3, IMAGENET_MEAN, IMAGENET_STD, "shorter_side_then_crop", 0.875, "bicubic")
MANIFEST = Manifest("mobilenet_v2", ("Möwe", "雪"), CONTRACT, ClassifierHead(1.7))


def test_json_reads_back_to_an_equal_manifest() -> None:
    assert Manifest.from_json(MANIFEST.to_json()) == MANIFEST


def test_manifest_of_a_spec_takes_labels_input_and_head() -> None:
    spec = ModelSpec(BackboneSpec("tiny", (Conv(8),)), ("a", "b"), CONTRACT, head=ClassifierHead(temperature=2.5))
    assert manifest_of(spec) == Manifest("tiny", ("a", "b"), CONTRACT, ClassifierHead(2.5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "format 99"),
        ({"head": {"head": "Juggler"}}, "no head 'Juggler'"),
        ({"head": {"temperature": 0}}, "not positive"),
        ({"unheard": 1}, "unheard"),
        ({"input": {"size": 3}}, "not an input contract"),
    ],
)
def test_a_strange_manifest_is_refused_with_its_reason(change: dict[str, object], message: str) -> None:
    text = json.dumps({**json.loads(MANIFEST.to_json()), **change})
    with pytest.raises(CheckpointError, match=message):
        Manifest.from_json(text)


@pytest.mark.parametrize("text", ["", "[]", "{}", "3", '{"format": 2}'])
def test_text_that_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(CheckpointError, match="not a manifest"):
        Manifest.from_json(text)
