"""The keys of state dicts are those of every version before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mobilenets.model import Model
from mobilenets.specs.deeplab import DeepLabHead, deeplab
from mobilenets.specs.families import PAPERS, backbone
from mobilenets.specs.heads import HEADS as HEAD_KINDS
from mobilenets.specs.lraspp import lraspp
from mobilenets.specs.model import ModelSpec
from mobilenets.specs.ssd import ssd, ssdlite

KEYS = Path(__file__).parent / "golden" / "keys"
V2, V3 = backbone("mobilenet_v2"), backbone("mobilenet_v3_large")
DEEPLAB = deeplab(V2, ("a", "b"), auxiliary="s16")
HEADS = {
    "ssdlite": ssdlite(V2, ("a", "b")),
    "ssdlite_sigmoid_reduced": ssdlite(V3, ("a", "b"), reduced=True, activation="sigmoid"),
    "ssd": ssd(V2, ("a", "b")),
    "ssd_kernel_1": ssd(V2, ("a", "b"), kernel=1),
    "deeplab": deeplab(V2, ("a", "b"), auxiliary="s8"),
    "deeplab_decoder": deeplab(V2, ("a", "b"), decoder="s4"),
    "deeplab_without_rates": deeplab(V2, ("a", "b"), rates=()),
    "deeplab_refined": replace(DEEPLAB, head=DeepLabHead(auxiliary="s16", rates=(6, 12, 18), refines=True)),
    "lraspp": lraspp(V3, ("a", "b"), reduced=True, auxiliary="s16"),
}


def grouped(keys: Iterable[str]) -> str:
    """State-dict keys with those of one layer on one line: `backbone.blocks.0.norm: weight bias ...`."""
    layers: dict[str, list[str]] = {}
    for key in keys:
        layer, _, name = key.rpartition(".")
        layers.setdefault(layer, []).append(name)
    return "".join(f"{layer}: {' '.join(names)}\n" for layer, names in layers.items())


@pytest.mark.parametrize("name", PAPERS)
def test_state_dict_keys_are_those_of_every_version_before(name: str) -> None:
    """A promise: keys change only together with `checkpoint.FORMAT` and a way to read the old ones."""
    with torch.device("meta"):
        model = Model(ModelSpec(backbone(name), ("a", "b")))
    assert grouped(model.state_dict()) == (KEYS / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", HEADS)
def test_state_dict_keys_of_heads_are_those_of_every_version_before(name: str) -> None:
    with torch.device("meta"):
        model = Model(HEADS[name])
    keys = [key for key in model.state_dict() if key.startswith("head.")]
    assert grouped(keys) == (KEYS / "heads" / f"{name}.txt").read_text()


def test_every_kind_of_head_has_golden_keys() -> None:
    covered = {type(spec.head).__name__ for spec in HEADS.values()} | {"ClassifierHead"}  # that of the networks
    assert covered == HEAD_KINDS.keys()
