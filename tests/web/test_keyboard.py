"""The page without a mouse: where the keyboard is after each action, and what a screen reader is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.web.conftest import READY_MS
from tests.web.test_page import COLORS, painted, verdict

if TYPE_CHECKING:
    from playwright.sync_api import Page

    Visit = Callable[[Path], Page]


def held(page: Page) -> str:
    """The name of what has the keyboard."""
    name: str = page.evaluate(
        "() => { const held = document.activeElement; return held.getAttribute('aria-label') ?? held.textContent.trim(); }"
    )
    return name


def tabbed(page: Page, count: int) -> list[str]:
    """What the Tab key reaches, key by key; each shows that it has the keyboard."""
    reached = []
    for _ in range(count):
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid", held(page)
        reached.append(held(page))
    return reached


def test_a_switch_keeps_the_keyboard(visit: Visit, color_model: Path) -> None:
    page = visit(color_model)
    page.get_by_role("button", name="Teach").focus()
    page.keyboard.press("Enter")
    assert held(page) == "Teach"
    assert page.get_by_role("button", name="Teach").first.get_attribute("aria-current") == "page"
    assert tabbed(page, 5) == ["Name of the class", "Remove Class 1", "Record", "Images", "Name of the class"]


def test_the_opened_images_are_one_stop_of_the_tab_key_and_arrows_go_through_them(
    visit: Visit, color_model: Path, tmp_path: Path
) -> None:
    page = visit(color_model)
    page.locator("input[type=file]").first.set_input_files(
        [painted(tmp_path / f"{i}-{name}.png", color) for i, (name, color) in enumerate(COLORS.items())]
    )
    page.locator("#live", has_text="3 images done.").wait_for(timeout=READY_MS)
    page.get_by_role("button", name="Folder").focus()
    assert tabbed(page, 2)[0].startswith("0-red.png: red ")
    assert page.evaluate("document.activeElement.type") == "range"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("ArrowRight")
    page.locator("#live", has_text="1-green.png: green").wait_for()
    assert verdict(page) == "green"
    page.keyboard.press("End")
    page.locator("#live", has_text="2-blue.png: blue").wait_for()
    page.keyboard.press("ArrowRight")  # there is no more
    assert held(page).startswith("2-blue.png: blue")
    page.keyboard.press("Home")
    page.locator("#live", has_text="0-red.png: red").wait_for()
    assert page.get_by_role("img", name="0-red.png: red").count() == 1


def test_what_a_slider_changes_is_said_once_it_rests(visit: Visit, color_model: Path, tmp_path: Path) -> None:
    page = visit(color_model)
    page.locator("input[type=file]").first.set_input_files(painted(tmp_path / "sky.png", COLORS["blue"]))
    assert verdict(page) == "blue"
    page.get_by_role("slider").focus()
    page.keyboard.press("End")
    page.locator("#live", has_text="perhaps blue").wait_for()
    assert page.get_by_role("status").count() == 1  # the value is the slider's own to say


def test_hidden_files_are_not_taken_for_images(visit: Visit, color_model: Path, tmp_path: Path) -> None:
    painted(tmp_path / "photos" / "sky.png", COLORS["blue"])
    (tmp_path / "photos" / "._sky.png").write_bytes(b"\0\5\x16\7 what macOS keeps of a file elsewhere")
    page = visit(color_model)
    page.locator("input[type=file]").nth(1).set_input_files(tmp_path / "photos")
    assert verdict(page) == "blue"
    assert page.locator(".strip button").count() == 1
