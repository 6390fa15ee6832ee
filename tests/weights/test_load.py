"""`load` and `download`, without a network: caches are folders of the test."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from urllib3.util.connection import create_connection

from mobilenets import checkpoint
from mobilenets.errors import CheckpointError, UnknownNameError, WeightsError
from mobilenets.weights import download
from mobilenets.weights.catalog import CATALOG, PublicWeights
from mobilenets.weights.load import load, load_best, read

CORAL = "google-coral/mobilenet_v1_0.25_128_quant"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no way to any server."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("urllib3.util.connection.create_connection", refuse)
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def small() -> torch.nn.Module:
    torch.manual_seed(0)
    network: torch.nn.Module = torchvision.models.mobilenet_v3_small(width_mult=0.35, num_classes=3)
    return network


def test_public_weights_in_the_cache_need_no_network(shared: Path, cache: Path) -> None:
    shutil.copy(shared / "weights/mobilenet_v1_0.25_128_quant.tflite", cache)
    model = load(CORAL)
    assert (model.spec.weights, model.spec.backbone.width, model.spec.labels[0]) == (CORAL, 0.25, "tench")


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("torchvision/mobilenet_v2.imagenet1k_v2", "https://download.pytorch.org/models/mobilenet_v2-7ebf99e0.pth"),
        (
            "timm/mobilenetv4_conv_small.e2400_r224_in1k",
            "https://huggingface.co/timm/mobilenetv4_conv_small.e2400_r224_in1k/resolve/main/model.safetensors",
        ),
    ],
)
def test_offline_the_error_says_what_to_put_where_and_what_then_works(cache: Path, name: str, url: str) -> None:
    with pytest.raises(WeightsError, match="no route to host") as caught:
        load(name)
    assert name in str(caught.value)
    place = cache / CATALOG[name].file
    for part in (url, str(place), f"mobilenets convert {name}"):
        assert part in caught.value.hint


def test_the_file_put_there_by_hand_is_found(cache: Path) -> None:
    entry = CATALOG["timm/mobilenetv4_conv_small_050.e3000_r224_in1k"]
    save_file(timm.create_model(entry.architecture).state_dict(), cache / entry.file)
    model = load_best("mobilenet_v4_conv_small", 0.5)
    assert (model.spec.weights, model.spec.input) == (entry.name, entry.input)


def test_keras_s_own_cache_is_looked_into(tmp_path: Path, cache: Path) -> None:
    entry = CATALOG["keras/mobilenet_0.25_128"]
    path = tmp_path / "keras" / "models" / "mobilenet_2_5_128_tf.h5"
    path.parent.mkdir(parents=True)
    path.touch()
    assert download.cached(entry) == path


def test_best_weights_of_a_network_without_any_are_an_error() -> None:
    with pytest.raises(WeightsError, match=r"no public weights of mobilenet_v2 at width 0\.42"):
        load_best("mobilenet_v2", 0.42)


def test_a_damaged_file_of_the_catalog_is_named(cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "mobilenet_v1_0.25_128_quant.tflite"
    path.write_bytes(b"cut off")
    with pytest.raises(WeightsError, match="its sha256 starts with"):
        load(path)


def served(web: Any, data: bytes, monkeypatch: pytest.MonkeyPatch) -> PublicWeights:
    """An entry of the catalog whose file a web server of this machine gives."""
    monkeypatch.setattr("urllib3.util.connection.create_connection", create_connection)
    entry = CATALOG["keras/mobilenet_v3_small_224_1.0"]
    (web.folder / entry.file).write_bytes(data)
    own = {"url": f"{web.url}/{entry.file}", "checksum": f"md5:{hashlib.md5(b'weights' * 9999).hexdigest()}"}
    return PublicWeights(**{name: getattr(entry, name) for name in entry.__slots__} | own)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a pointer of Git LFS, not the file itself"),
        (b"\n<!DOCTYPE html><title>Sign in</title>", "is a web page, not the file itself"),
        (b"PK\x03\x04 and no table of contents", "is damaged: its end is missing"),
        (b"", "is empty: 0 bytes"),
        (gzip.compress(b"weights"), "is a gzip archive, not the file itself"),
        (lzma.compress(b"weights"), "is an xz archive, not the file itself"),
        (bz2.compress(b"weights"), "is a bzip2 archive, not the file itself"),
    ],
)
@pytest.mark.parametrize("name", ["weights.pth", "weights.tflite", "weights.keras"])
def test_a_file_that_was_not_fetched_is_named_with_what_to_do(tmp_path: Path, content: bytes, said: str, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=said) as caught:
        load(tmp_path / name)
    assert caught.value.hint


def test_weights_in_a_zip_archive_are_to_be_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "weights.zip", "w") as archive:
        archive.writestr("best.pth", b"")
    with pytest.raises(WeightsError, match=r"is a zip archive that holds 'best\.pth'") as caught:
        load(tmp_path / "weights.zip")
    assert "unzip" in caught.value.hint


def test_an_exported_file_beside_another_program_s_model_json_is_not_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text('{"format": "layers-model"}')  # TensorFlow.js
    (tmp_path / "net.onnx").write_bytes(b"\x08\x01")
    with pytest.raises(CheckpointError, match=r"net\.onnx' is an exported network, which only predicts"):
        load(tmp_path / "net.onnx")


def test_files_of_other_programs_are_named(tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    for name in ("saved/saved_model.pb", "frozen.pb", "net.caffemodel", "net.ckpt.data-00000-of-00001"):
        (tmp_path / name).write_bytes(b"\x08\x01")
    for name, said in (
        ("saved", "a SavedModel of TensorFlow"),
        ("frozen.pb", "a graph of"),
        ("net.caffemodel", "a network of"),
        ("net.ckpt.data-00000-of-00001", "a checkpoint of TensorFlow"),
    ):
        with pytest.raises(WeightsError, match=f"{name}' is {said}"):
            load(tmp_path / name)


def test_weights_that_are_refused_are_named_by_their_file(tmp_path: Path) -> None:
    state = torchvision.models.mobilenet_v2(width_mult=0.1, num_classes=2).state_dict()
    state["features.0.0.weight"][0] = float("nan")
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(WeightsError) as caught:
        load(tmp_path / "nan.pth")
    assert str(caught.value).startswith(f"'{tmp_path / 'nan.pth'}' has weights that are NaN")
    state["features.0.0.weight"][0] = 0
    torch.save(state, tmp_path / "good.pth")
    assert load(tmp_path / "good.pth").spec.weights == "good.pth (input contract assumed)"


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_breaks_off_is_taken_up_and_kept(
    cache: Path, web: Any, monkeypatch: pytest.MonkeyPatch, ranges: bool
) -> None:
    web.ranges, web.cut = ranges, 30_000
    entry = served(web, b"weights" * 9999, monkeypatch)
    assert download.fetch(entry).read_bytes() == b"weights" * 9999
    assert [path.name for path in cache.iterdir()] == [entry.file]
    web.asked.clear()
    download.fetch(entry)
    assert web.asked == []


def test_a_download_that_arrives_damaged_is_removed(cache: Path, web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match="its md5 starts with"):
        download.fetch(served(web, b"an error page", monkeypatch))
    assert list(cache.iterdir()) == []


def test_a_server_that_has_no_such_weights_is_named(cache: Path, web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = served(web, b"", monkeypatch)
    (web.folder / entry.file).unlink()
    with pytest.raises(WeightsError, match="the server answers 404 Not Found") as caught:
        download.fetch(entry)
    assert entry.url in caught.value.hint


def test_the_cache_of_the_hugging_face_hub_is_looked_into(cache: Path, tmp_path: Path) -> None:
    entry = CATALOG["timm/mobilenetv4_conv_small.e2400_r224_in1k"]
    huggingface_hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    folder = huggingface_hub.file_download.repo_folder_name(repo_id=entry.url.removeprefix("hf-hub:"), repo_type="model")
    path = tmp_path / "hub" / folder / "snapshots" / "0123" / "model.safetensors"
    path.parent.mkdir(parents=True)
    path.touch()
    assert download.cached(entry) == path


def test_the_folder_is_that_of_torch(cache: Path) -> None:
    assert download._folder() == Path(torch.hub.get_dir()) / "checkpoints"


@pytest.mark.parametrize("wrapped", [lambda state: state, lambda state: {"epoch": 3, "model": state}])
def test_state_dicts_load_with_and_without_a_wrapper(
    small: torch.nn.Module, tmp_path: Path, wrapped: Callable[[dict[str, torch.Tensor]], object]
) -> None:
    state = {f"module.{name}": tensor for name, tensor in small.state_dict().items()}
    torch.save(wrapped(state), tmp_path / "best.pth")
    model = load(tmp_path / "best.pth", labels=("a", "b", "c"))
    assert (model.spec.backbone.name, model.spec.backbone.width) == ("mobilenet_v3_small", 0.35)
    assert model.spec.labels == ("a", "b", "c")
    assert model.spec.weights == "best.pth (input contract assumed)"


def test_a_library_s_name_for_the_file_gives_contract_and_padding(tmp_path: Path) -> None:
    save_file(timm.create_model("tf_mobilenetv3_small_075").state_dict(), tmp_path / "mine.safetensors")
    for name in ("tf_mobilenetv3_small_075", "timm/tf_mobilenetv3_small_075.in1k"):
        spec = load(tmp_path / "mine.safetensors", model=name).spec
        assert spec.input == CATALOG["timm/tf_mobilenetv3_small_075.in1k"].input
        assert (spec.backbone.padding, spec.backbone.norm_eps) == ("tf", 1e-3)


def test_a_configuration_beside_the_file_gives_the_contract(tmp_path: Path) -> None:
    save_file(timm.create_model("tf_mobilenetv3_small_075", num_classes=2).state_dict(), tmp_path / "model.safetensors")
    settings = {"input_size": [3, 160, 160], "mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 0.9, "interpolation": "bicubic"}
    config = {"architecture": "tf_mobilenetv3_small_075", "pretrained_cfg": settings}
    (tmp_path / "config.json").write_text(json.dumps(config))
    spec = load(tmp_path).spec
    assert (spec.input.size, spec.input.crop, spec.backbone.padding, spec.backbone.norm_eps) == (160, 0.9, "tf", 1e-3)


def test_a_checkpoint_folder_loads_too(small: torch.nn.Module, tmp_path: Path) -> None:
    torch.save(small.state_dict(), tmp_path / "best.pth")
    model = load(tmp_path / "best.pth")
    checkpoint.save(model, tmp_path / "kept")
    assert load(tmp_path / "kept").spec == model.spec


def test_files_of_old_torch_load(small: torch.nn.Module, tmp_path: Path) -> None:
    torch.save(small.state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert load(tmp_path / "old.pth").spec.classes == 3


def test_a_pickle_with_code_in_it_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    with pytest.raises(WeightsError, match="holds more than tensors"):
        load(tmp_path / "module.pth")


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors", "x.h5", "x.keras", "x.tflite"])
def test_rubbish_is_refused_in_words(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"rubbish" * 50)
    with pytest.raises(WeightsError, match=name):
        load(tmp_path / name)


def test_another_model_s_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "resnet.pth")
    with pytest.raises(WeightsError, match="is not a state dict of torchvision's, timm's or transformers' MobileNets"):
        load(tmp_path / "resnet.pth")


def test_a_network_that_was_not_expected_is_an_error(small: torch.nn.Module, tmp_path: Path) -> None:
    torch.save(small.state_dict(), tmp_path / "best.pth")
    with pytest.raises(WeightsError, match=r"holds mobilenet_v3_small 0\.35, not mobilenet_v2 0\.35"):
        load(tmp_path / "best.pth", model="mobilenet_v2")
    with pytest.raises(WeightsError, match=r"not mobilenet_v3_small 1"):
        load(tmp_path / "best.pth", model="mobilenet_v3_small", width=1.0)


def test_wrong_names_suggest_near_ones(small: torch.nn.Module, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean 'timm/mobilenetv2_100\.ra_in1k'"):
        load("timm/mobilenetv2_100.ra_in1")
    torch.save(small.state_dict(), tmp_path / "best.pth")
    with pytest.raises(UnknownNameError, match="did you mean 'mobilenet_v3_small'"):
        load(tmp_path / "best.pth", model="mobilenet_v3_smal")
    with pytest.raises(WeightsError, match=r"there is no file 'gone\.pth'"):
        load("gone.pth")


def test_variants_with_the_same_tensors_are_told_apart_by_name_or_said_to_be_assumed(tmp_path: Path) -> None:
    state = timm.create_model("mobilenetv4_conv_blur_medium", num_classes=2).state_dict()
    for name in ("best.safetensors", "mobilenetv4_conv_blur_medium.e500_r224_in1k.safetensors"):
        save_file(state, tmp_path / name)
    with pytest.raises(WeightsError, match="blur pooling in place of strides"):
        load(tmp_path / "mobilenetv4_conv_blur_medium.e500_r224_in1k.safetensors")
    with pytest.raises(WeightsError, match="blur pooling in place of strides"):
        load(tmp_path / "best.safetensors", model="mobilenetv4_conv_blur_medium")
    reading = read(tmp_path / "best.safetensors")
    assert reading.model.spec.weights == "best.safetensors (input contract assumed) (plain strides assumed)"
    assert [note for note in reading.notes if "taken for the plain network" in note]
    named = read(tmp_path / "best.safetensors", model="mobilenetv4_conv_medium")
    assert named.model.spec.weights == "best.safetensors"
    assert not [note for note in named.notes if "taken for the plain network" in note]
