from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision

from mobilenets.specs.families import BACKBONES
from mobilenets.specs.model import InputContract
from mobilenets.weights.catalog import CATALOG, HUB, by_file, for_model
from mobilenets.weights.torchvision import segment as torchvision_segment
from mobilenets.weights.torchvision import ssd as torchvision_ssd

OURS = list(CATALOG.values())


OTHER_TASKS = {
    "ssdlite320_mobilenet_v3_large": (torchvision_ssd.CONTRACT, ("COCO-val2017", "box_map")),
    "deeplabv3_mobilenet_v3_large": (torchvision_segment.CONTRACT, ("COCO-val2017-VOC-labels", "miou")),
    "lraspp_mobilenet_v3_large": (torchvision_segment.CONTRACT, ("COCO-val2017-VOC-labels", "miou")),
}


def of(library: str) -> list[str]:
    return [entry.name for entry in OURS if entry.origin == library and entry.task == "classify"]


@pytest.mark.parametrize("architecture", OTHER_TASKS)
def test_torchvision_s_detectors_and_segmenters_have_the_contract_of_their_importer(architecture: str) -> None:
    (entry,) = (entry for entry in OURS if entry.architecture == architecture)
    contract, (data, metric) = OTHER_TASKS[architecture]
    theirs = torchvision.models.get_model_weights(architecture)[entry.name.rpartition(".")[2].upper()]
    assert entry.input == contract
    assert (entry.url, entry.checksum) == (theirs.url, "sha256:" + theirs.url[-12:-4])
    assert entry.score == pytest.approx(theirs.meta["_metrics"][data][metric] / 100)


@pytest.mark.parametrize("name", of("torchvision"))
def test_torchvision_s_facts_are_those_of_the_library(name: str) -> None:
    entry = CATALOG[name]
    architecture, _, tag = name.removeprefix("torchvision/").partition(".")
    theirs = torchvision.models.get_model_weights(architecture)[tag.upper()]
    preset = theirs.transforms()
    assert entry.url == theirs.url
    assert entry.checksum == "sha256:" + theirs.url[-12:-4]
    assert entry.score == pytest.approx(theirs.meta["_metrics"]["ImageNet-1K"]["acc@1"] / 100)
    assert entry.input.size == preset.crop_size[0]
    assert round(entry.input.size / entry.input.crop) == preset.resize_size[0]
    assert (list(entry.input.mean), list(entry.input.std)) == (preset.mean, preset.std)
    assert entry.input.interpolation == preset.interpolation.value


@pytest.mark.parametrize("name", of("timm"))
def test_timm_s_facts_are_those_of_the_library(name: str) -> None:
    entry = CATALOG[name]
    theirs: Any = timm.models.get_pretrained_cfg(name.removeprefix("timm/"))  # Any: None only for unknown names
    expected = InputContract(
        size=theirs.input_size[1],
        mean=theirs.mean,
        std=theirs.std,
        resize="shorter_side_then_crop",
        crop=theirs.crop_pct,
        interpolation=theirs.interpolation,
    )
    assert entry.input == expected
    assert entry.url in (theirs.url, HUB + theirs.hf_hub_id)
    assert entry.license.lower() == theirs.license
    with torch.device("meta"):
        model = timm.create_model(entry.architecture)
    assert model.num_classes == 1000


def test_every_entry_is_of_a_network_of_ours_and_names_its_file() -> None:
    for entry in OURS:
        assert entry.model in BACKBONES
        assert by_file(entry.file) == entry
        assert entry.score is None or (0.3 if entry.task == "classify" else 0.2) < entry.score < 0.9
        assert entry.url.startswith((HUB, "https://"))


def test_the_best_weights_of_a_network_come_first() -> None:
    names = [entry.name for entry in for_model("mobilenet_v3_large", 1.0)]
    assert names[:2] == ["timm/mobilenetv3_large_100.miil_in21k_ft_in1k", "timm/mobilenetv3_large_100.ra4_e3600_r224_in1k"]
    assert for_model("mobilenet_v3_large", 0.33) == []
    assert all(entry.task == "classify" for name in BACKBONES for entry in for_model(name))


def test_the_coral_files_have_the_checksums_of_the_published_ones(shared: Path) -> None:
    checked = 0
    for entry in OURS:
        path = shared / "weights" / entry.file
        if entry.origin == "tflite" and path.is_file():
            assert entry.checksum == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
            checked += 1
    assert checked == 4
