"""The page that runs the network in the browser, a folder of static files; its network is first compared with torch."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from mobilenets.deploy.browser import networks
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.write_onnx import to_onnx
from mobilenets.errors import ExportError, MissingExtraError
from mobilenets.exporters.format import Format
from mobilenets.files import scratch_folder
from mobilenets.runtime.engines.onnx import OnnxEngine
from mobilenets.web.folder import NETWORK, page_folder, write_page


def _write(graph: Graph, path: Path, batch: int | None) -> None:
    import onnx

    if batch not in (None, 1):
        raise ExportError(f"the page in the browser runs one image at a time, not {batch}", hint="leave --batch out")
    with scratch_folder(path, "network") as scratch:
        onnx.save(to_onnx(graph, batch=batch), scratch / NETWORK)
        write_page(path, graph.manifest, networks(scratch / NETWORK, scratch, graph))


def _version() -> str:
    page_folder()  # raises if it is not built, before anything is computed
    try:
        import onnx  # noqa: F401  # writes the network
    except ImportError as error:
        raise MissingExtraError("onnx", "train") from error
    return version("onnxruntime")


WEB = Format(
    "ONNX Runtime",
    _write,
    lambda path, graph: OnnxEngine(path / "model" / NETWORK),
    _version,
    note="compared with ONNX Runtime on this machine; the page runs the same file in the browser",
)
"""Folders for any static file server, such as `mobilenets demo`."""
