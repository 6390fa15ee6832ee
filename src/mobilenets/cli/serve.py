"""`mobilenets serve`: models behind an address, by the Open Inference Protocol and as plain images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilenets.cli.measuring import check_engine
from mobilenets.cli.output import note
from mobilenets.errors import UsageError

if TYPE_CHECKING:
    from mobilenets.serve.models import Models


def command(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL", help="Run folders, export folders or exported files; NAME=MODEL to name one."),
    ],
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on; 0.0.0.0 for the whole network.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="Port to listen on; 0 for any free one.")] = 8000,
    grpc: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, metavar="PORT", help="Serve gRPC too, on this port; 0 for any free one.", show_default=False
        ),
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A file with the API key that requests must send.", show_default=False),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="A website whose pages may send requests, https://example.org; may be repeated.",
            show_default=False,
        ),
    ] = None,
    fetch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PLACE",
            help="Accept image URLs below this address, https://example.org/photos/; may be repeated.",
            show_default=False,
        ),
    ] = None,
    max_mb: Annotated[float, typer.Option(min=0.001, metavar="MB", help="Maximum size of a request.")] = 32,
    max_megapixels: Annotated[float, typer.Option(min=0.001, metavar="MP", help="Maximum size of an image.")] = 50,
    max_images: Annotated[int, typer.Option(min=1, metavar="N", help="Maximum number of images in a request.")] = 64,
    seconds: Annotated[float, typer.Option(min=0.001, metavar="S", help="Time limit for a request.")] = 30,
    queue: Annotated[int, typer.Option(min=1, metavar="N", help="Maximum number of waiting requests per model.")] = 128,
    watch: Annotated[
        float | None,
        typer.Option(min=0.1, metavar="S", help="Check for new model files this often.", show_default=False),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Threads per model; all cores by default.", show_default=False)
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="onnx, tflite, ...; by default the fastest on this machine, measured once.", show_default=False
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Write the log as JSON, one line per event.")] = False,
) -> None:
    """Serve classifiers, detectors and segmenters over HTTP and gRPC.

    The first line on standard output is the address. Send requests from another terminal, or open it in a browser:

        mobilenets serve runs/photos

        curl --data-binary @image.jpg http://127.0.0.1:8000/predict

    The same server speaks the Open Inference Protocol, version 2, for tritonclient, KServe and others:

        mobilenets serve photos=runs/photos cells=runs/cells --port 9000 --grpc 9001

    SIGHUP or --watch reloads models after an export without dropping a request. SIGTERM and Ctrl-C stop the server after it
    has answered every accepted request.
    """
    check_engine(engine)
    from mobilenets.serve.app import Access
    from mobilenets.serve.fetching import origin_of, place_of
    from mobilenets.serve.limits import MEGA, Limits
    from mobilenets.serve.model import source_of
    from mobilenets.serve.server import Settings, serve

    limits = Limits(
        size_bytes=round(max_mb * MEGA),
        pixels=round(max_megapixels * MEGA),
        images=max_images,
        seconds=seconds,
        queue=queue,
    )
    access = Access(
        _key(api_key_file), tuple(origin_of(site) for site in cors or ()), tuple(place_of(place) for place in fetch or ())
    )
    settings = Settings(host, port, limits, access, grpc, watch, json)
    serve(
        [source_of(model, engine=engine, threads=threads) for model in models],
        settings,
        ready=_ready_in_json if json else _ready,
    )


def _ready(models: Models, addresses: Sequence[str]) -> None:
    for model in models.served:
        manifest = model.predictor.manifest
        batch = model.batcher.curve.most
        note(
            f"{model.name}: {manifest.task}, {manifest.model}, {model.platform}, "
            f"{'an image' if batch == 1 else f'up to {batch} images'} at once"
        )
    _say_where(addresses)


def _ready_in_json(models: Models, addresses: Sequence[str]) -> None:
    from mobilenets.serve.logs import event

    for model in models.served:
        manifest = model.predictor.manifest
        event(
            "opened",
            model=model.name,
            task=manifest.task,
            network=manifest.model,
            platform=model.platform,
            batch=model.batcher.curve.most,
        )
    _say_where(addresses)


def _say_where(addresses: Sequence[str]) -> None:
    print(*(f"serving at {address}" for address in addresses), sep="\n", flush=True)


def _key(file: Path | None) -> str:
    """The API key in a file; "" without one.

    Raises:
        UsageError: the file holds none.
        OSError: it cannot be read.
    """
    if file is None:
        return ""
    key = file.read_bytes().strip().decode("latin-1")  # any file, also one that is no text
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(f"'{file}' holds no API key", hint="write one line of letters and digits into it")
    return key
