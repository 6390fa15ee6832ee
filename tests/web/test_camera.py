"""The camera: it runs while its picture is shown, and no longer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.web.test_page import COLORS, dropped, painted, verdict

if TYPE_CHECKING:
    from playwright.sync_api import Page

    Visit = Callable[[Path], Page]

ASKED = """async () => {
    const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    window.streams = [];
    navigator.mediaDevices.getUserMedia = async (wish) => {
        const stream = await real(wish);
        window.streams.push(stream);
        await new Promise((go) => { window.allow = go; });
        return stream;
    };
}"""
"""The user is asked for the camera, and has not answered until `allow` is called."""

ALLOWED = """async () => {
    while (window.allow === undefined) await new Promise(requestAnimationFrame);
}"""

RUNNING = """async () => {
    window.allow?.();
    for (let i = 0; i < 5; i += 1) await new Promise(requestAnimationFrame);
    return window.streams.flatMap((stream) => stream.getTracks()).filter((track) => track.readyState === "live").length;
}"""
"""Tracks of the camera that run once the user has allowed it."""


def test_the_camera_is_predicted_frame_after_frame_until_it_stops(visit: Visit, color_model: Path) -> None:
    page = visit(color_model)
    page.get_by_role("button", name="Camera").click()
    assert verdict(page)  # Chromium's made-up camera is green, with a moving figure
    assert page.locator("video").count() == 1
    seen = page.locator(".time").inner_text()
    page.locator(f".time:not(:text-is('{seen}'))").wait_for()
    page.get_by_role("button", name="Stop").click()
    assert page.locator("video").count() == 0
    assert page.get_by_role("button", name="Camera").is_visible()


def test_a_camera_that_is_blocked_is_explained(visit: Visit, color_model: Path) -> None:
    page = visit(color_model)
    page.evaluate(
        """() => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("no", "NotAllowedError"); }; }"""
    )
    page.get_by_role("button", name="Camera").click()
    message = page.locator(".stage [role=alert]")
    message.wait_for()
    assert "blocked" in message.inner_text()
    assert "address bar" in message.inner_text()


def test_the_camera_takes_the_place_of_the_image_that_was_chosen(visit: Visit, color_model: Path, tmp_path: Path) -> None:
    page = visit(color_model)
    images = [painted(tmp_path / f"{name}.png", color) for name, color in COLORS.items()]
    page.locator("input[type=file]").first.set_input_files(images)
    assert page.locator(".strip [aria-pressed=true]").count() == 1
    page.get_by_role("button", name="Camera").click()
    page.locator("video").wait_for()
    assert page.locator(".strip [aria-pressed=true]").count() == 0


def go_to_teach(page: Page, _: Path) -> None:
    page.get_by_role("button", name="Teach").first.click()


def choose_an_image(page: Page, image: Path) -> None:
    page.locator("input[type=file]").first.set_input_files(image)
    verdict(page)


def drop_what_is_no_image(page: Page, _: Path) -> None:
    dropped(page, "drop", b"words", name="notes.txt", kind="text/plain")
    page.get_by_role("alert").wait_for()


@pytest.mark.parametrize("then", [go_to_teach, choose_an_image, drop_what_is_no_image])
def test_a_camera_that_is_allowed_too_late_is_let_go(
    then: Callable[[Page, Path], None], visit: Visit, color_model: Path, tmp_path: Path
) -> None:
    page = visit(color_model)
    page.evaluate(ASKED)
    page.get_by_role("button", name="Camera").click()
    page.evaluate(ALLOWED)
    then(page, painted(tmp_path / "sky.png", COLORS["blue"]))
    assert page.evaluate(RUNNING) == 0
    assert page.locator("video").count() == 0


def test_a_recording_that_is_stopped_before_it_is_allowed_lets_the_camera_go(visit: Visit, color_model: Path) -> None:
    page = visit(color_model)
    page.evaluate(ASKED)
    go_to_teach(page, Path())
    page.get_by_role("button", name="Record").first.click()
    page.evaluate(ALLOWED)
    page.get_by_role("button", name="Stop").click()
    assert page.evaluate(RUNNING) == 0


def test_two_clicks_start_one_camera(visit: Visit, color_model: Path) -> None:
    page = visit(color_model)
    page.evaluate(ASKED)
    page.get_by_role("button", name="Camera").click()
    page.evaluate(ALLOWED)
    page.evaluate("() => { window.first = window.allow; window.allow = undefined; }")
    page.get_by_role("button", name="Camera").click()
    page.evaluate(ALLOWED)
    page.evaluate("() => window.first()")
    assert page.evaluate(RUNNING) == 1
    page.get_by_role("button", name="Stop").click()
    assert page.evaluate(RUNNING) == 0


def test_a_camera_that_is_unplugged_is_said(visit: Visit, color_model: Path) -> None:
    page = visit(color_model)
    page.get_by_role("button", name="Camera").click()
    assert verdict(page)
    page.evaluate("document.querySelector('video').srcObject.getTracks()[0].dispatchEvent(new Event('ended'))")
    page.get_by_role("alert", name="").filter(has_text="The camera stopped").wait_for()
    assert page.get_by_role("button", name="Camera").is_visible()
    assert page.locator(".panel:visible").count() == 0


def test_what_is_no_image_leaves_nothing_of_the_camera(visit: Visit, color_model: Path) -> None:
    page = visit(color_model)
    page.get_by_role("button", name="Camera").click()
    assert verdict(page)
    drop_what_is_no_image(page, Path())
    assert page.get_by_role("button", name="Camera").is_visible()
    assert page.locator(".panel:visible").count() == 0
