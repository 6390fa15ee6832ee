from __future__ import annotations

from mobilenets.reports.markdown import to_markdown
from mobilenets.reports.page import Content, Fact, Page, Shown, Table


def page_of(*shown: Shown, tables: tuple[Table, ...] = ()) -> Page:
    return Page("t", (), Content("s", "Worst mistakes", "Look.", shown, (), tables))


def test_a_bar_in_a_name_does_not_break_the_table() -> None:
    mistake = Shown("0|x.jpg", (Fact("said", "b 80.0%"), Fact("truth", "a 10.0%")), b"")
    text = to_markdown(page_of(mistake), plots=[], images=[""])
    assert "| image | file | said | truth |" in text
    assert "|  | `0\\|x.jpg` | b 80.0% | a 10.0% |" in text


def test_an_image_is_linked_with_its_spaces_escaped() -> None:
    text = to_markdown(page_of(Shown("x", (), b"jpeg")), plots=[], images=["mistakes/0 1.jpg"])
    assert "| ![](mistakes/0%201.jpg) | `x` |" in text


def test_every_row_of_a_table_is_there() -> None:
    rows = tuple((str(i), "1") for i in range(150))
    text = to_markdown(page_of(tables=(Table("Classes", ("class", "boxes"), rows, note="All."),)), plots=[], images=[])
    assert "## Classes\n\nAll.\n\n| class | boxes |" in text
    assert "| 149 | 1 |" in text
