"""`mobilenets demo`: a model in the browser of this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from mobilenets.cli.output import note, show, show_json
from mobilenets.errors import MobileNetsError


def command(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help="A run folder, an exported .onnx file, or a folder that `export --to web` wrote."),
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 for any free one.", metavar="N")] = 0,
    opens: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the default browser.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print the address as JSON, for programs.")] = False,
) -> None:
    """Run a model in your browser: camera, images and folders. Nothing leaves this machine.

    The page is served from this machine until you press Ctrl-C:

        mobilenets demo runs/photos

    To host the page yourself, write it with 'mobilenets export RUN --to web'.
    """
    from mobilenets.web.server import page_server

    with page_of(model) as folder:
        try:
            server = page_server(folder, port)
        except OSError as error:
            raise MobileNetsError(
                f"port {port} of 127.0.0.1 cannot be used: {error.strerror or error}", hint="--port 0"
            ) from error
        with server:
            address = f"http://127.0.0.1:{server.server_port}/"
            if json:
                show_json({"url": address})
            else:
                show(address)
                note("Ctrl-C ends it")
            if opens:
                import webbrowser

                webbrowser.open(address)
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                note("")


@contextmanager
def page_of(model: Path) -> Iterator[Path]:
    """The folder of the page with a model: the model's own, or one that is gone afterwards.

    Raises:
        CheckpointError: there is no model, or it cannot be exported to ONNX.
        ExportError: the page is not built.
    """
    from mobilenets.deploy.browser import networks
    from mobilenets.int8.folder import quantized_graph
    from mobilenets.runtime.engines.open import opened
    from mobilenets.web.folder import page_folder, write_page

    if (model / "model" / "model.json").is_file():
        yield model
        return
    page_folder()  # raises where it is not built, before anything is computed
    network = opened(model, engine="onnx")
    network.engine.close()
    with tempfile.TemporaryDirectory(prefix="mobilenets-demo-") as scratch:
        folder = Path(scratch) / "page"
        write_page(folder, network.manifest, networks(Path(network.engine.source), Path(scratch), quantized_graph(model)))
        yield folder
