"""`Site`: the page that runs a served model in the browser, if the page is built and can run the model."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mobilenets.errors import ExportError
from mobilenets.runtime.engines.open import candidates_in
from mobilenets.web.folder import page_folder, write_page

if TYPE_CHECKING:
    from mobilenets.serve.model import ServedModel

INDEX = "index.html"


class Site:
    """Writes the page with a model to a temporary folder when it is first requested, and again for another model."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._model: ServedModel | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._files: Mapping[str, Path] = {}

    async def files(self, model: ServedModel) -> Mapping[str, Path]:
        """The page's files by their paths in addresses; empty if there is no page for this model."""
        async with self._turn:
            if self._model is not model:
                old = self._folder
                self._folder, self._files = await asyncio.to_thread(_written, model)
                self._model = model
                if old is not None:
                    await asyncio.to_thread(old.cleanup)
            return self._files

    def close(self) -> None:
        """Remove the folder."""
        if self._folder is not None:
            self._folder.cleanup()


def _written(model: ServedModel) -> tuple[tempfile.TemporaryDirectory[str] | None, Mapping[str, Path]]:
    """The page with a model, written to a folder, and its files; None if there is no page."""
    network = next((found.file for found in candidates_in(model.source.path) if found.file.suffix.lower() == ".onnx"), None)
    try:
        page_folder()
    except ExportError:  # a checkout in which the page is not built
        network = None
    if network is None:
        return None, {}
    from mobilenets.deploy.browser import networks
    from mobilenets.int8.folder import quantized_graph

    folder = tempfile.TemporaryDirectory(prefix="mobilenets-serve-")
    try:
        with tempfile.TemporaryDirectory(prefix="mobilenets-serve-") as scratch:
            found = networks(network, Path(scratch), quantized_graph(model.source.path))
            write_page(Path(folder.name), model.predictor.manifest, found)
    except BaseException:
        folder.cleanup()
        raise
    root = Path(folder.name)
    return folder, {file.relative_to(root).as_posix(): file for file in root.rglob("*") if file.is_file()}
