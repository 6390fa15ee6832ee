"""`Saved`: stores the rows of a benchmark in its folder, one line each, as soon as they are measured."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from mobilenets.benchmark.row import Accuracy, Row, from_flat, to_flat
from mobilenets.documents import decode, encode, parse
from mobilenets.errors import DocumentError

FILE = "rows.jsonl"


class Saved:
    """The results so far. A line that is incomplete because the process was killed is skipped.

    Args:
        folder: the benchmark's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.rows: dict[str, Row] = {}
        self.accuracies: dict[str, Accuracy] = {}

    def read(self) -> None:
        """Read the results of an earlier run.

        Raises:
            OSError: the file cannot be read.
        """
        if not self.path.is_file():
            return
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                data = parse(line)
                if "accuracy_of" in data:
                    self.accuracies[str(data["accuracy_of"])] = decode(data["measured"], Accuracy)
                else:
                    self.rows[str(data["row_of"])] = from_flat(data["measured"])
            except (DocumentError, TypeError, KeyError, AttributeError):
                continue  # incomplete, or from another version: it is measured again

    def add_row(self, key: str, row: Row) -> None:
        """Add a row and write it to disk; raises OSError if it cannot be written."""
        self.rows[key] = row
        self._append({"row_of": key, "measured": to_flat(row)})

    def add_accuracy(self, key: str, accuracy: Accuracy) -> None:
        """Add an accuracy and write it to disk; raises OSError if it cannot be written."""
        self.accuracies[key] = accuracy
        self._append({"accuracy_of": key, "measured": encode(accuracy)})

    def _append(self, data: Mapping[str, object]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            if file.tell() and not self._ends_a_line():
                file.write(b"\n")
            file.write(json.dumps(data).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _ends_a_line(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"
