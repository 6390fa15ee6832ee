"""Write docs/papers, one page a paper, from the results that `mobilenets papers` wrote.

python scripts/papers.py docs/papers                      write the pages from the results kept there
python scripts/papers.py --from runs/papers docs/papers   take over results and plots first
python scripts/papers.py --check docs/papers              exit 1 if a page is out of date
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from mobilenets.science.entry import PATHS, Comparison, Paper, Reproduction
from mobilenets.science.kept import Kept, number, read, to_data
from mobilenets.science.table import REPRODUCTIONS
from mobilenets.specs import v1, v2, v3, v4

HEADER = "<!-- Written by `make docs` from docs/papers/results; do not edit. -->\n\n"
TITLES: dict[Paper, tuple[str, str]] = {
    "V1": ("MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", v1.ARXIV),
    "V2": ("MobileNetV2: Inverted Residuals and Linear Bottlenecks", v2.ARXIV),
    "V3": ("Searching for MobileNetV3", v3.ARXIV),
    "V4": ("MobileNetV4: Universal Models for the Mobile Ecosystem", v4.ARXIV),
}
INTRODUCTION = (
    "This page compares what the paper prints with what this package computes. `mobilenets papers` lists all reproductions; "
    "the command under each heading recomputes that section, with its plot and with its data as CSV. Parameters and "
    "multiply-adds are counted on the module that runs. Latencies come from one machine, named in each section: compare their "
    "ratios, not the milliseconds.\n"
)
WORDS = {"weights": "WEIGHTS", "images": "PHOTOS", "data": "CIFAR10"}
RESULTS, IMAGES = "results", "images"


def page(paper: Paper, folder: Path) -> str:
    """The page of a paper."""
    title, arxiv = TITLES[paper]
    address = f"https://arxiv.org/abs/{arxiv.removeprefix('arXiv:')}"
    parts = [f"# {paper}: {title}\n\n[{arxiv}]({address}). {INTRODUCTION}"]
    for name, entry in REPRODUCTIONS.items():
        if entry.paper == paper:
            parts.append("\n".join(_section(name, entry, folder)))
    return HEADER + "\n".join(parts)


def _section(name: str, entry: Reproduction, folder: Path) -> Iterator[str]:
    """One reproduction."""
    yield f"## {entry.place}: {entry.what}\n"
    options = "".join(f" --{use} {WORDS[use]}" for use in entry.uses if use in PATHS)
    yield f"```sh\nmobilenets papers {name}{options}\n```\n"
    file = folder / RESULTS / f"{name}.json"
    if not file.exists():
        yield f"Not computed for this page: it takes about {entry.minutes:g} minutes on one core.\n"
        return
    facts = read(file)
    yield f"![{entry.what}]({IMAGES}/{name}.png)\n"
    yield f"{facts.caption}\n"
    if facts.comparisons:
        yield _table(facts.comparisons)
    if facts.findings:
        yield "".join(f"- {finding}\n" for finding in facts.findings)
    settings = "".join(f", {option} {value}" for option, value in facts.options.items() if option not in PATHS)
    yield f"Computed on: {facts.machine or 'an unnamed processor'}{settings}.\n"


def _table(comparisons: Sequence[Comparison]) -> str:
    reasons = any(each.remark for each in comparisons)
    columns = ("figure", "paper", "here", "difference", "printed in", *(("why",) if reasons else ()))
    lines = [
        (
            *(each.what, f"{number(each.paper)} {each.unit}", f"{number(each.here)} {each.unit}", each.difference, each.source),
            *((each.remark,) if reasons else ()),
        )
        for each in comparisons
    ]
    rows = [columns, ["---"] * len(columns), *lines]
    return "".join("| " + " | ".join(cell.replace("|", "\\|").strip() for cell in row) + " |\n" for row in rows)


def pages(folder: Path) -> dict[Path, str]:
    """Every page with its text."""
    return {folder / f"{paper.lower()}.md": page(paper, folder) for paper in get_args(Paper)}


def take_over(source: Path, folder: Path) -> None:
    """Copy the results in `source` that are there, without their tables, and their plots."""
    for name in REPRODUCTIONS:
        file = source / f"{name}.json"
        if file.exists():
            facts: Kept = replace(read(file), rows=())
            target = folder / RESULTS / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(json.dumps(to_data(facts), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            (folder / IMAGES).mkdir(exist_ok=True)
            shutil.copy(source / f"{name}.png", folder / IMAGES)


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or compare them with what is there; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--from", dest="source", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    if options.source is not None:
        take_over(options.source, options.folder)
    stale = 0
    for path, text in pages(options.folder).items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        if options.check:
            print(f"{path} is out of date; run scripts/papers.py {options.folder}")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path}")
    return int(options.check and stale > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
