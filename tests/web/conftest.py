"""Fixtures of the page in a real browser: headless Chromium, driven by Playwright.

The page is built once where it is not built yet. What is missing for that, or for the browser, skips the tests and says so.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.web.remote import InBrowser

from mobilenets.runtime.engines.open import opened
from mobilenets.web.folder import page_folder, write_page
from mobilenets.web.server import page_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

SOURCE = Path(__file__).parents[2] / "web"
BUILD_S = 300
OLDEST_NODE = 20
ONE_THREAD = "Object.defineProperty(navigator, 'hardwareConcurrency', { value: 1 })"
"""Leaves a page one way to run a network, so that it need not measure any."""

READY_MS = 30_000
SETTLED = "html[data-engine=settled]"
"""A page that has measured every way to run its network, and goes on with the fastest."""


@pytest.fixture(scope="session")
def built_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built page."""
    if not has_node():
        pytest.skip("the page is built by Node.js 20 or newer with npm, which is not installed")
    with (SOURCE / ".building").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side
        if not (SOURCE / "node_modules" / ".package-lock.json").is_file():
            run_npm("ci", "--no-audit", "--no-fund", "--ignore-scripts")
        if not (Path(__file__).parents[2] / "src/mobilenets/web/page/index.html").is_file():
            subprocess.run([sys.executable, SOURCE.parent / "scripts/wasm.py", SOURCE / "wasm"], check=True, timeout=BUILD_S)
            run_npm("run", "build")
    return page_folder()


@pytest.fixture(scope="session")
def native_engine(built_page: Path) -> Path:
    """The folder of our own engine as WebAssembly."""
    folder = built_page / "engines" / "native"
    if not folder.is_dir():
        pytest.skip("the page was built without our own engine: pip install ziglang, then make web")
    return folder


def has_node() -> bool:
    """Whether there is npm, and a Node.js that is new enough."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return False
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    return int(version.strip().removeprefix("v").partition(".")[0] or 0) >= OLDEST_NODE


def run_npm(*arguments: str) -> None:
    """Run npm in the page's source; its output is the failure's message."""
    done = subprocess.run(["npm", *arguments], cwd=SOURCE, capture_output=True, text=True, timeout=BUILD_S, check=False)
    assert done.returncode == 0, f"npm {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium, with a camera that is made up."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")
    chromium = os.environ.get("MOBILENETS_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    flags = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    flags += ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield started
        started.close()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address at which a folder of the page is given out."""
    with page_server(folder) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="session")
def site(built_page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], str]]:
    """Gives out the page with an exported network, and returns its address; each network once."""
    from contextlib import ExitStack

    known: dict[Path, str] = {}
    with ExitStack() as stack:

        def give(network: Path) -> str:
            if network not in known:
                folder = tmp_path_factory.mktemp("site") / "web"
                write_page(folder, opened(network, engine="onnx").manifest, {"onnx": network})
                known[network] = stack.enter_context(served(folder))
            return known[network]

        yield give


@pytest.fixture(scope="session")
def workbench(browser: Browser, site: Callable[[Path], str], color_model: Path) -> Iterator[InBrowser]:
    """A page whose worker tests may give any network: it is opened once, for that takes a second."""
    page = browser.new_page(service_workers="block")
    page.goto(site(color_model))
    page.wait_for_selector(SETTLED, timeout=READY_MS)
    yield InBrowser(page)
    page.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A window with nothing stored, in which errors of the page fail the test."""
    made = browser.new_context(viewport={"width": 1280, "height": 900}, service_workers="block")
    made.add_init_script(ONE_THREAD)
    errors: list[str] = []
    made.on("weberror", lambda error: errors.append(str(error.error)))
    made.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    yield made
    made.close()
    assert errors == []


@pytest.fixture
def visit(context: BrowserContext, site: Callable[[Path], str]) -> Callable[[Path], Page]:
    """Opens the page with an exported network, and waits until that runs."""

    def go(network: Path) -> Page:
        page = context.new_page()
        page.goto(site(network))
        page.wait_for_selector("html[data-state=ready]", timeout=READY_MS)
        return page

    return go
