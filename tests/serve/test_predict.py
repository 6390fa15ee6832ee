"""`POST /predict` answers in the words of `mobilenets predict --json`."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.serve.running import Running, form
from typer.testing import CliRunner

from mobilenets.cli import app
from mobilenets.serve.limits import Limits

Encode = Callable[..., bytes]
NO_IMAGE = (
    "the data is not an image of a known format: it begins with 'no image'; "
    "JPEG, PNG, WebP, GIF, BMP, TIFF and other raster formats can be read"
)


@pytest.mark.parametrize("sent", ["raw", "form"])
@pytest.mark.parametrize(
    ("model", "options"), [("color", {"top": "2"}), ("color", {}), ("cells", {}), ("cells", {"threshold": "0.01"})]
)
def test_an_image_is_answered_as_the_command_line_prints_it(
    model: str,
    options: dict[str, str],
    sent: str,
    both: Running,
    color_model: Path,
    cell_model: Path,
    encoded: Encode,
    tmp_path: Path,
) -> None:
    image = encoded("red", (50, 33), "JPEG")
    (tmp_path / "a b.jpg").write_bytes(image)
    given = [part for name, value in options.items() for part in (f"--{name}", value)]
    path = {"color": color_model, "cells": cell_model}[model]
    printed = CliRunner().invoke(app.build("predict"), ["predict", str(path), str(tmp_path / "a b.jpg"), "--json", *given])
    query = "&".join(["", *(f"{name}={value}" for name, value in options.items())])
    if sent == "raw":
        response = both.ask(f"/predict?model={model}{query}", image)
        expected = {**json.loads(printed.stdout), "file": "-"}
    else:
        body, headers = form({"a b.jpg": image})
        response = both.ask(f"/predict?model={model}{query}", body, headers=headers)
        expected = {**json.loads(printed.stdout), "file": "a b.jpg"}
    assert response.status == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == expected
    assert list(response.json()) == list(expected)


def test_images_of_a_form_are_lines_in_their_order_and_a_broken_one_has_its_reason(both: Running, encoded: Encode) -> None:
    body, headers = form({"1.png": encoded("red"), "2.png": b"no image", "3.png": encoded("blue")})
    response = both.ask("/predict", body, headers=headers)
    assert response.status == 200
    assert response.headers["Content-Type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in response.data.splitlines()]
    assert [line["file"] for line in lines] == ["1.png", "2.png", "3.png"]
    assert [line.get("label") for line in lines] == ["red", None, "blue"]
    assert lines[1]["error"] == NO_IMAGE


def test_a_file_whose_name_is_only_sent_in_the_extended_form_is_one_of_the_images(both: Running, encoded: Encode) -> None:
    body, headers = form({"1.png": encoded("red"), "2.png": encoded("blue")})
    extended = b"filename*=UTF-8''%e7%8c%ab%201.png"
    response = both.ask("/predict", body.replace(b'filename="1.png"', extended), headers=headers)
    lines = [json.loads(line) for line in response.data.splitlines()]
    assert [(line["file"], line["label"]) for line in lines] == [("\u732b 1.png", "red"), ("2.png", "blue")]


@pytest.mark.parametrize(
    ("files", "query", "message"),
    [
        ({"1.png": b"no image", "2.png": b""}, "", f"'1.png': {NO_IMAGE}"),
        ({"notes.txt": b"no image"}, "", f"'notes.txt': {NO_IMAGE}"),
        ({"notes.txt": b"no image"}, "?draw=1", f"'notes.txt': {NO_IMAGE}"),
        ({"a.png": b"<html>"}, "", "'a.png': the data is not an image, but a web page; "),
        ({"a.heic": b"\0\0\0\x18ftypheic"}, "", "'a.heic': the data is a HEIC image, which cannot be decoded here; "),
    ],
)
def test_a_form_without_a_readable_image_is_refused_by_the_name_of_its_file(
    files: dict[str, bytes], query: str, message: str, both: Running
) -> None:
    body, headers = form(files)
    assert both.refusal(both.ask(f"/predict{query}", body, headers=headers), 422).startswith(message)


@pytest.mark.parametrize(("accept", "kind"), [("*/*", "JPEG"), ("image/png", "PNG")])
@pytest.mark.parametrize("model", ["color", "cells"])
def test_a_drawn_image_has_the_size_of_the_image_and_other_pixels(
    model: str, accept: str, kind: str, both: Running, encoded: Encode
) -> None:
    response = both.ask(f"/predict?draw=1&model={model}", encoded("red", (90, 120)), headers={"Accept": accept})
    assert response.status == 200
    drawn = Image.open(io.BytesIO(response.data))
    assert (drawn.format, drawn.size) == (kind, (90, 120))
    assert response.headers["Content-Type"] == f"image/{kind.lower()}"
    assert np.unique(np.asarray(drawn).reshape(-1, 3), axis=0).shape[0] > 1


def test_a_name_that_no_terminal_should_see_is_escaped(both: Running, encoded: Encode) -> None:
    body, headers = form({"a\x9b.png": encoded("red")})
    response = both.ask("/predict", body, headers=headers)
    assert response.json()["file"] == "a\x9b.png"
    assert b"\\u009b" in response.data


FIELD = b'Content-Disposition: form-data; name="a"\r\n\r\n'
FILE = b'Content-Disposition: form-data; name="a"; filename="b"\r\n\r\n'

# fmt: off
REFUSED = [
    ("", b"", {}, 400, "body is empty"),
    ("", b"no image", {}, 422, NO_IMAGE),
    ("", b"\0asm\1\0\0\0", {}, 422, "a known format: it begins with the bytes 00 61 73 6d 01 00 00 00; JPEG, PNG"),
    ("", b"\x89PNG\r\n\x1a\n", {}, 422, "the image"),
    ("?model=nobody", b"", {}, 404, "there is no model 'nobody'; known: color, cells"),
    ("?top=0", b"", {}, 400, "'top'"),
    ("?top=many", b"", {}, 400, "'top'"),
    ("?draw=perhaps", b"", {}, 400, "'draw'"),
    ("?treshold=0.5", b"", {}, 400, "unknown option 'treshold'; did you mean 'threshold'?"),
    ("?model=cells&top=2", b"", {}, 400, "'top' is for classifiers"),
    ("?model=color&threshold=0.5", b"", {}, 400, "a threshold is for detectors"),
    ("", b'{"urls": ["http://127.0.0.1/a.jpg"]}', {"Content-Type": "application/json"}, 403, "not fetched"),
    ("", b"x", {"Content-Encoding": "gzip"}, 415, "content encoding 'gzip'"),
    ("", b"x", {"Content-Type": "multipart/form-data"}, 400, "names no boundary"),
    ("", b"x", {"Content-Type": "multipart/form-data; boundary=a"}, 400, "the form"),
    ("", b"--a--\r\n", {"Content-Type": "multipart/form-data; boundary=a"}, 400, "the form"),
    ("", b"--a\r\n" + FIELD + b"1\r\n--a--\r\n", {"Content-Type": "multipart/form-data; boundary=a"}, 400, "has no file"),
    ("", b"--a\r\n" + FILE + b"1", {"Content-Type": "multipart/form-data; boundary=a"}, 400, "is cut off"),
]
# fmt: on


@pytest.mark.parametrize(("query", "body", "headers", "status", "words"), REFUSED)
def test_what_cannot_be_answered_is_refused_with_its_reason(
    query: str, body: bytes, headers: dict[str, str], status: int, words: str, both: Running
) -> None:
    assert words in both.refusal(both.ask(f"/predict{query}", body, headers=headers), status)


def test_limits_of_bytes_pixels_and_images(serve: Callable[..., Running], color_model: Path, encoded: Encode) -> None:
    server = serve(color=color_model, limits=Limits(size_bytes=2000, pixels=1200, images=2))
    assert server.ask("/predict", encoded("red", (40, 30))).status == 200
    assert "at most 1,200 are accepted" in server.refusal(server.ask("/predict", encoded("red", (41, 30))), 413)
    assert "2,000 bytes" in server.refusal(server.ask("/predict", bytes(2001)), 413)
    bomb = b"P5 20000 20000 255 "
    assert "decompression bomb" in server.refusal(server.ask("/predict", bomb), 413)
    body, headers = form({f"{i}.png": encoded("red") for i in range(3)})
    assert "at most 2 images" in server.refusal(server.ask("/predict", body, headers=headers), 413)
    assert server.samples("mobilenets_rejected_total") == {
        '{reason="pixels"}': 2,
        '{reason="bytes"}': 1,
        '{reason="images"}': 1,
    }


def test_a_chunked_body_is_cut_off_at_the_limit(serve: Callable[..., Running], color_model: Path) -> None:
    server = serve(color=color_model, limits=Limits(size_bytes=200_000))
    pieces = (bytes(50_000) for _ in range(5))
    assert "200,000 bytes" in server.refusal(server.ask("/predict", pieces), 413)  # type: ignore[arg-type]  # urllib3 takes them
    assert server.samples("mobilenets_held_bytes") == {"": 0}
