"""`mobilenets export`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.cli.conftest import PLAIN, Done

from mobilenets import checkpoint
from mobilenets.deploy import file
from mobilenets.deploy.quantize.quantize import quantize
from mobilenets.exporters.lower import lower
from mobilenets.model import create
from mobilenets.runtime.predictor import Predictor
from mobilenets.specs.lraspp import lraspp
from mobilenets.specs.rows import BackboneSpec, Conv
from mobilenets.specs.ssd import ssdlite

Run = Callable[..., Done]


def test_a_run_is_exported_into_itself_and_predicts(trained: Path, mobilenets: Run) -> None:
    done = mobilenets("export", trained, "--to", "onnx")
    assert done.code == 0
    assert Predictor.open(trained).manifest.labels == ("cat", "dog")
    out = done.out
    assert "logits" in out
    assert "1e-04" in out
    assert str(trained / "export" / "model.onnx") in out


def test_a_checkpoint_inside_a_run_is_exported_beside_it(trained: Path, mobilenets: Run) -> None:
    assert mobilenets("export", trained / "best").code == 0
    assert (trained / "export" / "model.onnx").is_file()


def test_a_checkpoint_that_stands_alone_holds_its_export(tmp_path: Path, mobilenets: Run) -> None:
    checkpoint.save(create(PLAIN), tmp_path / "converted")
    assert mobilenets("export", tmp_path / "converted").code == 0
    assert Predictor.open(tmp_path / "converted").manifest.model == "plain"


def test_json_gives_the_file_its_size_and_the_parity(trained: Path, tmp_path: Path, mobilenets: Run, images: Path) -> None:
    done = mobilenets("export", trained, "--out", tmp_path / "out", "--images", images, "--json")
    assert done.code == 0
    result = json.loads(done.out)
    assert result["file"] == str(tmp_path / "out" / "model.onnx")
    assert result["size_bytes"] == (tmp_path / "out" / "model.onnx").stat().st_size
    assert result["passed"] is True
    assert result["parity"]["images"] == 2
    assert "skipped" in done.err
    assert "broken.jpg" in done.err


def test_several_formats_are_exported_one_after_the_other(trained: Path, tmp_path: Path, mobilenets: Run) -> None:
    done = mobilenets("export", trained, "--to", "onnx", "--to", "openvino", "--to", "onnx", "--out", tmp_path / "out")
    assert done.code == 0
    assert done.out.index("model.onnx") < done.out.index("model.xml")
    assert {"model.onnx", "model.xml", "model.bin"} <= {path.name for path in (tmp_path / "out").iterdir()}
    result = json.loads(mobilenets("export", trained, "--to", "openvino", "--to", "onnx", "--json").out)
    assert [Path(each["file"]).name for each in result] == ["model.xml", "model.onnx"]
    assert all(each["passed"] for each in result)


def test_no_format_is_written_if_one_is_unknown(trained: Path, tmp_path: Path, mobilenets: Run) -> None:
    done = mobilenets("export", trained, "--to", "onnx", "--to", "caffe", "--out", tmp_path / "out")
    assert done.code == 1
    assert "'caffe'" in done.err
    assert not (tmp_path / "out").exists()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    from PIL import Image

    folder = tmp_path / "images"
    (folder / "cat").mkdir(parents=True)
    for path in (folder / "a.png", folder / "cat" / "b.jpg"):
        Image.effect_noise((40, 40), 50).convert("RGB").save(path)
    (folder / "broken.jpg").write_bytes(b"not an image")
    (folder / "notes.txt").write_text("nothing to see")
    return folder


def test_a_failed_comparison_exits_with_1_and_writes_nothing(trained: Path, mobilenets: Run) -> None:
    done = mobilenets("export", trained, "--tolerance", "1e-15")
    assert done.code == 1
    assert done.err.startswith("error: the exported network's 'logits' differs")
    assert not (trained / "export" / "model.onnx").exists()


def test_images_may_be_a_glob(trained: Path, images: Path, mobilenets: Run) -> None:
    done = mobilenets("export", trained, "--images", f"{images}/*/*.jpg")
    assert "1 images and" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "error: 'nowhere' does not exist"),
        (["RUN", "--to", "onxn"], "error: unknown format 'onxn'; did you mean 'onnx'?"),
        (["RUN", "--images", "nowhere"], "error: there is no file or folder 'nowhere'"),
        (["RUN", "--images", "RUN"], "has no image that can be read"),
    ],
)
def test_wrong_arguments_are_said_in_a_line(arguments: list[str], message: str, trained: Path, mobilenets: Run) -> None:
    done = mobilenets("export", *(str(trained) if argument == "RUN" else argument for argument in arguments))
    assert done.code == 1
    assert message in done.err


def test_help_shows_an_example(mobilenets: Run) -> None:
    done = mobilenets("export", "--help")
    assert done.code == 0
    assert "mobilenets export runs/photos --to onnx" in done.out


BODY = BackboneSpec("plain", (Conv(8, 3, 2), Conv(8, 3, 2), Conv(8, 3, 2), Conv(8, 3, 2)))


def test_a_detector_with_boxes_as_outputs_lies_beside_the_raw_one(tmp_path: Path, mobilenets: Run) -> None:
    checkpoint.save(create(ssdlite(BODY, ("cat", "dog"), size=64, maps=("s8", "s16"), extras=(16,))), tmp_path / "run" / "best")
    (tmp_path / "run" / "run.json").write_text("{}")
    assert mobilenets("export", tmp_path / "run").code == 0
    done = mobilenets("export", tmp_path / "run", "--nms")
    assert done.code == 0
    assert "detections" in done.out
    names = {path.name for path in (tmp_path / "run" / "export").iterdir()}
    assert names == {"model.onnx", "parity.json", "detector.onnx", "detector.parity.json"}


def test_boxes_of_a_classifier_are_refused(trained: Path, mobilenets: Run) -> None:
    done = mobilenets("export", trained, "--nms")
    assert done.code == 1
    assert done.err == "error: 'plain' is a classifier: only detectors have boxes\n\nhint: leave --nms out\n"


def test_a_segmenter_with_classes_as_output_lies_beside_the_raw_one(tmp_path: Path, mobilenets: Run, images: Path) -> None:
    checkpoint.save(create(lraspp(BODY, ("cat", "dog"), filters=8, size=64)), tmp_path / "run" / "best")
    (tmp_path / "run" / "run.json").write_text("{}")
    assert mobilenets("export", tmp_path / "run").code == 0
    done = mobilenets("export", tmp_path / "run", "--argmax", "--images", images)
    assert done.code == 0
    printed = " ".join(done.out.split())
    assert "of 40,960 pixels" in printed  # 8 random and 2 images, 64 x 64
    assert "1e-03" in printed
    names = {path.name for path in (tmp_path / "run" / "export").iterdir()}
    assert names == {"model.onnx", "parity.json", "segmenter.onnx", "segmenter.parity.json"}
    done = mobilenets("predict", tmp_path / "run" / "export" / "segmenter.onnx", images / "a.png", "--json")
    assert done.code == 0
    assert sum(one["pixels"] for one in json.loads(done.out)["areas"]) == 40 * 40


def test_what_decodes_inside_is_of_one_task(trained: Path, tmp_path: Path, mobilenets: Run) -> None:
    checkpoint.save(create(lraspp(BODY, ("cat", "dog"), filters=8, size=64)), tmp_path / "segmenter")
    done = mobilenets("export", tmp_path / "segmenter", "--nms")
    assert done.code == 1
    said = "error: 'plain' is a segmenter: only detectors have boxes\n\nhint: --argmax gives the class of each pixel\n"
    assert done.err == said
    done = mobilenets("export", trained, "--argmax")
    assert done.code == 1
    said = "error: 'plain' is a classifier: only segmenters have classes of pixels\n\nhint: leave --argmax out\n"
    assert done.err == said
    done = mobilenets("export", trained, "--argmax", "--nms")
    assert done.code == 2
    assert "--nms is for detectors and --argmax for segmenters; give only one of them" in done.err


def test_formats_are_listed_without_what_they_may_decode(trained: Path, mobilenets: Run) -> None:
    done = mobilenets("export", trained, "--to", "tensorrt")
    assert done.err.startswith(
        "error: unknown format 'tensorrt'; known: onnx, openvino, tflite, tflite-half, executorch, coreml, "
    )
    assert "onnx-nms" not in done.err
    done = mobilenets("export", trained, "--to", "web", "--nms")
    assert done.code == 2
    assert done.err.startswith(
        "error: --nms does not apply to the format web\n\nhint: leave it out, or export to onnx, openvino, tflite, "
    )


def test_labeled_data_gives_the_accuracy_of_both_networks(trained: Path, tmp_path: Path, mobilenets: Run, images: Path) -> None:
    (images / "broken.jpg").unlink()
    (images / "dog").mkdir()
    (images / "a.png").rename(images / "dog" / "a.png")
    done = mobilenets("export", trained, "--to", "tflite", "--data", images, "--json")
    assert done.code == 0
    parity = json.loads(done.out)["parity"]
    [accuracy] = parity["accuracies"]
    assert (accuracy["metric"], accuracy["images"]) == ("top1", 2)
    assert accuracy["model"] == accuracy["exported"]
    assert accuracy["model"] in (0, 0.5, 1)
    [agreement] = parity["agreements"]
    assert (agreement["name"], agreement["differing"], agreement["total"]) == ("first label", 0, 8)
    assert parity["outputs"][0]["cosine"] > 0.9999
    assert parity["fast_path"]["name"] == "XNNPACK"
    assert parity["fast_path"]["share"] == 1
    done = mobilenets("export", trained, "--to", "tflite", "--data", images)
    assert done.code == 0
    printed = " ".join(done.out.split())
    assert "on 2 labeled images" in printed
    assert "(100%), in 1 piece" in printed


def test_a_runs_own_validation_images_are_compared_on(trained: Path, mobilenets: Run, images: Path) -> None:
    rows = ["path,label,split", f"{images / 'a.png'},dog,val", f"{images / 'cat' / 'b.jpg'},cat,train"]
    (trained / "splits.csv").write_text("\n".join(rows) + "\n")
    (trained / "run.json").write_text(json.dumps({"recipe": {}, "data": {"labels": ["cat", "dog"]}}))
    done = mobilenets("export", trained, "--json")
    assert done.code == 0
    parity = json.loads(done.out)["parity"]
    assert (parity["images"], parity["accuracies"][0]["images"]) == (1, 1)
    (images / "a.png").unlink()
    done = mobilenets("export", trained, "--json")
    assert done.code == 0
    assert json.loads(done.out)["parity"]["images"] == 0
    assert "the networks are compared on synthetic ones" in done.err


def test_a_failed_comparison_is_printed_as_json_too(trained: Path, mobilenets: Run) -> None:
    done = mobilenets("export", trained, "--tolerance", "1e-15", "--json")
    assert done.code == 1
    result = json.loads(done.out)
    assert (result["passed"], result["file"]) == (False, None)
    assert result["parity"]["outputs"][0]["max_rel"] > 1e-15


@pytest.mark.parametrize("to", ["onnx", "openvino", "tflite"])
def test_a_file_for_a_fixed_batch_takes_that_many_images(to: str, trained: Path, mobilenets: Run, images: Path) -> None:
    assert mobilenets("export", trained, "--to", to, "--batch", "3").code == 0
    predictor = Predictor.open(trained / "export", engine=to)
    assert predictor.engine.batch == 3
    assert [result.error for result in predictor.stream([images / "a.png"] * 4)] == [""] * 4


@pytest.fixture
def int8(tmp_path: Path) -> Path:
    """A folder as `quantize` leaves it, beside no run."""
    images = np.random.default_rng(0).normal(size=(4, 3, 32, 32)).astype(np.float32)
    file.save(quantize(lower(create(PLAIN)), images).graph, tmp_path / "int8" / "graph.safetensors")
    return tmp_path / "int8"


def test_a_quantized_model_is_exported_into_its_folder_and_predicts(int8: Path, tmp_path: Path, mobilenets: Run) -> None:
    Image.new("RGB", (40, 40), (200, 30, 90)).save(tmp_path / "image.png")
    done = mobilenets("export", int8, "--to", "tflite", "--ends", "uint8", "--steps", "64", "--json")
    assert done.code == 0
    report = json.loads(done.out)
    assert report["passed"]
    assert report["parity"]["steps"] == 64
    [logits] = report["parity"]["outputs"]
    assert 0 <= logits["mean_steps"] <= logits["steps"] <= 64
    assert mobilenets("predict", int8 / "export" / "model.tflite", tmp_path / "image.png").code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["INT8", "--ends", "int4"], "unknown --ends 'int4'; known: float, int8, uint8"),
        (["INT8", "--ends", "int8"], "only TFLite files can take and return integers"),
        (["INT8", "--weight-bits", "7"], "weights of 7 bits are fitted to images, and there are none"),
        (["INT8", "--to", "coreml-half"], "weights of 8 bits cannot be kept in 16"),
        (["RUN", "--ends", "int8"], "--steps, --weight-bits and --ends are for quantized models"),
    ],
)
def test_what_quantized_models_do_not_have_is_refused(
    arguments: list[str],
    says: str,
    int8: Path,
    trained: Path,
    mobilenets: Run,
) -> None:
    places = {"INT8": str(int8), "RUN": str(trained)}
    done = mobilenets("export", *(places.get(argument, argument) for argument in arguments))
    assert done.code != 0
    assert says in done.err


def test_an_accuracy_that_has_no_value_is_null_in_json_and_said(tmp_path: Path, mobilenets: Run, images: Path) -> None:
    checkpoint.save(create(ssdlite(BODY, ("cat", "dog"), size=64, maps=("s8", "s16"), extras=(16,))), tmp_path / "run" / "best")
    (tmp_path / "run" / "run.json").write_text("{}")
    boxes = images / "boxes.csv"
    boxes.write_text("path,x0,y0,x1,y1,label,split\na.png,,,,,,test\ncat/b.jpg,,,,,,test\n")
    done = mobilenets("export", tmp_path / "run", "--data", boxes, "--json")
    assert done.code == 0, done.err
    for text in (done.out, (tmp_path / "run" / "export" / "parity.json").read_text()):
        assert "NaN" not in text
    [accuracy] = json.loads(done.out)["parity"]["accuracies"]
    assert (accuracy["model"], accuracy["exported"]) == (None, None)
    said = mobilenets("export", tmp_path / "run", "--data", boxes)
    assert "map  not measured: 2 labeled images with nothing to find" in said.out
