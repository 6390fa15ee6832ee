from __future__ import annotations

from mobilenets.data.boxes import Box, NamedBox


def test_edges_give_the_sides() -> None:
    box = Box(0, 1, 2, 4, 2.5)
    assert (box.width, box.height, box.corners) == (3, 0.5, (1, 2, 4, 2.5))


def test_a_named_box_keeps_its_flags_when_it_is_numbered() -> None:
    assert NamedBox("cat", 1, 2, 3, 4, difficult=True).numbered(7) == Box(7, 1, 2, 3, 4, difficult=True)
    assert NamedBox("cat", 1, 2, 3, 4, crowd=True).numbered(7) == Box(7, 1, 2, 3, 4, crowd=True)
