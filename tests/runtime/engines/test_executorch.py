"""A damaged `.pte` file is refused at once: ExecuTorch and torch, whose import takes seconds, are not loaded for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mobilenets.runtime.manifest import Manifest, write_beside
from mobilenets.specs.model import InputContract

OPEN = """
import sys
from pathlib import Path
from mobilenets.errors import CheckpointError
from mobilenets.runtime.engines.executorch import ExecuTorchEngine
try:
    ExecuTorchEngine(Path(sys.argv[1]))
except CheckpointError as error:
    print(error)
print(sorted({"torch", "executorch"} & sys.modules.keys()))
"""


def test_a_damaged_file_is_refused_before_torch_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "model.pte"
    file.write_bytes(b"a whole program")
    write_beside(file, Manifest("color", ("red", "green"), InputContract(size=16)))
    file.write_bytes(b"a program")
    done = subprocess.run([sys.executable, "-c", OPEN, file], capture_output=True, text=True, check=True)
    message, loaded = done.stdout.splitlines()
    assert message.endswith("beside it was written for: it has 9 bytes instead of 15")
    assert loaded == "[]"
