"""Buffers written by the flatbuffers package, which is not what reads them."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from flatbuffers import Builder

from mobilenets.weights.tflite.flatbuffer import FlatTable


def _written() -> bytes:
    """A table of: 0 int8 -3, 1 int32 70000, 2 "höh", 3 [1, 2, 3] as int32, 4 absent, 5 a table with 0 int32 5, 6 two of it."""
    builder = Builder(64)
    text = builder.CreateString("höh")
    numbers = builder.CreateNumpyVector(np.array([1, 2, 3], np.int32))
    builder.StartObject(1)
    builder.PrependInt32Slot(0, 5, 0)
    inner = builder.EndObject()
    builder.StartVector(4, 2, 4)
    builder.PrependUOffsetTRelative(inner)
    builder.PrependUOffsetTRelative(inner)
    tables = builder.EndVector()
    builder.StartObject(7)
    builder.PrependInt8Slot(0, -3, 0)
    builder.PrependInt32Slot(1, 70000, 0)
    builder.PrependUOffsetTRelativeSlot(2, text, 0)
    builder.PrependUOffsetTRelativeSlot(3, numbers, 0)
    builder.PrependUOffsetTRelativeSlot(5, inner, 0)
    builder.PrependUOffsetTRelativeSlot(6, tables, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


def test_fields_are_read_where_the_schema_puts_them() -> None:
    table = FlatTable.root(_written())
    assert (table.scalar(0, "b"), table.scalar(1, "i"), table.string(2)) == (-3, 70000, "höh")
    assert table.array(3, "<i4").tolist() == [1, 2, 3]
    inner = table.table(5)
    assert inner is not None
    assert inner.scalar(0, "i") == 5
    assert [one.scalar(0, "i") for one in table.tables(6)] == [5, 5]


def test_absent_fields_mean_their_defaults() -> None:
    table = FlatTable.root(_written())
    assert (table.scalar(4, "i", 9), table.scalar(40, "i", 8), table.string(4), table.table(4)) == (9, 8, "", None)
    assert table.array(4, "<f4").tolist() == []
    assert list(table.tables(4)) == []


@pytest.mark.parametrize("keep", [2, 8, 20])
def test_a_buffer_that_is_cut_off_raises_struct_error(keep: int) -> None:
    with pytest.raises(struct.error):
        FlatTable.root(_written()[:keep]).array(3, "<i4")
