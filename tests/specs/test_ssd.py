from __future__ import annotations

from dataclasses import replace

import pytest

from mobilenets.errors import SpecError, UnknownNameError
from mobilenets.specs.codec import from_json, to_json
from mobilenets.specs.families import PAPERS, backbone
from mobilenets.specs.model import IMAGENET_MEAN, IMAGENET_STD, InputContract, ModelSpec
from mobilenets.specs.rows import feature_maps, with_output_stride
from mobilenets.specs.ssd import SsdHead, detection_maps, ssd, ssd_anchors, ssdlite

LABELS = ("cat", "dog")


def head_of(spec: ModelSpec) -> SsdHead:
    assert isinstance(spec.head, SsdHead)
    return spec.head


# fmt: off
MAPS = {  # channels of the two maps: V1's layers 11 and 13; V2, section 6.2; V3, section 6.3; V4, Tables 11 to 15
    "mobilenet_v1":                    (512, 1024),
    "mobilenet_v2":                    (576, 1280),
    "mobilenet_v3_large":              (672, 960),
    "mobilenet_v3_small":              (288, 576),
    "mobilenet_v3_large_minimalistic": (672, 960),
    "mobilenet_v3_small_minimalistic": (288, 576),
    "mobilenet_edgetpu":               (768, 1280),
    "mobilenet_v4_conv_small":         (576, 960),
    "mobilenet_v4_conv_medium":        (960, 960),
    "mobilenet_v4_conv_large":         (768, 960),
    "mobilenet_v4_hybrid_medium":      (960, 960),
    "mobilenet_v4_hybrid_large":       (768, 960),
}
# fmt: on


@pytest.mark.parametrize("name", PAPERS)
def test_the_backbones_maps_are_those_of_the_papers(name: str) -> None:
    network = backbone(name)
    maps = detection_maps(network)
    assert tuple(feature_maps(network)[name][1] for name in maps) == MAPS[name]


def test_the_papers_map_of_v3_large_is_the_expansion_of_its_13th_bottleneck_and_of_small_of_its_9th() -> None:
    for name, number in (("mobilenet_v3_large", 13), ("mobilenet_v3_small", 9)):
        network = backbone(name)
        assert feature_maps(network)[detection_maps(network)[0]][0] == number  # row 0 is the stem


def test_v2_takes_the_expansion_of_layer_15() -> None:
    network = backbone("mobilenet_v2")
    assert feature_maps(network)[detection_maps(network)[0]][0] == 15 - 1  # TensorFlow counts the stem as layer 1


@pytest.mark.parametrize("name", PAPERS)
def test_every_spec_survives_json(name: str) -> None:
    spec = ssdlite(backbone(name, width=0.5), LABELS, size=(240, 320), reduced=True, activation="sigmoid")
    assert from_json(to_json(spec)) == spec
    assert spec.task == "detect"


def test_nothing_is_left_behind_the_pooling() -> None:
    assert ssdlite(backbone("mobilenet_v3_large"), LABELS).backbone.tail == ()


def test_the_halved_last_block_is_slims_v3_large_detection() -> None:
    rows = ssdlite(backbone("mobilenet_v3_large"), LABELS, reduced=True).backbone.rows
    assert [row.c_out for row in rows[12:]] == [112, 80, 80, 80, 480]
    assert [getattr(row, "c_expand", 0) for row in rows[12:]] == [672, 672, 480, 480, 0]
    assert [getattr(row, "c_squeeze", 0) for row in rows[12:]] == [168, 168, 120, 120, 0]


def test_strides_double_behind_the_backbone_and_follow_its_output_stride() -> None:
    network = backbone("mobilenet_v2")
    assert head_of(ssdlite(network, LABELS)).strides == (16, 32, 64, 128, 256, 512)
    assert head_of(ssdlite(with_output_stride(network, 16), LABELS)).strides == (16, 16, 32, 64, 128, 256)
    assert head_of(ssdlite(network, LABELS, maps=("s8", "s16", "s32"))).strides == (8, 16, 32, 64, 128, 256, 512)


def test_extra_layers_follow_the_width_as_in_tensorflow_with_16_channels_at_least() -> None:
    assert head_of(ssdlite(backbone("mobilenet_v2", width=0.35), LABELS)).extras == (179, 89, 89, 44)
    assert head_of(ssdlite(backbone("mobilenet_v1", width=0.1), LABELS)).extras == (51, 25, 25, 16)


def test_scales_of_the_paper() -> None:
    anchors = ssd_anchors(smallest=0)
    assert [round(each[0][0], 6) for each in anchors] == [0.2, 0.35, 0.5, 0.65, 0.8, 0.95]
    assert [round(each[1][0] ** 2, 6) for each in anchors] == [0.07, 0.175, 0.325, 0.52, 0.76, 0.95]  # s_k s_k+1
    assert all(each[1][1] == 1 for each in anchors)
    assert [ratio for _, ratio in anchors[3]] == [1, 1, 2, 1 / 2, 3, 1 / 3]


def test_the_reduced_first_map_has_tensorflows_three_anchors() -> None:
    assert ssd_anchors()[0] == ((0.1, 1.0), (0.2, 2.0), (0.2, 0.5))
    assert ssd_anchors()[1:] == ssd_anchors(smallest=0)[1:]


def test_ssd_has_full_convolutions_and_their_kernel() -> None:
    head = head_of(ssd(backbone("mobilenet_v1"), LABELS, kernel=1))
    assert (head.separable, head.kernel) == (False, 1)


def test_mean_and_std_of_weights_are_kept_and_the_whole_image_is_seen() -> None:
    imagenet = InputContract(mean=IMAGENET_MEAN, std=IMAGENET_STD, resize="shorter_side_then_crop", crop=0.875)
    found = ssdlite(backbone("mobilenet_v2"), LABELS, size=(240, 320), contract=imagenet).input
    assert found == InputContract(240, 3, IMAGENET_MEAN, IMAGENET_STD, "stretch", 1.0, wide=320)


def test_grey_input() -> None:
    assert ssdlite(backbone("mobilenet_v2", in_channels=1), LABELS).input.mean == (0.5,)


def test_fresh_has_no_thresholds_of_labels() -> None:
    head = head_of(ssdlite(backbone("mobilenet_v2"), LABELS))
    assert replace(head, class_thresholds=(0.3, 0.5)).fresh() == head


def test_padding_that_rounds_down_becomes_tensorflows() -> None:
    assert ssdlite(backbone("mobilenet_v1", padding="end"), LABELS).backbone.padding == "tf"


def test_errors_say_what_is_wrong() -> None:
    network = backbone("mobilenet_v2")
    with pytest.raises(UnknownNameError, match="unknown feature map 's12'; did you mean 's2' or"):
        ssdlite(network, LABELS, maps=("s12",))
    with pytest.raises(SpecError, match="2 maps of the backbone and 4 behind it need as many strides and anchors, not 6 and 3"):
        ssdlite(network, LABELS, anchors=ssd_anchors(3))
    head = head_of(ssdlite(network, LABELS))
    with pytest.raises(SpecError, match="map 1 has no anchors"):
        replace(head, anchors=(head.anchors[0], (), *head.anchors[2:]))
    with pytest.raises(SpecError, match="must be positive"):
        replace(head, variances=(0.1, 0.1, 0.0, 0.2))
    with pytest.raises(SpecError, match=r"threshold 1\.5 is not between 0 and 1"):
        replace(head, class_thresholds=(0.5, 1.5))
    with pytest.raises(SpecError, match="scores by 'tanh' are not one of softmax, sigmoid"):
        replace(head, activation="tanh")  # type: ignore[arg-type]  # what a damaged file may say
    with pytest.raises(SpecError, match="kernel of 2 has no center"):
        replace(head, kernel=2)
