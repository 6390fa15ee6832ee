"""Results as Parquet: one row per image, with the fields of `mobilenets predict --json`."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from mobilenets.errors import MissingExtraError
from mobilenets.runtime.rows import Record
from mobilenets.specs.model import Task

if TYPE_CHECKING:
    import pyarrow as pa

UNREADABLE = b"mobilenets.unreadable"
"""Metadata key for a file's number of images without a prediction."""


def to_parquet(records: Sequence[Record], task: Task) -> bytes:
    """A Parquet file with a row per record. "error" is null for a prediction; all other columns are null for an error.

    Args:
        records: the records of `Result.record`.
        task: the model's task.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pa, parquet = _arrow()
    schema = pa.schema([("file", pa.string()), ("error", pa.string()), *_FIELDS[task](pa)])
    unreadable = sum("error" in record for record in records)
    table = pa.Table.from_pylist([_clean(record) for record in records], schema=schema)
    table = table.replace_schema_metadata({UNREADABLE: str(unreadable).encode()})
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def counts(file: IO[bytes]) -> tuple[int, int]:
    """A file's number of rows, and how many of them have no prediction. Only the end of the file is read."""
    _, parquet = _arrow()
    metadata = parquet.read_metadata(file)
    return metadata.num_rows, int((metadata.metadata or {}).get(UNREADABLE, b"0"))


def _arrow() -> tuple[Any, Any]:  # Any: pyarrow has no types
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "ray") from error
    return pyarrow, pyarrow.parquet


def _clean(record: Record) -> Record:
    """The record with a name that Parquet can store; bytes that are not UTF-8 are escaped."""
    return {**record, "file": str(record["file"]).encode("utf-8", "backslashreplace").decode()}


def _labels(pa: Any) -> list[tuple[str, pa.DataType]]:  # Any: as above
    scored = pa.struct([("label", pa.string()), ("score", pa.float64())])
    return [("label", pa.string()), ("score", pa.float64()), ("top", pa.list_(scored))]


def _boxes(pa: Any) -> list[tuple[str, pa.DataType]]:  # Any: as above
    edges = [(edge, pa.float64()) for edge in ("x0", "y0", "x1", "y1")]
    box = pa.struct([("label", pa.string()), ("score", pa.float64()), *edges])
    return [("width", pa.int64()), ("height", pa.int64()), ("boxes", pa.list_(box))]


def _areas(pa: Any) -> list[tuple[str, pa.DataType]]:  # Any: as above
    area = pa.struct([("label", pa.string()), ("pixels", pa.int64()), ("share", pa.float64())])
    return [("width", pa.int64()), ("height", pa.int64()), ("areas", pa.list_(area))]


_FIELDS: Mapping[Task, Callable[[Any], list[tuple[str, Any]]]] = {"classify": _labels, "detect": _boxes, "segment": _areas}
