"""The command line: one module per command, imported only when that command runs."""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib
import io
import math
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from mobilenets.errors import MobileNetsError, UsageError, missing_extra
from mobilenets.files import check_folder
from mobilenets.runtime.text import printable

INTERRUPTED = 130
"""The exit code after Ctrl-C, as in a shell."""

# fmt: off
COMMANDS = {  # name: what it does, as --help lists it
    "models":   "List the networks, or the public weights with --pretrained.",
    "info":     "Print a network's table, parameters, MACs and memory.",
    "check":    "Find problems in a dataset before you train on it.",
    "show":     "Show a dataset as one HTML page: images, boxes, masks, augmentation.",
    "train":    "Train a classifier, detector or segmenter on your images.",
    "evaluate": "Measure a model on labeled images and write a report.",
    "search":   "Shrink a trained network to fit a latency or size budget.",
    "compare":  "Compare runs on the same images, with confidence intervals.",
    "benchmark": "Benchmark models on runtimes: speed, memory, size, accuracy.",
    "papers":   "Reproduce figures, tables and claims from the papers.",
    "predict":  "Classify, detect or segment: images, folders, a video, a camera.",
    "serve":    "Serve models over HTTP and gRPC.",
    "bundle":   "Write a folder for serving models with Docker, KServe or Triton.",
    "quantize": "Quantize a model to int8 and measure the accuracy it loses.",
    "export":   "Export a trained model and check it against torch.",
    "demo":     "Run a model in your browser: camera, images, folders.",
    "convert":  "Convert weights from another library to a checkpoint.",
    "convert-data": "Convert boxes to another format, or any dataset to tar shards.",
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
            app.command(name)(_finite(importlib.import_module(f"mobilenets.cli.{name.replace('-', '_')}").command))
        else:
            app.command(name, help=line)(_listed)
    return app


def _finite(command: Callable[..., object]) -> Callable[..., object]:
    """The command, which refuses `inf` and `nan`: they are numbers to Python, and keep to any limit or to none."""

    @functools.wraps(command)
    def checked(**options: Any) -> object:  # Any: what the command takes
        for name, value in options.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise UsageError(f"--{name.replace('_', '-')} is {value}; it must be a finite number")
        return command(**options)

    return checked


def main() -> None:
    """Run the command line; what goes wrong ends in two lines and an exit code, never in a traceback."""
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names need not be UTF-8
    warnings.filterwarnings("ignore", module="PIL")  # of damaged EXIF, large images: what matters of them is a finding of check
    try:
        code = _run()
        sys.stdout.flush()  # a full disk is noticed here, not behind our back at exit
    except BrokenPipeError:
        code = 1  # who read our output has seen enough
    except Exception as error:
        failure = failed(error)
        if failure is None:
            raise
        code = _print_error(failure)
    if code:
        _forget_output()
    sys.exit(code)


def failed(error: Exception) -> MobileNetsError | None:
    """What a failure is called, for people; None for a mistake of ours, whose traceback helps us."""
    if isinstance(error, MobileNetsError):
        return error
    if isinstance(error, ImportError):
        if any(words in str(error) for words in _NO_MEMORY):
            return MobileNetsError(f"out of memory while a library was loaded: {error}", hint=_LESS)
        return missing_extra(error) if isinstance(error, ModuleNotFoundError) else None
    if isinstance(error, OSError):
        where = f"'{error.filename}': " if error.filename is not None else "cannot read or write: "
        return MobileNetsError(f"{where}{error.strerror or error}", hint=_HINTS.get(error.errno or 0, ""))
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)):
        return MobileNetsError("out of memory", hint=_LESS)
    if isinstance(error, RecursionError):
        return MobileNetsError("the input is nested too deep to be read")
    return None


_LESS = "close other programs, or ask for less: a smaller --batch, --size or --tile, or fewer --threads"
_NO_MEMORY = ("can't start new thread", "Cannot allocate memory", "failed to map segment", "can't allocate memory")
_HINTS = {errno.ENOSPC: "free some space; what was written before is kept", errno.EDQUOT: "your disk quota is used up"}


def _run() -> int:
    """The exit code of the command that was typed."""
    _refuse_empty(sys.argv[1:])
    first = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "")
    if first != "predict":  # which writes to stores, with Ray
        _check_out(sys.argv[1:])
    try:
        build(first)(prog_name="mobilenets")
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            print("interrupted", file=sys.stderr)
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def _open_closed_streams() -> None:
    """Put nothing in the place of streams that the shell closed (`>&-`), which are None otherwise."""
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: PTH123, SIM115
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: PTH123, SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115


def _refuse_empty(arguments: Sequence[str]) -> None:
    """Refuse an argument without a value, which would otherwise pass for one that was not given.

    Raises:
        UsageError: an argument is empty.
    """
    for before, argument in zip(("", *arguments), arguments, strict=False):
        name, equals, value = argument.partition("=")
        of_option = name.startswith("--") and bool(equals)
        if not (value if of_option else argument).strip():
            option = name if of_option else before
            what = f"the value of {option}" if option.startswith("--") else "an argument"
            raise UsageError(f"{what} is empty", hint="is a variable of the shell not set?")


def _check_out(arguments: Sequence[str]) -> None:
    """Refuse an address where `--out` is to be a folder or a file of this machine; raises UsageError."""
    for before, argument in zip(("", *arguments), arguments, strict=False):
        if before == "--out" or argument.startswith("--out="):
            check_folder(argument.removeprefix("--out="))


def _print_error(error: MobileNetsError) -> int:
    with contextlib.suppress(OSError):  # nobody listens
        print(f"error: {printable(str(error))}", file=sys.stderr)
        if error.hint:
            print(f"\nhint: {printable(error.hint)}", file=sys.stderr)
    return 2 if isinstance(error, UsageError) else 1


def _forget_output() -> None:
    """Throw away what standard output could not take: Python would try again at exit, and fail once more."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
