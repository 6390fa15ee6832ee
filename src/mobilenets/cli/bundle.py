"""`mobilenets bundle`: models as a folder that Docker, KServe and Triton start from."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from mobilenets.cli.output import note, show, show_json


def command(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL", help="Run folders, export folders or ONNX files; NAME=MODEL to name one."),
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The folder to write; it must be empty or not exist yet.")],
    image: Annotated[str, typer.Option(metavar="NAME", help="Name of the container image.")] = "mobilenets-serve",
    json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Write files for serving models on a cluster: a Dockerfile, a KServe InferenceService, a Triton model repository.

    The folder includes the models, so you can move it:

        mobilenets bundle runs/photos --out photos-server

    Triton can use the subfolder 'models' directly: tritonserver --model-repository photos-server/models
    """
    from mobilenets.files import check_writable
    from mobilenets.serve.bundle import bundle
    from mobilenets.serve.model import source_of

    check_writable(out)
    files = bundle([source_of(model) for model in models], out, image=image)
    if json:
        show_json({"folder": str(out), "files": [file.as_posix() for file in files]})
        return
    for file in files:
        show(str(file))
    wheels, folder = shlex.quote(str(out / "wheels")), shlex.quote(str(out))
    note(f"next: copy the wheel of mobilenets into {wheels}, then docker build -t {image} {folder}")
