"""The command line: one module per command, imported only when that command runs."""

from __future__ import annotations

import importlib
import io
import os
import sys
import warnings
from typing import Annotated, NoReturn

import typer

from mobilenets.errors import MobileNetsError, UsageError, missing_extra

# fmt: off
COMMANDS = {  # name: what it does, as --help lists it
    "models":   "List the networks, or the public weights with --pretrained.",
    "info":     "Print a network's table, parameters, MACs and memory.",
    "check":    "Look through a dataset for what would spoil a training.",
    "show":     "Show a dataset as one HTML page: images, boxes, masks, augmentation.",
    "train":    "Train a classifier on your images.",
    "evaluate": "Measure a model on labelled images and write a report.",
    "predict":  "Classify, detect or segment: images, folders, a video, a camera.",
    "export":   "Export a trained model and check it against torch.",
    "convert":  "Read weights of another library into a checkpoint.",
    "convert-data": "Write boxes in another format: Pascal VOC, COCO, YOLO or CSV.",
}
# fmt: on


def build(first: str) -> typer.Typer:
    """The command line, with the module of the command named `first` imported and the others only listed."""
    app = typer.Typer(
        help="MobileNets, from a folder of images to a model running on a phone.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_root)
    for name, line in COMMANDS.items():
        if name == first:
            app.command(name)(importlib.import_module(f"mobilenets.cli.{name.replace('-', '_')}").command)
        else:
            app.command(name, help=line)(_listed)
    return app


def main() -> None:
    """Run the command line; bad input ends in two lines and an exit code, never in a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names need not be UTF-8
    warnings.filterwarnings("ignore", module="PIL")  # of damaged EXIF, large images: what matters of them is a finding of check
    try:
        build(next((argument for argument in sys.argv[1:] if not argument.startswith("-")), ""))(prog_name="mobilenets")
    except MobileNetsError as error:
        _fail(error)
    except ModuleNotFoundError as error:
        missing = missing_extra(error)
        if missing is None:
            raise
        _fail(missing)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _fail(error: MobileNetsError) -> NoReturn:
    print(f"error: {error}", file=sys.stderr)
    if error.hint:
        print(f"\nhint: {error.hint}", file=sys.stderr)
    sys.exit(2 if isinstance(error, UsageError) else 1)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("mobilenets"))
        raise typer.Exit


def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Options of the command line itself."""


def _listed() -> None:
    """Stands in the list of commands for a command that is not about to run."""
