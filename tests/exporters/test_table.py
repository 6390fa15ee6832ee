"""The table of export formats."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobilenets.exporters.table import EXPORTERS
from mobilenets.runtime.engines.table import ENGINES


@pytest.mark.parametrize("name", [name for name, kind in EXPORTERS.items() if Path(kind.file).suffix in ENGINES])
def test_the_command_that_an_export_suggests_next_is_one_that_works_on_this_system(name: str) -> None:
    exporter = EXPORTERS[name]
    runs_here = ENGINES[Path(exporter.file).suffix].fits_system
    assert ("predict" in exporter.after) == runs_here
