"""What other programs read of a TFLite file: MediaPipe's and Android's Tasks libraries read these tables."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.schema_py_generated import Model

from mobilenets.deploy.tails import with_nms
from mobilenets.deploy.tflite_metadata import KEY
from mobilenets.deploy.write_tflite import to_tflite
from mobilenets.exporters.lower import lower
from mobilenets.model import create
from mobilenets.specs.lraspp import lraspp
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.rows import BackboneSpec, Conv
from mobilenets.specs.ssd import ssdlite
from mobilenets.weights.tflite.flatbuffer import FlatTable

BODY = BackboneSpec("plain", (Conv(8, 3, 2), Conv(8, 3, 2), Conv(8, 3, 2), Conv(8, 3, 2)))
LABELS = ("cat", "black\n dög", " ")
GRAY = BackboneSpec("gray", (Conv(8, 3, 2),), in_channels=1)


def tables_of(data: bytes) -> Iterator[bytes]:
    model = Model.GetRootAs(data)
    for i in range(model.MetadataLength()):
        entry = model.Metadata(i)
        if entry.Name() == KEY.encode():
            yield bytes(model.Buffers(entry.Buffer()).DataAsNumpy())


def metadata_of(data: bytes) -> FlatTable:
    [tables] = tables_of(data)
    assert tables[4:8] == b"M001"
    return FlatTable.root(tables)


def labels_of(data: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        [entry] = archive.infolist()
        assert (entry.filename, entry.compress_type) == ("labels.txt", zipfile.ZIP_STORED)
        return archive.read(entry).decode("utf-8").splitlines()


@pytest.fixture(scope="module")
def classifier() -> bytes:
    contract = InputContract(size=32, wide=48, resize="stretch", crop=1.0, mean=(0.485, 0.456, 0.406), std=(0.5, 0.25, 1))
    return to_tflite(lower(create(ModelSpec(BODY, LABELS, contract))))


def test_the_input_says_how_pixels_are_normalized(classifier: bytes) -> None:
    [subgraph] = metadata_of(classifier).tables(3)
    [image] = subgraph.tables(2)
    content = image.table(3)
    assert image.string(0) == "image"
    assert content is not None
    assert content.scalar(0, "B") == 2  # ImageProperties
    properties = content.table(1)
    assert properties is not None
    assert properties.scalar(0, "b") == 1  # RGB
    size = properties.table(1)
    assert size is not None
    assert (size.scalar(0, "I"), size.scalar(1, "I")) == (48, 32)  # width, height
    [unit] = image.tables(4)
    assert unit.scalar(0, "B") == 1  # NormalizationOptions: (pixel - mean) / std, of pixels 0 to 255
    options = unit.table(1)
    assert options is not None
    np.testing.assert_allclose(options.array(0, "<f4"), [123.675, 116.28, 103.53], rtol=1e-6)
    np.testing.assert_allclose(options.array(1, "<f4"), [127.5, 63.75, 255], rtol=1e-6)


def test_labels_are_a_file_of_one_line_each_that_the_output_names(classifier: bytes) -> None:
    assert labels_of(classifier) == ["cat", "black dög", "?"]
    [subgraph] = metadata_of(classifier).tables(3)
    [logits] = subgraph.tables(3)
    [file] = logits.tables(6)
    assert (logits.string(0), file.string(0), file.scalar(2, "b")) == ("logits", "labels.txt", 2)  # TENSOR_AXIS_LABELS
    Interpreter(model_content=classifier).allocate_tensors()  # which does not mind what is behind the network


def test_one_channel_is_gray() -> None:
    contract = InputContract(size=32, channels=1, mean=(0,), std=(1,))
    [subgraph] = metadata_of(to_tflite(lower(create(ModelSpec(GRAY, ("a", "b"), contract))))).tables(3)
    [image] = subgraph.tables(2)
    content = image.table(3)
    properties = content and content.table(1)
    assert properties is not None
    assert properties.scalar(0, "b") == 2  # GRAYSCALE


def test_a_detector_with_boxes_has_the_four_outputs_that_the_library_knows() -> None:
    spec = ssdlite(BODY, LABELS, size=64, maps=("s8", "s16"), extras=(16,))
    data = to_tflite(with_nms(lower(create(spec))))
    [subgraph] = metadata_of(data).tables(3)
    outputs = list(subgraph.tables(3))
    assert [output.string(0) for output in outputs] == ["location", "category", "score", "number of detections"]
    contents = [output.table(3) for output in outputs]
    assert [content and content.scalar(0, "B") for content in contents] == [3, 1, 1, 1]  # BoundingBoxProperties, Feature...
    boxes = contents[0] and contents[0].table(1)
    assert boxes is not None
    assert boxes.array(0, "<u4").tolist() == [1, 0, 3, 2]  # left, top, right, bottom of y0 x0 y1 x1
    assert (boxes.scalar(1, "b"), boxes.scalar(2, "b")) == (1, 0)  # BOUNDARIES, RATIO
    [file] = outputs[1].tables(6)
    assert (file.string(0), file.scalar(2, "b")) == ("labels.txt", 3)  # TENSOR_VALUE_LABELS
    interpreter = Interpreter(model_content=data)
    shapes = [tuple(detail["shape"]) for detail in interpreter.get_output_details()]
    assert shapes == [(1, 100, 4), (1, 100), (1, 100), (1,)]


def test_a_segmenters_logits_are_a_map_with_labels() -> None:
    data = to_tflite(lower(create(lraspp(BODY, LABELS, filters=8, size=64))))
    [subgraph] = metadata_of(data).tables(3)
    [logits] = subgraph.tables(3)
    content = logits.table(3)
    assert content is not None
    places = content.table(2)
    assert places is not None
    assert (content.scalar(0, "B"), places.scalar(0, "i"), places.scalar(1, "i")) == (2, 1, 2)
    assert [file.scalar(2, "b") for file in logits.tables(6)] == [2]
