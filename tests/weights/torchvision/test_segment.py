from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models.mobilenetv3 import mobilenet_v3_small
from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large, lraspp_mobilenet_v3_large
from torchvision.models.segmentation.deeplabv3 import _deeplabv3_mobilenetv3
from torchvision.models.segmentation.lraspp import _lraspp_mobilenetv3

from mobilenets.errors import WeightsError
from mobilenets.model import Model
from mobilenets.specs.families import backbone
from mobilenets.tasks.segment import enlarge
from mobilenets.weights.assemble import assemble
from mobilenets.weights.labels import PASCAL_VOC
from mobilenets.weights.load import load
from mobilenets.weights.torchvision import segment as importer

Draw = Callable[[nn.Module], nn.Module]
NONE = {"weights": None, "weights_backbone": None}
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "lraspp": lambda: lraspp_mobilenet_v3_large(**NONE),
    "deeplab": lambda: deeplabv3_mobilenet_v3_large(**NONE, aux_loss=False),
    "deeplab with auxiliary head": lambda: deeplabv3_mobilenet_v3_large(**NONE, aux_loss=True),
    "lraspp of 5 classes": lambda: lraspp_mobilenet_v3_large(**NONE, num_classes=5),
    "lraspp on small": lambda: _lraspp_mobilenetv3(mobilenet_v3_small(dilated=True), 21),
    "deeplab on a reduced tail": lambda: _deeplabv3_mobilenetv3(mobilenet_v3_small(dilated=True, reduced_tail=True), 21, None),
}
CLASSES = {"lraspp of 5 classes": 5}


def read(theirs: nn.Module, classes: int) -> Model:
    labels = [f"class {i}" for i in range(classes)]
    return assemble(importer.read(theirs.state_dict(), "file.pth"), labels=labels, weights="file.pth")


@torch.inference_mode()
@pytest.mark.parametrize("name", NETWORKS)
def test_logits_equal_those_of_torchvision(name: str, random_weights: Draw) -> None:
    theirs = random_weights(NETWORKS[name]())
    ours = read(theirs, CLASSES.get(name, 21))
    for size in ((64, 64), (65, 97), (130, 51)):
        x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(size[1])) * 2 - 1
        expected = theirs(x)["out"]
        found = enlarge(ours(x), size, align_corners=False)
        assert expected.std(0).max() > 1e-3, "the logits do not depend on the image"
        assert float((found - expected).abs().max() / expected.abs().max()) < 1e-4


@torch.inference_mode()
def test_the_auxiliary_head_equals_torchvision_s(random_weights: Draw) -> None:
    theirs = random_weights(NETWORKS["deeplab with auxiliary head"]())
    ours = read(theirs, 21)
    x = torch.rand(1, 3, 65, 97)
    shallow = ours.backbone.maps(x, [importer.LOW])[importer.LOW]
    found = enlarge(ours.head.auxiliary(shallow), (65, 97), align_corners=False)
    torch.testing.assert_close(found, theirs(x)["aux"], rtol=1e-4, atol=1e-4)


def test_a_file_loads_with_the_labels_of_pascal_voc(tmp_path: Path) -> None:
    path = tmp_path / "lraspp.pth"
    torch.save(NETWORKS["lraspp"]().state_dict(), path)
    model = load(path)
    assert (model.spec.task, model.spec.labels) == ("segment", PASCAL_VOC)
    assert model.spec.backbone.rows == backbone("mobilenet_v3_large").rows
    assert "input contract assumed" in model.spec.weights
    assert load(path, labels=[f"class {i}" for i in range(21)]).spec.labels[3] == "class 3"


def test_a_surplus_tensor_is_named() -> None:
    state = {**NETWORKS["lraspp"]().state_dict(), "classifier.extra.weight": torch.zeros(1)}
    with pytest.raises(WeightsError, match=r"classifier\.extra\.weight"):
        importer.read(state, "file.pth")


def test_another_backbone_is_refused() -> None:
    state = NETWORKS["deeplab"]().state_dict()
    less = {name: tensor for name, tensor in state.items() if not name.startswith("backbone.16.")}
    with pytest.raises(WeightsError, match="has 16 features, none of torchvision's MobileNetV3 has"):
        importer.read(less, "file.pth")


def test_fewer_atrous_branches_are_refused() -> None:
    state = NETWORKS["deeplab"]().state_dict()
    less = {name: tensor for name, tensor in state.items() if not name.startswith("classifier.0.convs.3.")}
    with pytest.raises(WeightsError, match="has 2 atrous branches; torchvision has 3"):
        importer.read(less, "file.pth")
