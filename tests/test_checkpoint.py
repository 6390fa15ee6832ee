"""Checkpoints come back as they were saved, and are never half there."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save as pack_tensors

from mobilenets import checkpoint
from mobilenets.errors import CheckpointError
from mobilenets.model import Model, create
from mobilenets.specs.families import BACKBONES, backbone
from mobilenets.specs.model import ClassifierHead, InputContract, ModelSpec
from mobilenets.specs.rows import BackboneSpec, Bottleneck, Conv

TINY = BackboneSpec("tiny", rows=(Conv(8, 3, 2), Bottleneck(16, 8, stride=2), Conv(12)))


def tiny(*, seed: int = 0, labels: tuple[str, ...] = ("cat", "dog")) -> Model:
    contract = InputContract(size=32, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), resize="letterbox", interpolation="lanczos")
    return create(ModelSpec(TINY, labels, contract, head=ClassifierHead(temperature=1.7), weights="scratch"), seed=seed)


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_comes_back_with_the_same_spec_and_weights(name: str, tmp_path: Path) -> None:
    spec = backbone(name, width=0.25)
    model = create(ModelSpec(spec, ("a", "b")), seed=3)
    checkpoint.save(model, tmp_path / "best")
    loaded = checkpoint.load(tmp_path / "best")
    assert loaded.spec == model.spec
    saved = model.state_dict()
    assert loaded.state_dict().keys() == saved.keys()
    assert all(torch.equal(tensor, saved[key]) for key, tensor in loaded.state_dict().items())


def test_labels_input_contract_temperature_metrics_and_recipe_come_back(tmp_path: Path) -> None:
    model = tiny()
    checkpoint.save(model, tmp_path / "best", metrics={"val_top1": 0.75, "val_loss": float("nan")}, recipe={"epochs": 3})
    found = checkpoint.read(tmp_path / "best")
    assert found.spec == model.spec
    assert found.metrics["val_top1"] == 0.75
    assert found.metrics["val_loss"] != found.metrics["val_loss"]
    assert found.recipe == {"epochs": 3}


def test_the_description_is_plain_json_with_a_format_number(tmp_path: Path) -> None:
    checkpoint.save(tiny(), tmp_path / "best", metrics={"val_loss": float("inf")})
    text = (tmp_path / "best" / "model.json").read_text()
    data = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert data["format"] == 1
    assert data["spec"]["labels"] == ["cat", "dog"]


def test_a_loaded_model_is_in_eval_mode_and_gives_the_same_logits(tmp_path: Path) -> None:
    model = tiny(seed=5).eval()
    checkpoint.save(model, tmp_path / "best")
    loaded = checkpoint.load(tmp_path / "best")
    x = torch.rand(2, 3, 32, 32)
    assert not loaded.training
    assert torch.equal(loaded(x), model(x))


def test_a_run_folder_means_its_best_checkpoint(tmp_path: Path) -> None:
    checkpoint.save(tiny(seed=1), tmp_path / "run" / "last")
    checkpoint.save(tiny(seed=2), tmp_path / "run" / "best")
    loaded = checkpoint.load(tmp_path / "run")
    assert torch.equal(loaded.head.linear.weight, tiny(seed=2).head.linear.weight)


def test_a_run_that_stopped_before_its_first_validation_means_its_last_checkpoint(tmp_path: Path) -> None:
    checkpoint.save(tiny(seed=4), tmp_path / "last")
    assert torch.equal(checkpoint.load(tmp_path).head.linear.weight, tiny(seed=4).head.linear.weight)


@pytest.mark.parametrize("name", ["model.safetensors", "model.json"])
def test_a_file_of_a_checkpoint_means_the_checkpoint(name: str, tmp_path: Path) -> None:
    checkpoint.save(tiny(), tmp_path / "best")
    assert checkpoint.load(tmp_path / "best" / name).spec == tiny().spec


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path, str]]:
        return Path.write_text, (self.path, "boom")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".bin", ".PTH"])
def test_a_pickle_is_refused_without_being_opened(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(pickle.dumps(Bomb(tmp_path / "boom")))
    with pytest.raises(CheckpointError, match="pickle") as caught:
        checkpoint.load(path)
    assert f"mobilenets convert {path}" in caught.value.hint
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize(
    ("name", "hint"),
    [("a.tflite", "convert"), ("a.h5", "convert"), ("a.keras", "convert"), ("a.onnx", "predict"), ("a.jpg", "")],
)
def test_a_file_that_is_no_checkpoint_says_what_to_do_with_it(name: str, hint: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(tmp_path / name)
    assert hint in caught.value.hint


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"'.*nowhere' does not exist"):
        checkpoint.load(tmp_path / "nowhere")


def test_an_empty_folder_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no checkpoint") as caught:
        checkpoint.load(tmp_path)
    assert caught.value.hint.startswith("give a run folder or a checkpoint folder")


def test_a_folder_beside_a_checkpoint_names_the_run_and_a_quantized_one_says_so(tmp_path: Path) -> None:
    checkpoint.save(tiny(), tmp_path / "run" / "best")
    (tmp_path / "run" / "export").mkdir()
    (tmp_path / "run" / "int8").mkdir()
    (tmp_path / "run" / "int8" / "graph.safetensors").write_bytes(b"x")
    for name, hint in (
        ("export", f"give its run: {tmp_path / 'run'}"),
        ("int8", "its network is quantized, which torch cannot run"),
    ):
        with pytest.raises(CheckpointError, match="holds no checkpoint") as caught:
            checkpoint.load(tmp_path / "run" / name)
        assert caught.value.hint.startswith(hint)


@pytest.mark.parametrize("gone", ["model.safetensors", "model.json"])
def test_a_missing_half_is_named(gone: str, tmp_path: Path) -> None:
    checkpoint.save(tiny(), tmp_path / "best")
    (tmp_path / "best" / gone).unlink()
    with pytest.raises(CheckpointError, match=gone):
        checkpoint.load(tmp_path / "best")


def test_a_flipped_bit_in_the_weights_is_noticed(tmp_path: Path) -> None:
    checkpoint.save(tiny(), tmp_path / "best")
    path = tmp_path / "best" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match=r"model\.safetensors' is damaged"):
        checkpoint.load(tmp_path / "best")


def test_weights_of_another_checkpoint_are_noticed(tmp_path: Path) -> None:
    checkpoint.save(tiny(seed=1), tmp_path / "one")
    checkpoint.save(tiny(seed=2), tmp_path / "two")
    (tmp_path / "one" / "model.safetensors").write_bytes((tmp_path / "two" / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="belongs to another checkpoint"):
        checkpoint.load(tmp_path / "one")


@pytest.mark.parametrize("text", ['{"format": 1, "spec"', "", "\x00\x01"])
def test_damaged_json_is_said_to_be_damaged(text: str, tmp_path: Path) -> None:
    checkpoint.save(tiny(), tmp_path / "best")
    (tmp_path / "best" / "model.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"model\.json' is damaged"):
        checkpoint.load(tmp_path / "best")


@pytest.mark.parametrize("text", ["[]", "{}", '{"architectures": ["MobileNetV2ForImageClassification"]}'])
def test_json_of_another_program_is_not_taken_for_ours(text: str, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(CheckpointError, match="not written by mobilenets"):
        checkpoint.load(tmp_path)


def edited(folder: Path, **changes: object) -> Path:
    checkpoint.save(tiny(), folder)
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def test_a_newer_format_asks_for_an_upgrade(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has format 2, and this version reads up to 1") as caught:
        checkpoint.load(edited(tmp_path / "best", format=2))
    assert "upgrade" in caught.value.hint


@pytest.mark.parametrize("changes", [{"spec": {"labels": []}}, {"spec": 3}, {"metrics": 3}, {"metrics": None}])
def test_a_description_that_makes_no_sense_is_said_to_be_damaged(changes: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is damaged"):
        checkpoint.load(edited(tmp_path / "best", **changes))


def changed(data: Any, path: str, value: object) -> Any:  # Any: JSON
    """JSON with the value at a path, such as `backbone.rows.2.kernel`, replaced."""
    key, _, rest = path.partition(".")
    place = int(key) if isinstance(data, list) else key
    data[place] = changed(data[place], rest, value) if rest else value
    return data


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "backbone.rows.2.activation",
            "evil",
            r"spec.backbone.rows\[2\]: activation is 'evil', which is not one of relu",
        ),
        ("backbone.rows.0.c_out", "x", r"spec.backbone.rows\[0\]: c_out is 'x', expected int"),
        ("backbone.rows.0.c_out", 10**9, r"spec.backbone.rows\[0\]: c_out is 1000000000, expected int of at most 131072"),
        (
            "backbone.rows",
            [{"row": "Conv", "c_out": 8}] * 10**5,
            "spec.backbone.rows is a list of 100000, expected array",
        ),
        ("backbone.width", 1e300, r"spec.backbone.width is 1e\+300, expected float of at most 1000.0"),
        ("backbone.in_channels", 1, "spec: the backbone takes 1 channels but the input contract gives 3"),
        ("input.size", 10**9, "spec.input.size is 1000000000, expected int of at most 32768"),
        ("input.mean.1", float("nan"), r"spec.input.mean\[1\] is NaN"),
        ("input.std.1", 0.0, r"spec.input.std\[1\] is 0.0, which is not positive"),
        ("labels", [], "spec.labels is a list of 0"),
        ("labels.0", None, r"spec.labels\[0\] is null, expected str"),
        ("labels.0", "dog", "spec: labels appear twice: dog"),
        ("head", "x", "spec.head is 'x', expected object"),
        ("head.temperature", -1, "spec.head: temperature is -1, which is not positive"),
        ("weights", 3, "spec.weights is 3, expected str"),
    ],
)
def test_a_wrong_field_of_the_description_is_named_by_its_path(path: str, value: object, message: str, tmp_path: Path) -> None:
    data = json.loads((edited(tmp_path / "best") / "model.json").read_text())["spec"]
    with pytest.raises(CheckpointError, match=rf"model\.json' is damaged: {message}"):
        checkpoint.load(edited(tmp_path / "best", spec=changed(data, path, value)))


@pytest.mark.parametrize("text", ["[" * 100_000 + "]" * 100_000, '{"a":' * 100_000, "1" + "0" * 400, "1" + "0" * 5000])
def test_a_description_that_exhausts_a_parser_is_said_to_be_damaged(text: str, tmp_path: Path) -> None:
    checkpoint.save(tiny(), tmp_path / "best")
    (tmp_path / "best" / "model.json").write_text(f'{{"format": 1, "spec": {text}}}')
    with pytest.raises(CheckpointError, match=r"model\.json' is damaged"):
        checkpoint.load(tmp_path / "best")


def test_a_network_larger_than_its_weights_takes_no_memory(tmp_path: Path) -> None:
    """Twenty layers of 131,072 x 131,072 weights are 1.4 TB."""
    data = json.loads((edited(tmp_path / "best") / "model.json").read_text())["spec"]
    rows = [{"row": "Conv", "c_out": 131_072, "kernel": 1, "stride": 1, "activation": "relu", "norm": True}] * 20
    with pytest.raises(CheckpointError, match="does not fit the network it describes"):
        checkpoint.load(edited(tmp_path / "best", spec=changed(data, "backbone.rows", rows)))


def test_a_network_that_cannot_be_built_is_refused(tmp_path: Path) -> None:
    data = json.loads((edited(tmp_path / "best") / "model.json").read_text())["spec"]
    rows = [*data["backbone"]["rows"], {"row": "Attention", "c_out": 9, "heads": 2, "key_dim": 4}]  # 12 channels enter
    with pytest.raises(CheckpointError, match=r"cannot be built|does not fit"):
        checkpoint.load(edited(tmp_path / "best", spec=changed(data, "backbone.rows", rows)))


def packed(folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
    """The checkpoint with other weights, and with their checksum."""
    weights = pack_tensors(tensors)
    edited(folder, weights_sha256=hashlib.sha256(weights).hexdigest())
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def test_weights_that_are_nan_are_refused_when_read(tmp_path: Path) -> None:
    state = tiny().state_dict()
    state["head.linear.bias"] = torch.tensor([float("nan"), float("inf")])
    with pytest.raises(CheckpointError, match=r"'head\.linear\.bias' holds 2 values that are NaN or infinite") as caught:
        checkpoint.load(packed(tmp_path / "best", state))
    assert "diverged" in caught.value.hint


def test_weights_that_are_nan_are_refused_when_written_and_the_old_ones_stay(tmp_path: Path) -> None:
    checkpoint.save(tiny(seed=1), tmp_path / "best")
    model = tiny(seed=2)
    model.head.linear.bias.data[0] = float("nan")
    with pytest.raises(CheckpointError, match=r"'head\.linear\.bias' holds 1 value that is NaN or infinite"):
        checkpoint.save(model, tmp_path / "best")
    assert torch.equal(checkpoint.load(tmp_path / "best").head.linear.weight, tiny(seed=1).head.linear.weight)


def test_integers_in_the_place_of_weights_are_refused(tmp_path: Path) -> None:
    state = tiny().state_dict() | {"head.linear.bias": torch.tensor([1, 2])}
    with pytest.raises(CheckpointError, match=r"'head\.linear\.bias' holds torch.int64 where the network has torch.float32"):
        checkpoint.load(packed(tmp_path / "best", state))


def test_weights_in_half_precision_are_read_as_the_network_holds_them(tmp_path: Path) -> None:
    state = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tiny().state_dict().items()}
    loaded = checkpoint.load(packed(tmp_path / "best", state))
    assert loaded.head.linear.weight.dtype is torch.float32
    assert loaded.head.linear.weight.requires_grad
    assert torch.equal(loaded.head.linear.weight, tiny().head.linear.weight.half().float())


def test_loading_leaves_the_global_random_state_alone(tmp_path: Path) -> None:
    checkpoint.save(tiny(), tmp_path / "best")
    before = torch.get_rng_state()
    checkpoint.load(tmp_path / "best")
    assert torch.equal(before, torch.get_rng_state())


def test_weights_that_do_not_fit_the_network_name_the_first_difference(tmp_path: Path) -> None:
    checkpoint.save(tiny(labels=("a", "b", "c")), tmp_path / "three")
    weights = (tmp_path / "three" / "model.safetensors").read_bytes()
    folder = edited(tmp_path / "best", weights_sha256=hashlib.sha256(weights).hexdigest())
    (folder / "model.safetensors").write_bytes(weights)
    with pytest.raises(CheckpointError, match=r"'head\.linear\.(weight|bias)' has shape \[3.*where the network has \[2"):
        checkpoint.load(folder)


def test_saving_again_replaces_the_old_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    for seed in (1, 2):
        checkpoint.save(tiny(seed=seed), tmp_path / "best")
    assert torch.equal(checkpoint.load(tmp_path / "best").head.linear.weight, tiny(seed=2).head.linear.weight)
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_saving_over_other_things_is_refused_and_deletes_nothing(kind: str, tmp_path: Path) -> None:
    holiday = tmp_path / "best" / "holiday.jpg"
    holiday.parent.mkdir()
    holiday.write_bytes(b"x") if kind == "file" else holiday.mkdir()
    with pytest.raises(CheckpointError, match=r"holds 'holiday\.jpg', which this would delete"):
        checkpoint.save(tiny(), tmp_path / "best")
    assert holiday.exists()


def test_a_block_that_raises_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    checkpoint.save(tiny(seed=1), tmp_path / "last")
    with (  # noqa: PT012 - the second line is the full disk
        pytest.raises(CheckpointError, match=r"cannot write '.*last': No space left"),
        checkpoint.replacing(tmp_path / "last") as new,
    ):
        checkpoint.write(tiny(seed=2), new)
        raise OSError(28, "No space left on device")
    assert torch.equal(checkpoint.load(tmp_path / "last").head.linear.weight, tiny(seed=1).head.linear.weight)
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


def test_killed_between_the_two_renames_the_old_checkpoint_is_found_and_replaced(tmp_path: Path) -> None:
    checkpoint.save(tiny(seed=1), tmp_path / "best")
    (tmp_path / "best").rename(tmp_path / ".best.old")
    assert torch.equal(checkpoint.load(tmp_path).head.linear.weight, tiny(seed=1).head.linear.weight)
    assert torch.equal(checkpoint.load(tmp_path / "best").head.linear.weight, tiny(seed=1).head.linear.weight)
    checkpoint.save(tiny(seed=2), tmp_path / "best")
    assert torch.equal(checkpoint.load(tmp_path).head.linear.weight, tiny(seed=2).head.linear.weight)
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


KILL_TWENTY_SAVERS = """
import os, signal, sys, time
from pathlib import Path
from mobilenets import checkpoint
from mobilenets.model import create

folder = Path(sys.argv[1])
model = create(checkpoint.read(folder).spec)
for i in range(20):
    saver = os.fork()
    if saver == 0:
        saved = 0
        while True:
            saved += 1
            model.head.linear.bias.data.fill_(float(saved))
            checkpoint.save(model, folder, metrics={"saved": saved})
    time.sleep(0.02 + 0.0013 * i)
    os.kill(saver, signal.SIGKILL)
    os.waitpid(saver, 0)
    found = checkpoint.read(folder)
    assert found.weights["head.linear.bias"].tolist() == [found.metrics["saved"]] * 2, found
"""


def test_killed_at_any_moment_a_whole_checkpoint_is_left(tmp_path: Path) -> None:
    checkpoint.save(tiny(), tmp_path / "best", metrics={"saved": 0})
    result = subprocess.run(
        [sys.executable, "-c", KILL_TWENTY_SAVERS, str(tmp_path / "best")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_a_checkpoint_of_the_version_before_typed_decoding_is_read(tmp_path: Path) -> None:
    """Its weights were drawn from seed 3 of the same network, whose draws have not changed."""
    folder = Path(__file__).parent / "golden" / "checkpoint-1"
    loaded, description = checkpoint.load(folder), checkpoint.read(folder)
    assert loaded.spec == ModelSpec(TINY, ("Möwe", "雪"), InputContract(32), ClassifierHead(1.7))
    assert description.recipe == {"epochs": 3, "learning_rate": 0.1}
    assert str(description.metrics) == "{'val_top1': 0.75, 'val_loss': nan}"
    expected = create(loaded.spec, seed=3).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.state_dict().items())
