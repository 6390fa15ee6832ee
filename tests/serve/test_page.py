"""What a browser gets: the page that runs the model where it is built, and a form."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.serve.running import Running, until

from mobilenets.serve.app import Access
from mobilenets.web import folder

Serve = Callable[..., Running]


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page as if it had been built."""
    page = tmp_path / "page"
    (page / "assets").mkdir(parents=True)
    (page / "engines" / "onnx").mkdir(parents=True)
    (page / "index.html").write_text("<title>the page</title>")
    (page / "assets" / "index.js").write_text("import('../model/model.json')")
    monkeypatch.setattr(folder, "_PAGE", page)


@pytest.fixture
def unbuilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout in which the page is not built."""
    monkeypatch.setattr(folder, "_PAGE", tmp_path / "nothing")


@pytest.mark.usefixtures("unbuilt")
def test_without_the_page_there_is_a_form_for_every_model(serve: Serve, color_model: Path, cell_model: Path) -> None:
    server = serve(color=color_model, cells=cell_model)
    for path in ("/", "/form"):
        page = server.get(path)
        assert page.headers["Content-Type"].startswith("text/html")
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        for words in ("color: classify", "cells: detect", 'type="file"'):
            assert words in page.data.decode()
    assert server.get("/index.html").status == 404


@pytest.mark.usefixtures("unbuilt")
@pytest.mark.parametrize(
    "path", ["/", "/form", "/metrics", "/v2", "/v2/health/live", "/v2/models/color", "/nothing", "/predict"]
)
def test_head_is_answered_as_get_without_the_body(path: str, serve: Serve, color_model: Path) -> None:
    server = serve(color=color_model)
    for _ in range(2):  # over the same connection
        head, got = server.ask(path, method="HEAD"), server.get(path)
        assert head.status == got.status
        assert head.headers["Content-Type"] == got.headers["Content-Type"]
        assert head.data == b""


@pytest.mark.usefixtures("built")
def test_the_page_runs_the_model_that_is_served_and_takes_the_new_one_after_a_reload(
    serve: Serve, color_model: Path, cell_model: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model.onnx"
    shutil.copy(color_model, model)
    server = serve(first=model, watch_s=0.05)
    page = server.get("/")
    assert page.data == b"<title>the page</title>"
    assert page.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    script = server.get("/assets/index.js")
    assert script.headers["Content-Type"].startswith("text/javascript")
    assert server.get("/model/model.onnx").data == color_model.read_bytes()
    assert server.get("/model/model.json").json()["manifest"]["model"] == "color"
    assert "assets/index.js" in server.get("/files.json").json()["files"]
    for path in ("/assets", "/assets/../index.html/x", "/..%2fmodel.onnx", "/model/other.onnx"):
        assert server.get(path).status == 404, path
    old = server.models.of_name(None)
    shutil.copy(cell_model, model)
    until(lambda: server.models.of_name(None) is not old)
    assert server.get("/model/model.json").json()["manifest"]["model"] == "cells"
    assert json.loads(server.get("/files.json").data)["version"]


@pytest.mark.usefixtures("built")
def test_the_page_has_every_runtime_that_it_was_built_with(serve: Serve, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from mobilenets.exporters.onnx import export_onnx
    from mobilenets.model import create
    from mobilenets.specs.model import InputContract, ModelSpec
    from mobilenets.specs.rows import BackboneSpec, Conv

    for runtime in ("native", "tflite"):
        (folder.page_folder() / "engines" / runtime).mkdir()
    spec = ModelSpec(BackboneSpec("plain", (Conv(8, 3, 2), Conv(8, 3, 2))), ("cat", "dog"), InputContract(size=32))
    export_onnx(create(spec), tmp_path / "model.onnx")
    server = serve(first=tmp_path / "model.onnx")
    listed = server.get("/model/model.json").json()["networks"]
    assert [network["runtime"] for network in listed] == ["native", "onnx", "tflite"]
    assert all(server.get(f"/model/{network['file']}").status == 200 for network in listed)


@pytest.mark.usefixtures("built")
def test_a_server_with_a_key_gives_nobody_the_model(serve: Serve, color_model: Path) -> None:
    server = serve(color=color_model, access=Access(key="secret"))
    assert b'type="file"' in server.get("/").data
    assert server.get("/model/model.onnx").status == 401
    assert server.get("/model/model.onnx", **{"X-API-Key": "secret"}).status == 404
