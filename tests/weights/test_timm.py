from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch

from mobilenets.errors import WeightsError
from mobilenets.specs import v1, v2, v3, v4
from mobilenets.specs.families import backbone
from mobilenets.specs.rows import Activation
from mobilenets.weights import timm as importer
from mobilenets.weights.assemble import assemble, backbone_of

Draw = Callable[[torch.nn.Module], torch.nn.Module]
Measure = Callable[..., float]
LABELS = tuple(f"class {i}" for i in range(1000))
# fmt: off
CASES = [
    # architecture                      network                            width  sizes
    ("mobilenetv1_100",                  "mobilenet_v1",                    1.0,  (64, 97)),
    ("mobilenetv1_100h",                 "mobilenet_v1",                    1.0,  (64, 97)),
    ("mobilenetv1_125",                  "mobilenet_v1",                    1.25, (64,)),
    ("mobilenetv2_035",                  "mobilenet_v2",                    0.35, (64, 97)),
    ("mobilenetv2_050",                  "mobilenet_v2",                    0.5,  (64,)),
    ("mobilenetv2_075",                  "mobilenet_v2",                    0.75, (64,)),
    ("mobilenetv2_100",                  "mobilenet_v2",                    1.0,  (64, 97)),
    ("mobilenetv2_110d",                 "mobilenet_v2",                    1.1,  (64,)),
    ("mobilenetv2_120d",                 "mobilenet_v2",                    1.2,  (64,)),
    ("mobilenetv2_140",                  "mobilenet_v2",                    1.4,  (97,)),
    ("mobilenetv3_large_075",            "mobilenet_v3_large",              0.75, (64,)),
    ("mobilenetv3_large_100",            "mobilenet_v3_large",              1.0,  (64, 97)),
    ("mobilenetv3_large_150d",           "mobilenet_v3_large",              1.5,  (64,)),
    ("mobilenetv3_small_050",            "mobilenet_v3_small",              0.5,  (64,)),
    ("mobilenetv3_small_075",            "mobilenet_v3_small",              0.75, (64,)),
    ("mobilenetv3_small_100",            "mobilenet_v3_small",              1.0,  (64, 97)),
    ("tf_mobilenetv3_large_075",         "mobilenet_v3_large",              0.75, (64,)),
    ("tf_mobilenetv3_large_100",         "mobilenet_v3_large",              1.0,  (64, 97)),
    ("tf_mobilenetv3_large_minimal_100", "mobilenet_v3_large_minimalistic", 1.0,  (64, 97)),
    ("tf_mobilenetv3_small_075",         "mobilenet_v3_small",              0.75, (64,)),
    ("tf_mobilenetv3_small_100",         "mobilenet_v3_small",              1.0,  (64, 97)),
    ("tf_mobilenetv3_small_minimal_100", "mobilenet_v3_small_minimalistic", 1.0,  (64, 97)),
    ("mobilenetv4_conv_small_035",       "mobilenet_v4_conv_small",         0.35, (64, 97)),
    ("mobilenetv4_conv_small_050",       "mobilenet_v4_conv_small",         0.5,  (64,)),
    ("mobilenetv4_conv_small",           "mobilenet_v4_conv_small",         1.0,  (64, 97)),
    ("mobilenetv4_conv_medium",          "mobilenet_v4_conv_medium",        1.0,  (64, 97)),
    ("mobilenetv4_conv_large",           "mobilenet_v4_conv_large",         1.0,  (65,)),
    ("mobilenetv4_hybrid_medium_075",    "mobilenet_v4_hybrid_medium",      0.75, (64,)),
    ("mobilenetv4_hybrid_medium",        "mobilenet_v4_hybrid_medium",      1.0,  (64, 97)),
    ("mobilenetv4_hybrid_large_075",     "mobilenet_v4_hybrid_large",       0.75, (64,)),
    ("mobilenetv4_hybrid_large",         "mobilenet_v4_hybrid_large",       1.0,  (65,)),
]
SCALINGS = {"mobilenet_v1": v1.TIMM, "mobilenet_v2": v2.TIMM, "mobilenet_v3": v3.TIMM, "mobilenet_v4": v4.TIMM}
DEEPER = ("mobilenetv1_100h", "mobilenetv2_110d", "mobilenetv2_120d", "mobilenetv3_large_150d")  # no rows of the paper
# fmt: on


@pytest.mark.parametrize(("architecture", "name", "width", "sizes"), CASES)
def test_logits_equal_those_of_timm(
    architecture: str, name: str, width: float, sizes: tuple[int, ...], random_weights: Draw, difference: Measure
) -> None:
    theirs = random_weights(timm.create_model(architecture))
    network = importer.read(theirs.state_dict(), "file.pth", architecture=architecture)
    ours = assemble(network, labels=LABELS, weights="file.pth")
    assert (ours.spec.backbone.name, ours.spec.backbone.width) == (name, width)
    assert difference(theirs, ours, sizes=sizes) < 1e-4


@pytest.mark.parametrize(("architecture", "name", "width", "sizes"), [case for case in CASES if case[0] not in DEEPER])
def test_the_rows_read_from_the_tensors_are_the_family_s_own(
    architecture: str, name: str, width: float, sizes: tuple[int, ...]
) -> None:
    with torch.device("meta"):
        state = timm.create_model(architecture).state_dict()
    spec = backbone_of(importer.read(state, "file.pth", architecture=architecture))
    activation: Activation | None = "relu6" if name == "mobilenet_v1" else None
    expected = backbone(name, width=width, scaling=SCALINGS[name[:12]], activation=activation)
    assert (spec.rows, spec.tail) == (expected.rows, expected.tail)


@pytest.mark.parametrize("architecture", importer.OTHER)
def test_networks_that_compute_something_else_are_refused(architecture: str) -> None:
    with torch.device("meta"):
        state = timm.create_model(architecture).state_dict()
    with pytest.raises(WeightsError, match=importer.OTHER[architecture]):
        importer.read(state, "file.pth", architecture=architecture)


def test_the_rw_variant_is_refused_without_being_named() -> None:
    with torch.device("meta"):
        state = timm.create_model("mobilenetv3_rw").state_dict()
    with pytest.raises(WeightsError, match="hard-swish inside"):
        importer.read(state, "file.pth")


def test_a_file_without_classifier_loads() -> None:
    state = timm.create_model("mobilenetv4_conv_small_035", num_classes=0).state_dict()
    model = assemble(importer.read(state, "file.pth"), labels=(), weights="file.pth")
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 0)


def test_a_network_of_another_family_is_refused() -> None:
    with torch.device("meta"):
        state = timm.create_model("efficientnet_b0").state_dict()
    with pytest.raises(
        WeightsError,
        match=r"this is not a mobilenet_v2: its block 1 is bottleneck \(kernel 3, stride 1, .*, squeeze-excite\), which",
    ):
        backbone_of(importer.read(state, "file.pth"))
