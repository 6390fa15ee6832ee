from __future__ import annotations

from mobilenets.runtime.segment.palette import colors_for


def test_255_labels_have_255_colors() -> None:
    assert len(set(colors_for([f"class {i}" for i in range(255)]))) == 255


def test_a_background_is_black_wherever_it_stands() -> None:
    assert colors_for(["cat", "background"])[1] == (0, 0, 0)
    assert colors_for(["cat"]) == colors_for(["cat", "background"])[:1]
