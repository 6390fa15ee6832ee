"""A MkDocs hook: the pages at the root of the repository become pages of the site, and links between pages keep working.

MkDocs only knows the files below `docs/`. The README, the changelog and a few others live at the root, where people expect
them. This hook adds them under the names in `PAGES`, lists the decision records, and rewrites each link to a file of the
repository into a link to its page.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = {  # file at the root: page of the site
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "LICENSE": "license.md",
    "LOG.md": "log.md",
}
RECORDS, RECORDS_PAGE = "docs/decisions", "decisions/index.md"
_LINK = re.compile(r"(\]\()([^)#:\s]+)((?:#[^)\s]*)?\))")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the decision records into the navigation, so that a new record needs no line there."""
    places = [RECORDS_PAGE, *(f"decisions/{record.name}" for record in _records())]
    for section in config.nav or []:
        for entry in section.get("Project", []):
            if "Decisions" in entry:
                entry["Decisions"] = places
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root."""
    from mkdocs.structure.files import File

    for name, page in PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        content = f"# License\n\n```text\n{text}```\n" if name == "LICENSE" else text
        files.append(File.generated(config, page, content=content))
    files.append(File.generated(config, RECORDS_PAGE, content=_list_of_records()))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:  # Any: MkDocs passes its configuration and all files
    """Rewrite the links of a page from places in the repository to places on the site."""
    return relinked(markdown, page.file.src_uri)


def relinked(markdown: str, page: str) -> str:
    """Markdown whose links lead to pages of the site.

    Args:
        markdown: as it is in the repository.
        page: its place on the site, such as `"guides/train.md"`.
    """
    places = {**PAGES, RECORDS: RECORDS_PAGE}
    at_root = {place: name for name, place in PAGES.items()}
    source = at_root.get(page, f"docs/{page}")

    def place(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[2]))
        target = places.get(target, target.removeprefix("docs/"))
        return f"{match[1]}{posixpath.relpath(target, posixpath.dirname(page) or '.')}{match[3]}"

    return _LINK.sub(place, markdown)


def _records() -> list[Path]:
    return sorted((ROOT / RECORDS).glob("*.md"))


def _list_of_records() -> str:
    """A page that links every decision record by its title."""
    lines = [f"- [{path.name[:4]}: {path.read_text(encoding='utf-8').splitlines()[0][2:]}]({path.name})" for path in _records()]
    return "# Decisions\n\nWhy the package depends on what it depends on.\n\n" + "\n".join(lines) + "\n"
