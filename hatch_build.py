"""Puts the kernels' headers into the wheel: exported C++ has copies of the native engine's own. A checkout reads them there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FREESTANDING = ("kernels", "operators", "simd")
PLACE = "mobilenets/deploy/cpp/kernels"


class Headers(BuildHookInterface):
    """The hook that hatchling calls."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # Any: hatchling's
        """Add the headers to a wheel, but not to an editable install."""
        if version == "editable":
            return
        source = Path(self.root, "native", "src")
        headers = [
            source / "arithmetic.hpp",
            *(file for folder in FREESTANDING for file in sorted((source / folder).glob("*.hpp"))),
        ]
        build_data["force_include"] |= {str(file): f"{PLACE}/{file.relative_to(source).as_posix()}" for file in headers}
