"""Who can use the page: on a phone, by keyboard, with a screen reader, by day and by night, and without a network."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.web.axe import violations
from tests.web.conftest import ONE_THREAD, READY_MS, served
from tests.web.test_page import COLORS, painted, verdict

from mobilenets.cli.demo import page_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TOUCH_PX = 44
"""What a finger hits: the least of the guidelines of WCAG (2.5.5) and of the makers of phones."""

READABLE = 4.5
"""Contrast of text, WCAG 1.4.3."""

_CONTRAST = """([text, ground]) => {
    const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const styles = getComputedStyle(document.documentElement);
    const light = (name) => {
        probe.fillStyle = styles.getPropertyValue(name);
        probe.fillRect(0, 0, 1, 1);
        const [red, green, blue] = [...probe.getImageData(0, 0, 1, 1).data].slice(0, 3).map((level) => {
            const share = level / 255;
            return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const [high, low] = [light(text), light(ground)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
}"""


@pytest.fixture
def phone(browser: Browser, site: Callable[[Path], str], color_model: Path) -> Page:
    page = browser.new_page(viewport={"width": 320, "height": 640}, has_touch=True, service_workers="block")
    page.add_init_script(ONE_THREAD)
    page.goto(site(color_model))
    page.wait_for_selector("html[data-state=ready]", timeout=READY_MS)
    return page


def test_it_fits_a_narrow_phone_and_fingers(phone: Page, tmp_path: Path) -> None:
    for name, color in COLORS.items():
        painted(tmp_path / f"{name}.png", color)
    phone.locator("input[type=file]").first.set_input_files(sorted(tmp_path.glob("*.png")))
    assert verdict(phone)
    assert phone.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    for button in phone.get_by_role("button").all():
        box = button.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= TOUCH_PX, button.inner_text()
    phone.close()


def test_everything_is_reached_by_keyboard_and_has_a_name(phone: Page) -> None:
    reached = []
    for _ in range(6):
        phone.keyboard.press("Tab")
        reached.append(phone.evaluate("document.activeElement.textContent"))
    assert reached == ["Skip to the model", "Try", "Teach", "Camera", "Images", "Folder"]
    tree = phone.locator("body").aria_snapshot()
    assert '- heading "color" [level=1]' in tree
    assert '- button "Camera"' in tree
    assert "- button\n" not in tree  # none without a name
    with phone.expect_file_chooser():
        phone.get_by_role("button", name="Images").press("Enter")
    phone.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_by_day_and_by_night(
    scheme: str, browser: Browser, site: Callable[[Path], str], color_model: Path
) -> None:
    page = browser.new_page(service_workers="block")
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(site(color_model))
    pairs = [("--ink", "--ground"), ("--quiet", "--ground"), ("--quiet", "--surface"), ("--on-accent", "--accent")]
    pairs += [("--ink", "--surface"), ("--bad", "--surface"), ("--quiet", "--well")]
    contrasts = {pair: page.evaluate(_CONTRAST, list(pair)) for pair in pairs}
    assert {pair: value for pair, value in contrasts.items() if value < READABLE} == {}
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 21, 27)"
    assert dark == (scheme == "dark")
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("task", ["color", "cell"])
def test_nothing_is_wrong_with_it_for_those_who_hear_it(
    scheme: str, task: str, browser: Browser, site: Callable[[Path], str], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    page = browser.new_page(viewport={"width": 360, "height": 740}, service_workers="block")
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.add_init_script(ONE_THREAD)
    page.goto(site(request.getfixturevalue(f"{task}_model")))
    page.wait_for_selector("html[data-state=ready]", timeout=READY_MS)
    assert violations(page) == []
    files = [painted(tmp_path / f"{name}.png", color) for name, color in COLORS.items()]
    (tmp_path / "broken.png").write_bytes(b"\x89PNG and nothing more")
    page.locator("input[type=file]").first.set_input_files([*files, tmp_path / "broken.png"])
    assert verdict(page)
    page.locator("#live", has_text="4 images done.").wait_for()
    assert violations(page) == []
    page.get_by_role("button", name="broken.png").click()
    page.get_by_role("alert").wait_for()
    assert violations(page) == []
    if task == "color":
        page.get_by_role("button", name="Teach").click()
        assert violations(page) == []
    page.close()


@pytest.mark.slow
def test_it_can_be_installed_and_works_without_a_network_after_one_visit(
    browser: Browser, built_page: Path, color_model: Path, tmp_path: Path
) -> None:
    context = browser.new_context()
    page = context.new_page()
    with page_of(color_model) as folder, served(folder) as address:
        page.goto(address)
        page.locator("#offline", has_text="Works offline.").wait_for(timeout=READY_MS)
        errors = context.new_cdp_session(page).send("Page.getInstallabilityErrors")["installabilityErrors"]
        assert {error["errorId"] for error in errors} == {"in-incognito"}  # a test's window is one
    page.goto(address)  # the server is gone
    page.wait_for_selector("html[data-state=ready]", timeout=READY_MS)
    page.locator("input[type=file]").first.set_input_files(painted(tmp_path / "meadow.png", COLORS["green"]))
    assert verdict(page) == "green"
    context.close()


@pytest.mark.slow
def test_the_service_worker_isolates_the_page_where_a_server_does_not(
    browser: Browser, built_page: Path, color_model: Path
) -> None:
    context = browser.new_context()
    page = context.new_page()
    with page_of(color_model) as folder:
        handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            address = f"http://127.0.0.1:{server.server_port}/"
            page.goto(address)
            page.locator("#offline", has_text="Works offline.").wait_for(timeout=READY_MS)
            before = page.evaluate("crossOriginIsolated")
            page.goto(address)
            page.wait_for_selector("html[data-state=ready]", timeout=READY_MS)
            after = page.evaluate("crossOriginIsolated")
            server.shutdown()
            thread.join()
    assert (before, after) == (False, True)
    context.close()
