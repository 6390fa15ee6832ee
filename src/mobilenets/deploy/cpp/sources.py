"""The kernels' headers, shared by the native engine and exported C++: found as copies in the wheel, or in the checkout."""

from __future__ import annotations

import shutil
from pathlib import Path

from mobilenets.errors import ExportError

HEADERS = (
    "arithmetic.hpp",
    "kernels/depthwise.hpp",
    "kernels/depthwise_bytes.hpp",
    "kernels/depthwise_columns.hpp",
    "kernels/depthwise_pairs.hpp",
    "kernels/direct.hpp",
    "kernels/elementwise.hpp",
    "kernels/pixels.hpp",
    "kernels/records.hpp",
    "kernels/rescale.hpp",
    "kernels/row_groups.hpp",
    "kernels/sums.hpp",
    "operators/boxes.hpp",
    "operators/convolution.hpp",
    "operators/curves.hpp",
    "operators/depthwise.hpp",
    "operators/elementwise.hpp",
    "operators/image.hpp",
    "operators/maps.hpp",
    "operators/pool.hpp",
    "operators/rows.hpp",
    "operators/tables.hpp",
    "simd/compact.hpp",
    "simd/compiled.hpp",
    "simd/dsp.hpp",
    "simd/neon.hpp",
    "simd/plain.hpp",
)
"""The headers that exported C++ includes; all of them are freestanding."""

_PLACES = (Path(__file__).parent / "kernels", Path(__file__).parents[4] / "native" / "src")


def copy_headers(folder: Path) -> None:
    """Copy the headers.

    Args:
        folder: the folder to copy to; it is created.

    Raises:
        ExportError: this installation lacks them.
        OSError: a file cannot be written.
    """
    source = next((place for place in _PLACES if all((place / name).is_file() for name in HEADERS)), None)
    if source is None:
        raise ExportError(
            "this installation of mobilenets lacks the sources of its C++ kernels", hint="install its wheel again"
        )
    for name in HEADERS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, folder / name)
