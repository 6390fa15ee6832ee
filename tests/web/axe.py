"""`violations`: what axe-core finds wrong with a page for those who hear it or use a keyboard."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

SOURCE = Path(__file__).parents[2] / "web/node_modules/axe-core/axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@cache
def _axe() -> str:
    if not SOURCE.is_file():
        pytest.skip("axe-core is not installed: npm ci in web/, or make web")
    return SOURCE.read_text()


def violations(page: Page) -> list[str]:
    """Each rule that the page breaks as it is now, with the elements that break it."""
    page.evaluate(_axe())
    found = page.evaluate("(values) => axe.run(document, { runOnly: { type: 'tag', values } })", RULES)
    assert found["passes"], "axe-core has looked at nothing"
    return [f"{rule['id']}: {[node['html'] for node in rule['nodes']]}" for rule in found["violations"]]
