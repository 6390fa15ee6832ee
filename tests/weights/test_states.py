"""State dicts as fine-tuning scripts write them: each computes what its network does, or is refused by name."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.optim.swa_utils import AveragedModel

from mobilenets.errors import WeightsError
from mobilenets.weights.load import read
from mobilenets.weights.told import NOTHING_TOLD, Told

Draw = Callable[[nn.Module], nn.Module]
IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
RELU = Told(hidden_activation="relu")


def v2(classifier: nn.Module | None = None) -> nn.Module:
    net = torchvision.models.mobilenet_v2(width_mult=0.35, num_classes=3)
    if classifier is not None:
        net.classifier = classifier
    return net  # type: ignore[no-any-return] # torchvision has no types


def v3(classifier: nn.Module | None = None) -> nn.Module:
    net = torchvision.models.mobilenet_v3_small(width_mult=0.35, num_classes=3)
    if classifier is not None:
        net.classifier = classifier
    return net  # type: ignore[no-any-return]


class Wrapped(nn.Module):
    """A backbone and a head of the user's own, as Lightning modules and courses have them."""

    def __init__(self, backbone: nn.Module, features: int) -> None:
        super().__init__()
        self.criterion = nn.CrossEntropyLoss(weight=torch.ones(3))
        self.encoder = backbone
        self.fc = nn.Linear(features, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.encoder(x)
        logits: Tensor = self.fc(x.mean((2, 3)) if x.ndim == 4 else x)
        return logits


V3_FEATURES = v3().classifier[0].in_features  # type: ignore[index,union-attr] # a Sequential
FORMS: dict[str, tuple[Callable[[], nn.Module], Told]] = {
    "own V2": (v2, NOTHING_TOLD),
    "own V3": (v3, NOTHING_TOLD),
    "one linear layer": (lambda: v2(nn.Linear(1280, 3)), NOTHING_TOLD),
    "V3, dropout and linear": (lambda: v3(nn.Sequential(nn.Dropout(0.2), nn.Linear(V3_FEATURES, 3))), NOTHING_TOLD),
    "hidden ReLU": (lambda: v2(nn.Sequential(nn.Linear(1280, 32), nn.ReLU(), nn.Linear(32, 3))), RELU),
    "V3, hidden ReLU": (
        lambda: v3(nn.Sequential(nn.Linear(V3_FEATURES, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 3))),
        RELU,
    ),
    "no activation between": (lambda: v2(nn.Sequential(nn.Linear(1280, 32), nn.Linear(32, 3))), NOTHING_TOLD),
    "norms as fastai has them": (
        lambda: v2(
            nn.Sequential(
                nn.BatchNorm1d(1280),
                nn.Dropout(),
                nn.Linear(1280, 32, bias=False),
                nn.ReLU(),
                nn.BatchNorm1d(32),
                nn.Dropout(),
                nn.Linear(32, 3, bias=False),
            )
        ),
        RELU,
    ),
    "norm before the activation": (
        lambda: v2(nn.Sequential(nn.Linear(1280, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 3))),
        RELU,
    ),
    "a Sequential of features and head": (
        lambda: nn.Sequential(v2().features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 3)),  # type: ignore[arg-type]
        NOTHING_TOLD,
    ),
    "a Sequential of every layer": (
        lambda: nn.Sequential(*v2().features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 3)),  # type: ignore[misc]
        NOTHING_TOLD,
    ),
    "features of a module": (lambda: Wrapped(v2().features, 1280), NOTHING_TOLD),  # type: ignore[arg-type]
    "timm without classifier, own head": (
        lambda: Wrapped(timm.create_model("mobilenetv3_small_050", num_classes=0), 1024),
        NOTHING_TOLD,
    ),
    "timm V4, own head": (lambda: Wrapped(timm.create_model("mobilenetv4_conv_small_035", num_classes=0), 1280), NOTHING_TOLD),
    "a 1 x 1 convolution": (
        lambda: nn.Sequential(v2().features, nn.AdaptiveAvgPool2d(1), nn.Conv2d(1280, 3, 1), nn.Flatten()),  # type: ignore[arg-type]
        NOTHING_TOLD,
    ),
}


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize("form", FORMS)
def test_heads_compute_what_the_network_does(form: str, ending: str, random_weights: Draw, tmp_path: Path) -> None:
    build, told = FORMS[form]
    net = random_weights(build())
    path = tmp_path / f"net{ending}"
    state = net.state_dict()
    save_file(state, path) if ending == ".safetensors" else torch.save(state, path)
    assert _difference(net, path, told) < 1e-4


@pytest.mark.parametrize(
    "prefix",
    ["model.", "net.", "module.", "_orig_mod.", "backbone.", "_orig_mod.module.", "module._orig_mod.", "model._orig_mod.net."],
)
def test_any_prefix_is_taken_off(prefix: str, random_weights: Draw, tmp_path: Path) -> None:
    net = random_weights(v2())
    torch.save({"epoch": 1, "state_dict": {prefix + name: x for name, x in net.state_dict().items()}}, tmp_path / "net.ckpt")
    assert _difference(net, tmp_path / "net.ckpt") < 1e-4


CONTAINERS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "Lightning": lambda state: {
        "pytorch-lightning_version": "2.1",
        "state_dict": {f"model.{name}": x for name, x in state.items()},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}}],
        "hyper_parameters": {"lr": 1e-3},
    },
    "a name of its own": lambda state: {"checkpoint": {"generator": state}, "acc": 93.1},
    "an optimizer beside it": lambda state: {
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(9)}}, "param_groups": [{"lr": 0.1}]},
        "net": state,
    },
    "16 bits": lambda state: {name: x.double() if x.ndim == 1 else x for name, x in state.items()},
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_state_dict_is_found_wherever_it_lies(container: str, random_weights: Draw, tmp_path: Path) -> None:
    net = random_weights(v2())
    torch.save(CONTAINERS[container](net.state_dict()), tmp_path / "net.pth")
    assert _difference(net, tmp_path / "net.pth") < 1e-4


def test_averaged_weights_are_named_and_can_be_chosen(random_weights: Draw, tmp_path: Path) -> None:
    net = random_weights(v2())
    other = {name: x * 2 if x.ndim == 4 else x for name, x in net.state_dict().items()}
    torch.save({"state_dict_ema": net.state_dict(), "state_dict": other}, tmp_path / "net.pth")
    assert "state_dict_ema" in read(tmp_path / "net.pth").notes[0]
    assert _difference(net, tmp_path / "net.pth") > 1e-2
    assert _difference(net, tmp_path / "net.pth", Told(key="state_dict_ema")) < 1e-4


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_pruned_layers_are_what_is_left_of_them(ending: str, random_weights: Draw, tmp_path: Path) -> None:
    net = random_weights(v2())
    for module in (net.features[0][0], net.classifier[1]):  # type: ignore[index]
        prune.random_unstructured(module, "weight", amount=0.5)  # type: ignore[no-untyped-call] # torch has no types
    state = net.state_dict()
    assert "classifier.1.weight_mask" in state
    save_file(state, tmp_path / f"net{ending}") if ending == ".safetensors" else torch.save(state, tmp_path / f"net{ending}")
    assert _difference(net, tmp_path / f"net{ending}") < 1e-4


def test_an_averaged_model_is_read_without_its_counter(random_weights: Draw, tmp_path: Path) -> None:
    net = random_weights(v2())
    torch.save(AveragedModel(net).state_dict(), tmp_path / "swa.pth")
    assert _difference(net, tmp_path / "swa.pth") < 1e-4


def test_of_two_networks_one_must_be_named(random_weights: Draw, tmp_path: Path) -> None:
    net = random_weights(v2())
    both = {f"{who}.{name}": x * (who == "student") for name, x in net.state_dict().items() for who in ("teacher", "student")}
    torch.save(both, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match="holds 2 networks, under 'teacher"):
        read(tmp_path / "net.pth")
    assert _difference(net, tmp_path / "net.pth", Told(key="student")) < 1e-4


def test_a_key_that_the_file_does_not_have_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": v2().state_dict()}, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match="has no state dict and no tensors under 'teacher'") as caught:
        read(tmp_path / "net.pth", told=Told(key="teacher"))
    assert caught.value.hint == "its state dicts are 'state_dict'"


def test_a_damaged_safetensors_file_is_not_taken_for_code(tmp_path: Path) -> None:
    (tmp_path / "net.safetensors").write_bytes(b"short")
    with pytest.raises(WeightsError, match=r"net\.safetensors' is damaged: ") as caught:
        read(tmp_path / "net.safetensors")
    assert "code" not in caught.value.hint


def test_an_address_is_refused_as_one() -> None:
    with pytest.raises(WeightsError, match=r"'https://host/net\.pth' is an address") as caught:
        read("https://host/net.pth")
    assert caught.value.hint == "download the file first"


def test_one_output_named_as_two_classes_scores_as_its_sigmoid(random_weights: Draw, tmp_path: Path) -> None:
    net = random_weights(v2(nn.Linear(1280, 1)))
    torch.save(net.state_dict(), tmp_path / "net.pth")
    with pytest.raises(WeightsError, match="1 output without an activation"):
        read(tmp_path / "net.pth")
    model = read(tmp_path / "net.pth", labels=("no", "yes")).model
    with torch.inference_mode():
        torch.testing.assert_close(model(IMAGES).softmax(1)[:, 1:], net(IMAGES).sigmoid(), atol=1e-5, rtol=0)


class Concat(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.amax((2, 3)), x.mean((2, 3))], 1)


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features, self.age, self.sex = v2().features, nn.Linear(1280, 5), nn.Linear(1280, 2)


class Normalizing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, 3, 1, 1))
        self.net = v2()


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "hidden": (lambda: v2(nn.Sequential(nn.Linear(1280, 9), nn.Tanh(), nn.Linear(9, 3))), "does not say which activation"),
    "V3 hidden": (
        lambda: v3(nn.Sequential(nn.Linear(V3_FEATURES, 9), nn.ReLU(), nn.Dropout(), nn.Linear(9, 3))),
        "does not say which activation",
    ),
    "fastai": (
        lambda: nn.Sequential(nn.Sequential(v2().features), nn.Sequential(Concat(), nn.Flatten(), nn.Linear(2560, 3))),  # type: ignore[arg-type]
        "average and maximum pooling side by side",
    ),
    "flattened": (lambda: nn.Sequential(v2().features, nn.Flatten(), nn.Linear(1280 * 4, 3)), "flattened 2 x 2 map"),  # type: ignore[arg-type]
    "two heads": (Heads, "several heads side by side"),
    "own normalization": (Normalizing, "no place for: 'mean'"),
    "fewer layers": (lambda: v2().features[:-1], "18 features"),  # type: ignore[index]
}


@pytest.mark.parametrize("form", REFUSED)
def test_other_heads_are_refused_by_name_and_with_a_hint(form: str, tmp_path: Path) -> None:
    build, message = REFUSED[form]
    torch.save(build().state_dict(), tmp_path / "net.pth")
    with pytest.raises(WeightsError, match=message) as caught:
        read(tmp_path / "net.pth")
    assert caught.value.hint


def test_files_that_hold_no_plain_state_dict_are_refused(tmp_path: Path) -> None:
    looped: dict[str, Any] = {}
    looped["model"] = looped
    expanded = {name: x.new_zeros(1).expand(x.shape) if x.ndim == 4 else x for name, x in v2().state_dict().items()}
    for name, data, message in (
        ("looped", looped, "holds no tensors by name"),
        ("meta", {name: x.to("meta") for name, x in v2().state_dict().items()}, "a tensor of the device 'meta'"),
        ("sparse", {name: x.to_sparse() if x.ndim == 2 else x for name, x in v2().state_dict().items()}, "sparse_coo"),
        ("list", [torch.zeros(3)], "holds a list"),
        ("whole", v2(), r"it needs the class torchvision\.models\.mobilenetv2\.MobileNetV2"),
        ("expanded", expanded, "stores less of"),
    ):
        torch.save(data, tmp_path / f"{name}.pth")
        with pytest.raises(WeightsError, match=message) as caught:
            read(tmp_path / f"{name}.pth")
        assert caught.value.hint
    with zipfile.ZipFile(tmp_path / "program.pt", "w") as archive:
        archive.writestr("program/code/__torch__.py", "")
    with pytest.raises(WeightsError, match="is a TorchScript program"):
        read(tmp_path / "program.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value: float, tmp_path: Path) -> None:
    state = v2().state_dict()
    state["features.3.conv.1.1.weight"][2] = value
    torch.save(state, tmp_path / "net.pth")
    where = r"'backbone\.blocks\.3\.depthwise\.norm\.weight'"
    with pytest.raises(WeightsError, match=rf"NaN or infinite, in 1 of \d+ tensors: {where}"):
        read(tmp_path / "net.pth")


def test_negative_variances_are_refused(tmp_path: Path) -> None:
    state = v2().state_dict()
    state["features.3.conv.1.1.running_var"][2] = -1
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match="negative variances"):
        read(tmp_path / "net.pth")


def _difference(net: nn.Module, path: Path, told: Told = NOTHING_TOLD) -> float:
    """The largest difference of logits, as a share of the largest."""
    with torch.inference_mode():
        expected, found = net(IMAGES), read(path, told=told).model(IMAGES)
    assert expected.std(dim=0).max() > 1e-3
    return float((expected - found).abs().max() / expected.abs().max())
