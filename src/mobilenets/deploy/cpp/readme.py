"""`README.md` of an exported folder: its requirements and how to build it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mobilenets.deploy import operators as op
from mobilenets.deploy.cpp.outputs import kind_of, returned
from mobilenets.deploy.cpp.text import type_name
from mobilenets.deploy.graph import Graph


@dataclass(frozen=True, slots=True)
class Figures:
    """The memory that a network needs.

    Args:
        constant_bytes: size of weights and tables.
        arena_bytes: size of all values of a run.
        fused_bytes: the same if every block were computed row by row, as `mobilenets info` prints it.
        banded: the number of blocks that are computed row by row.
    """

    constant_bytes: int
    arena_bytes: int
    fused_bytes: int
    banded: int


_CURVED = (op.Conv, op.Depthwise, op.Dense, op.Add, op.Activation, op.Boxes)
_TEMPLATE = Path(__file__).parent / "files" / "README.md"


def readme(graph: Graph, figures: Figures) -> str:
    """The text of `README.md`."""
    manifest, kind = graph.manifest, kind_of(graph)
    height, width = manifest.input.shape
    stages = "stages of blocks run" if figures.banded != 1 else "stage of a block runs"
    banded = f"{figures.banded} {stages} row by row, so that inner maps are never whole (V2, section 5.1)."
    labels = len(manifest.labels)
    less = figures.fused_bytes - figures.arena_bytes
    return _TEMPLATE.read_text("utf-8").format(
        model=manifest.model,
        does=kind.does,
        arguments=kind.arguments,
        math="; `expf` and `erf` are those of the compiler's C library" if _calls_math(graph) else "",
        outputs="\n".join(
            f"| `{output.name}` | `{type_name(output.number)}{output.extents}` | {kind.about[output.name]} |"
            for output in returned(graph)
        ),
        height=height,
        width=width,
        channels=manifest.input.channels,
        classes=f"{labels} label{'s' * (labels != 1)}",
        words="8-bit integers" if graph.quantization else "32-bit floats",
        constant_bytes=figures.constant_bytes,
        arena_bytes=figures.arena_bytes,
        plan=f"; if every block ran row by row, it would be {less:,} bytes more" if less else "",
        banded=banded if figures.banded else "Every operator runs by itself.",
    )


def _calls_math(graph: Graph) -> bool:
    """Whether code for exponentials and the error function is linked: for float activations, softmax and boxes."""
    return any(
        isinstance(operator, op.Softmax) or (isinstance(operator, _CURVED) and not graph.quantized(operator))
        for operator in graph.operators
    )
