"""Functions that the readers of exported files share."""

from __future__ import annotations

import re
from pathlib import Path

from mobilenets.deploy import operators as op
from mobilenets.errors import GraphError
from mobilenets.runtime.manifest import Manifest

FUSING = (op.Conv, op.Depthwise, op.Dense, op.Add)
"""The operators that can have a fused activation."""

_BLOCK = re.compile(r"(?:^|\.)blocks\.(\d+)(?:[./]|$)")


def block_of(name: str) -> int:
    """The index of the backbone's block that an operator is part of, from the name of its module; -1 for none.

    >>> block_of("backbone.blocks.3.expand"), block_of("backbone.blocks.0/linear"), block_of("head.linear")
    (3, 0, -1)
    """
    match = _BLOCK.search(name)
    return int(match[1]) if match else -1


def refuse_quantized(path: Path, manifest: Manifest) -> None:
    """Raise an error for a quantized file.

    Raises:
        GraphError: the manifest says that the file is quantized.
    """
    if manifest.precision.startswith("int8"):
        raise GraphError(f"'{path}' is quantized already", hint="give the float model that it was made from")
