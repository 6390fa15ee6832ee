"""Files of Hugging Face transformers. The networks here have its names, its padding and its configuration files.

They were compared with transformers 5.24 itself once: LOG.md.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mobilenets.errors import WeightsError
from mobilenets.weights.load import read

V1_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
V2_STRIDES = (2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1)
V1_CHANNELS: tuple[int, ...] = (16, 32, 64, 64, 128, 128, 256, 256, 256, 256, 256, 256, 512, 512)  # width 0.5
V2_CHANNELS: tuple[int, ...] = (8, 16, 16, 16, 16, 16, 32, 32, 32, 32, 48, 48, 48, 80, 80, 80, 160)  # width 0.5


class Layer(nn.Module):
    """A convolution, a norm and ReLU6, padded as TensorFlow pads, or by half the kernel."""

    def __init__(
        self, c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1, *, tf: bool, acts: bool = True
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(c_in, c_out, kernel, stride, 0 if tf else kernel // 2, groups=groups, bias=False)
        self.normalization = nn.BatchNorm2d(c_out, eps=1e-3)
        self.tf, self.acts = tf, acts

    def forward(self, maps: Tensor) -> Tensor:
        """The layer's map."""
        kernel, stride = self.convolution.kernel_size[0], self.convolution.stride[0]
        if self.tf:
            pads = []
            for side in (maps.shape[3], maps.shape[2]):
                all_of_it = max(kernel - (stride if side % stride == 0 else side % stride), 0)
                pads += [all_of_it // 2, all_of_it - all_of_it // 2]
            maps = nn.functional.pad(maps, pads)
        made: Tensor = self.normalization(self.convolution(maps))
        return nn.functional.relu6(made) if self.acts else made


class Residual(nn.Module):
    """An inverted residual; of the first one, the expansion is the stem."""

    def __init__(self, c_in: int, c_out: int, stride: int, *, tf: bool, stem: bool = False) -> None:
        super().__init__()
        inner = 6 * c_in
        if stem:
            inner = c_in
            self.first_conv = Layer(3, inner, 3, 2, tf=tf)
        else:
            self.expand_1x1 = Layer(c_in, inner, 1, tf=tf)
        self.conv_3x3 = Layer(inner, inner, 3, stride, inner, tf=tf)
        self.reduce_1x1 = Layer(inner, c_out, 1, tf=tf, acts=False)
        self.adds = stride == 1 and c_in == c_out and not stem

    def forward(self, maps: Tensor) -> Tensor:
        """The block's map."""
        first = self.first_conv if hasattr(self, "first_conv") else self.expand_1x1
        made: Tensor = self.reduce_1x1(self.conv_3x3(first(maps)))
        return maps + made if self.adds else made


class Body(nn.Module):
    """Either network up to pooling."""

    def __init__(self, version: int, *, tf: bool) -> None:
        super().__init__()
        if version == 1:
            c = V1_CHANNELS
            self.conv_stem: nn.Module = Layer(3, c[0], 3, 2, tf=tf)
            pairs = [(Layer(c[i], c[i], 3, s, c[i], tf=tf), Layer(c[i], c[i + 1], 1, tf=tf)) for i, s in enumerate(V1_STRIDES)]
            self.layer = nn.ModuleList(layer for pair in pairs for layer in pair)
            self.conv_1x1: nn.Module = nn.Identity()
        else:
            c = V2_CHANNELS
            self.conv_stem = Residual(16, c[0], 1, tf=tf, stem=True)
            self.layer = nn.ModuleList(Residual(c[i], c[i + 1], s, tf=tf) for i, s in enumerate(V2_STRIDES))
            self.conv_1x1 = Layer(c[-1], 1280, 1, tf=tf)

    def forward(self, images: Tensor) -> Tensor:
        """The pooled features."""
        maps = self.conv_stem(images)
        for layer in self.layer:
            maps = layer(maps)
        pooled: Tensor = self.conv_1x1(maps).mean((2, 3))
        return pooled


class Classifier(nn.Module):
    """As `MobileNetV1ForImageClassification` and `MobileNetV2ForImageClassification` name their parts."""

    def __init__(self, version: int, classes: int = 4, *, tf: bool = True) -> None:
        super().__init__()
        self.body = f"mobilenet_v{version}"
        setattr(self, self.body, Body(version, tf=tf))
        self.classifier = nn.Linear(512 if version == 1 else 1280, classes)
        random = torch.Generator().manual_seed(0)
        for name, tensor in self.state_dict().items():
            if name.endswith(("running_var", "normalization.weight")):
                tensor.uniform_(0.5, 1.5, generator=random)
            elif tensor.ndim > 1:
                tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=random)
            elif tensor.is_floating_point():
                tensor.normal_(0, 0.3, generator=random)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """The logits."""
        logits: Tensor = self.classifier(getattr(self, self.body)(images))
        return logits


def written(folder: Path, network: nn.Module, **config: object) -> Path:
    """The folder, as `save_pretrained` writes it."""
    save_file({name: tensor.clone() for name, tensor in network.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "mobilenet_v2", **config}))
    return folder


@pytest.mark.parametrize("size", [64, 97])
@pytest.mark.parametrize("tf", [True, False])
@pytest.mark.parametrize("version", [1, 2])
def test_logits_are_those_of_the_network(version: int, tf: bool, size: int, tmp_path: Path) -> None:
    network = Classifier(version, tf=tf)
    reading = read(written(tmp_path, network, tf_padding=tf))
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, got = network(images), reading.model(images)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    spec = reading.model.spec.backbone
    assert (reading.written_by, spec.name, spec.width) == ("transformers", f"mobilenet_v{version}", 0.5)
    assert reading.guesses == ("size", "pixels", "resize", "crop")


def test_a_body_alone_is_a_backbone(tmp_path: Path) -> None:
    network = Classifier(2)
    reading = read(written(tmp_path, network.get_submodule("mobilenet_v2")))
    assert reading.model.spec.labels == ()


def test_the_configuration_says_the_labels_and_the_preprocessor_the_contract(tmp_path: Path) -> None:
    folder = written(tmp_path, Classifier(1), id2label={"0": "cat", "1": "dog", "2": "hen", "3": "owl"})
    preprocessor = {
        "size": {"shortest_edge": 128},
        "crop_size": {"height": 96, "width": 96},
        "resample": 3,
        "image_mean": [0.5] * 3,
    }
    (folder / "preprocessor_config.json").write_text(
        json.dumps({**preprocessor, "image_std": [0.25] * 3, "rescale_factor": 1 / 255})
    )
    reading = read(folder)
    spec = reading.model.spec
    assert (spec.labels, reading.labels) == (("cat", "dog", "hen", "owl"), "read")
    assert (spec.input.size, spec.input.crop, spec.input.std, spec.input.interpolation) == (96, 0.75, (0.25,) * 3, "bicubic")
    assert not reading.guesses


@pytest.mark.parametrize("names", [{"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2", "3": "LABEL_3"}, {"0": "cat"}, [1], None])
def test_names_that_say_nothing_are_left_out(names: object, tmp_path: Path) -> None:
    assert read(written(tmp_path, Classifier(1), id2label=names)).labels == "guessed"


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"crop_size": 5, "image_mean": [1]}', '{"crop_size": {"height": "x", "width": "x"}}']
)
def test_a_damaged_preprocessor_leaves_the_contract_guessed(text: str, tmp_path: Path) -> None:
    folder = written(tmp_path, Classifier(1))
    (folder / "preprocessor_config.json").write_text(text)
    assert len(read(folder).guesses) == 4


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"output_stride": 16}, "output_stride 16"),
        ({"hidden_act": "swish"}, "hidden_act 'swish'"),
        ({"layer_norm_eps": -1}, "layer_norm_eps -1"),
    ],
)
def test_a_network_that_computes_something_else_is_refused(config: dict[str, object], words: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=words):
        read(written(tmp_path, Classifier(2), **config))


def test_a_segmentation_head_is_refused_by_name(tmp_path: Path) -> None:
    network = Classifier(2)
    network.segmentation_head = nn.ModuleDict({"conv_pool": Layer(1280, 8, 3, tf=True)})
    with pytest.raises(WeightsError, match=r"no place for: 'segmentation_head.conv_pool"):
        read(written(tmp_path, network))


def test_another_depth_is_refused(tmp_path: Path) -> None:
    network = Classifier(2)
    del network.get_submodule("mobilenet_v2.layer")[-1]  # type: ignore[operator]  # a ModuleList
    with pytest.raises(WeightsError, match="has 15 layers, not the 16"):
        read(written(tmp_path, network))
