from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torchvision

from mobilenets.errors import WeightsError
from mobilenets.specs import v2, v3
from mobilenets.specs.families import backbone
from mobilenets.weights.assemble import assemble, backbone_of
from mobilenets.weights.torchvision import classify as importer

Draw = Callable[[torch.nn.Module], torch.nn.Module]
Measure = Callable[..., float]
LABELS = tuple(f"class {i}" for i in range(1000))
SCALINGS = {
    "mobilenet_v2": v2.TORCHVISION,
    "mobilenet_v3_large": v3.TORCHVISION,
    "mobilenet_v3_small": v3.TORCHVISION,
}
CASES = [
    *(("mobilenet_v2", width) for width in (0.35, 0.75, 1.0, 1.4)),
    *(("mobilenet_v3_large", width) for width in (0.5, 1.0, 1.25)),
    *(("mobilenet_v3_small", width) for width in (0.35, 1.0, 1.5)),
]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(7)


@pytest.mark.parametrize(("name", "width"), CASES)
def test_logits_equal_those_of_torchvision(name: str, width: float, random_weights: Draw, difference: Measure) -> None:
    theirs = random_weights(torchvision.models.get_model(name, width_mult=width))
    ours = assemble(importer.read(theirs.state_dict(), "file.pth"), labels=LABELS, weights="file.pth")
    assert difference(theirs, ours, sizes=(64, 97)) < 1e-4


@pytest.mark.parametrize(("name", "width"), CASES)
def test_the_spec_read_from_the_tensors_is_the_family_s_own(name: str, width: float) -> None:
    state = torchvision.models.get_model(name, width_mult=width).state_dict()
    spec = backbone_of(importer.read(state, "file.pth"))
    expected = backbone(name, width=width, scaling=SCALINGS[name])
    assert (spec.name, spec.width, spec.rows, spec.tail) == (name, width, expected.rows, expected.tail)


def test_grey_input_and_fewer_classes_load(random_weights: Draw, difference: Measure) -> None:
    theirs = torchvision.models.mobilenet_v2(num_classes=3)
    theirs.features[0][0] = torch.nn.Conv2d(1, 32, 3, stride=2, padding=1, bias=False)
    random_weights(theirs)
    ours = assemble(importer.read(theirs.state_dict(), "file.pth"), labels=("a", "b", "c"), weights="file.pth")
    assert ours.spec.input.channels == 1
    assert difference(theirs, ours, sizes=(64,), channels=1) < 1e-4


def test_a_surplus_tensor_is_named() -> None:
    state = {**torchvision.models.mobilenet_v2().state_dict(), "features.3.extra.weight": torch.zeros(1)}
    with pytest.raises(WeightsError, match=r"no place for: 'features\.3\.extra\.weight'"):
        importer.read(state, "file.pth")


def test_a_missing_tensor_is_named() -> None:
    state = torchvision.models.mobilenet_v2().state_dict()
    del state["features.3.conv.1.1.running_var"]
    with pytest.raises(WeightsError, match=r"'file\.pth' has no tensor 'features\.3\.conv\.1\.1\.running_var'"):
        importer.read(state, "file.pth")


def test_another_network_of_torchvision_is_refused() -> None:
    state = torchvision.models.efficientnet_b0().state_dict()
    with pytest.raises(WeightsError, match="9 features"):
        importer.read(state, "file.pth")
