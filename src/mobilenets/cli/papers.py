"""`mobilenets papers`: figures, tables and claims of the papers, computed here and compared with what they print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mobilenets.cli import output

if TYPE_CHECKING:
    from mobilenets.science.entry import Asked
    from mobilenets.science.kept import Kept

OUT = Path("runs/papers")
COLUMNS = ("Name", "Paper", "Where", "What", "Minutes", "Needs")
COMPARED = ("Figure", "Paper", "Here", "Difference", "Source")


def command(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="What to reproduce; without NAME, list everything.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to write plots, tables and intermediate results.")] = OUT,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="ImageNet weights that 'convert' can read.", show_default=False)
    ] = None,
    images: Annotated[Path | None, typer.Option(metavar="FOLDER", help="A folder of photos.", show_default=False)] = None,
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="A dataset to train on, as for 'train'.", show_default=False)
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(min=1, help="Number of random draws; 200 by default.", show_default=False)
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.05, help="How long to time each network; 3 by default.", show_default=False)
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="How many times to train each network; 2 by default.", show_default=False)
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs per training; 6 by default.", show_default=False)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Reproduce a result of the four papers: plot, table, and the paper's numbers beside ours. Without NAME, list them.

    Each writes DIR/NAME.png, .svg, .csv and .json:

        mobilenets papers

        mobilenets papers v2-figure-1 v1-equation-5 --out papers/
    """
    from mobilenets.files import check_writable
    from mobilenets.science.entry import check_options
    from mobilenets.science.table import REPRODUCTIONS

    if not names:
        _list(json)
        return
    # fmt: off
    given = {
        "weights": weights, "images": images, "data": data,
        "repeats": repeats, "seconds": seconds, "seeds": seeds, "epochs": epochs,
    }
    # fmt: on
    options = {option: value for option, value in given.items() if value is not None}
    for name in names:
        check_options(name, REPRODUCTIONS[name], list(options))
    check_writable(out)
    out.mkdir(parents=True, exist_ok=True)  # what cannot be written is known before anything is computed
    results = []
    for name in dict.fromkeys(names):
        facts, paths = _reproduced(name, _asked(out, options), out)
        results.append(facts)
        if not json:
            _show(facts, paths)
    if json:
        from mobilenets.science.kept import to_data

        output.show_json([to_data(facts) for facts in results])


def _list(json: bool) -> None:
    from mobilenets.science.entry import PATHS
    from mobilenets.science.table import REPRODUCTIONS

    if json:
        names = ("paper", "place", "what", "minutes", "uses")
        output.show_json(
            [{"name": name, **{key: getattr(entry, key) for key in names}} for name, entry in REPRODUCTIONS.items()]
        )
        return
    rows = [
        (name, entry.paper, entry.place, entry.what, f"{entry.minutes:g}", " ".join(f"--{u}" for u in entry.uses if u in PATHS))
        for name, entry in REPRODUCTIONS.items()
    ]
    output.show_table(COLUMNS, rows)
    output.show("to reproduce one: mobilenets papers NAME")


def _asked(out: Path, options: dict[str, Any]) -> Asked:  # Any: values of options
    from mobilenets.science.entry import Asked
    from mobilenets.telling import Telling

    return Asked(out / "kept", **options, telling=Telling(output.progress, output.note))


def _reproduced(name: str, asked: Asked, out: Path) -> tuple[Kept, list[Path]]:
    """Compute one and write its files."""
    from mobilenets.runtime.machine import machine
    from mobilenets.science.entry import options_of
    from mobilenets.science.kept import kept, write
    from mobilenets.science.table import REPRODUCTIONS, reproduce

    result = reproduce(name, asked)
    facts = kept(name, result, machine=machine().cpu, options=options_of(REPRODUCTIONS[name], asked))
    return facts, write(facts, result.figure, out)


def _show(facts: Kept, paths: list[Path]) -> None:
    """Print what was found: the paper's figures beside ours, and sentences."""
    from mobilenets.science.kept import number
    from mobilenets.science.table import REPRODUCTIONS

    entry = REPRODUCTIONS[facts.name]
    title = f"{entry.paper}, {entry.place}: {entry.what}"
    lines = [
        (each.what, f"{number(each.paper)} {each.unit}", f"{number(each.here)} {each.unit}", each.difference, each.source)
        for each in facts.comparisons
    ]
    reasons = [each.remark for each in facts.comparisons]
    if any(reasons):
        output.show_table((*COMPARED, "Why"), [(*line, why) for line, why in zip(lines, reasons, strict=True)], title=title)
    elif lines:
        output.show_table(COMPARED, lines, title=title)
    else:
        output.show(title)
    for finding in facts.findings:
        output.show(finding)
    output.note(f"plot, table and JSON: {', '.join(map(str, paths))}")
