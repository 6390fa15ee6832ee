"""`mobilenets search`: a network for a latency or a size, from a trained one, on the user's data and device."""

from __future__ import annotations

import shlex
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Annotated

import typer

from mobilenets.cli.output import note, progress, show, show_json, show_table
from mobilenets.cli.reading import ClassesOption, IgnoreOption, Reading, TaskOption, anywhere
from mobilenets.cli.resuming import WAIT, forget, refuse_typed, the_only, unused
from mobilenets.errors import MissingExtraError, MobileNetsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mobilenets.search.flow import Result
    from mobilenets.search.study import ElsewhereError

RUNS, TRIALS = Path("runs"), 60
OF_METHODS = {"netadapt": ("step",), "shapes": ("trials", "finalists", "reward")}
"""The parameters that only one method has."""

GOING_ON = frozenset(("data", "resume", "out", "device", "json", "trials", "storage", "study", "lost_after"))
"""The options of a search that goes on; all others are as they were when it began."""

SHARED = f"{WAIT}; workers that share a search have a folder each, and --storage"


def command(
    context: typer.Context,
    data: Annotated[str, typer.Argument(metavar="DATA", help="The dataset, as for 'mobilenets train'.")],
    start: Annotated[
        str,
        typer.Option(metavar="RUN", help="The trained network to start from: a run or checkpoint folder.", show_default=False),
    ] = "",
    max_ms: Annotated[
        float | None, typer.Option(metavar="MS", help="Maximum latency for one image on the device.", show_default=False)
    ] = None,
    max_mb: Annotated[
        float | None, typer.Option(metavar="MB", help="Maximum size of the weights in 32-bit floats.", show_default=False)
    ] = None,
    max_macs: Annotated[
        float | None,
        typer.Option(metavar="MILLION", help="Maximum multiply-adds for one image, in millions.", show_default=False),
    ] = None,
    max_kb_ram: Annotated[
        float | None,
        typer.Option(
            metavar="KB", help="Maximum memory for activations in 32-bit floats; int8 needs a quarter.", show_default=False
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(metavar="NAME", help="netadapt shrinks the start step by step; shapes samples networks of many shapes."),
    ] = "netadapt",
    step: Annotated[
        float, typer.Option(min=0.001, max=0.5, help="netadapt: share of the start's cost to save per step.")
    ] = 0.01,
    trials: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="shapes: number of networks to try.", show_default="60")
    ] = None,
    finalists: Annotated[int, typer.Option(min=1, metavar="N", help="shapes: number of networks to train in full.")] = 1,
    reward: Annotated[
        float,
        typer.Option(
            metavar="W",
            help="shapes: maximize accuracy x (cost / budget)^W, with W such as -0.07; 0 looks for the Pareto front of both.",
        ),
    ] = 0.0,
    storage: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="shapes: a database that several workers share, postgresql://user@host/name.",
            show_default=False,
        ),
    ] = "",
    study: Annotated[
        str, typer.Option(metavar="NAME", help="With --storage: the name of the shared study.", show_default="mobilenets")
    ] = "",
    lost_after: Annotated[
        int,
        typer.Option(
            min=4, metavar="S", help="With --storage: give up on a worker after this many seconds without a sign of life."
        ),
    ] = 120,
    tune: Annotated[
        int, typer.Option(min=0, metavar="STEPS", help="Optimizer steps to train a network for before judging it.")
    ] = 40,
    fast: Annotated[
        bool, typer.Option("--fast", help="Judge networks by their loss on some images, without training them.")
    ] = False,
    ladder: Annotated[
        int, typer.Option(min=0, metavar="N", help="Number of plain narrower networks to train for comparison.")
    ] = 2,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", help="Epochs of the full trainings; the start's by default.", show_default=False)
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change one setting of the start's recipe; may be repeated.", show_default=False
        ),
    ] = None,
    runtime: Annotated[str, typer.Option(metavar="NAME", help="Runtime to measure latency with.")] = "onnx",
    threads: Annotated[int, typer.Option(min=1, max=4096, help="Threads per image.")] = 1,
    table: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A latency table; by default this machine's cached one.", show_default=False),
    ] = None,
    ssh: Annotated[
        str, typer.Option(metavar="HOST", help="Measure on another machine that has mobilenets installed.", show_default=False)
    ] = "",
    remote: Annotated[
        str, typer.Option(metavar="COMMAND", help="With --ssh: the command that runs mobilenets there.")
    ] = "mobilenets",
    adb: Annotated[bool, typer.Option("--adb", help="Measure on the connected Android device.")] = False,
    serial: Annotated[
        str, typer.Option(metavar="SERIAL", help="With --adb: which device, if several are connected.", show_default=False)
    ] = "",
    tool: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH|URL", help="With --adb: the runtime's benchmark program.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The folder to write; in runs/ by default.", show_default=False)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the search in --out.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed for short trainings and new weights.")] = 0,
    task: TaskOption = None,
    classes: ClassesOption = "",
    ignore: IgnoreOption = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu", help="Device to train on.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Shrink a trained network to fit a budget at the least cost in accuracy (NetAdapt, V3, section 4.2).

        mobilenets search photos/ --start runs/photos --max-ms 8

        mobilenets search photos/ --start runs/photos --max-mb 2 --fast

        mobilenets search photos/ --start runs/photos --max-ms 20 --ssh pi@raspberrypi.local

        mobilenets search photos/ --start runs/photos --max-ms 8 --method shapes --trials 100

        mobilenets search photos/ --start runs/photos --max-ms 8 --method shapes --storage postgresql://me@host/search

    Latency is measured block by block, on this machine or on a device, and cached for the next search. The folder will
    contain the network that was found, trained and exported; plain narrower networks at smaller sizes, for comparison; and
    a report.
    """
    try:
        from mobilenets.search.flow import search
    except ImportError as error:
        raise MissingExtraError(error.name or "torch", "train") from error
    from mobilenets.cli.search_start import FILE, Asked, Target, begun, costs_of, dataset_of, opened
    from mobilenets.cli.watch import Watch, interrupts
    from mobilenets.search.study import ElsewhereError
    from mobilenets.search.telling import StoppedError, Telling

    named = {"ms": max_ms, "mb": max_mb, "macs": max_macs, "kb_ram": max_kb_ram}
    budget = {name: most for name, most in named.items() if most is not None}
    asked = Asked(
        data=data,
        start=start,
        budget=budget,
        method=method,
        share=step,
        tune=0 if fast else tune,
        trials=trials or (0 if resume else TRIALS),
        finalists=finalists,
        reward=reward,
        storage=storage,
        rungs=ladder,
        epochs=epochs,
        overrides=tuple(overrides or ()),
        target=Target(runtime, threads, str(table or ""), ssh, remote, adb, serial, tuple(tool or ())),
        seed=seed,
        reading=Reading.of(task, classes, ignore).to_data(),
        device=device,
        study=study,
        worker=token_hex(4),
        lost_after_s=lost_after,
    )
    if resume:
        refuse_typed(context, GOING_ON, "--resume keeps the settings of the search")
    elif method in OF_METHODS:
        others = {name for other, names in OF_METHODS.items() for name in names if other != method}
        refuse_typed(context, context.params.keys() - others, f"the method is {method}")
    asked = begun(out or next(_fresh(data)), asked, resume=resume)
    folder = context.with_resource(the_only(_fresh(data) if out is None else [out], "searches", hint=SHARED))
    dataset = dataset_of(asked)
    model, recipe = opened(asked, dataset)
    with Watch() as watch:
        try:
            costs = costs_of(asked, folder)
            with interrupts() as stopping:
                result = search(
                    model,
                    dataset,
                    recipe,
                    asked.wanted(),
                    costs,
                    folder,
                    to=asked.target.runtime,
                    source=anywhere(data),
                    device=device,
                    telling=Telling(progress, note, watch.show, stopping),
                )
        except StoppedError:
            note("stopped; everything is saved")
            note(f"resume with: mobilenets search {shlex.quote(data)} --out {shlex.quote(str(folder))} --resume")
            raise typer.Exit(130) from None
        except ElsewhereError as elsewhere:
            _end(elsewhere, folder, asked.trials, json=json)
            return
        except MobileNetsError:
            if not resume:
                forget(folder, FILE)
            raise
    _finish(result, asked.start, json=json)


def _finish(result: Result, start: str, *, json: bool) -> None:
    from mobilenets.search.report import REPORT, data, found, networks_table, remarks_of, write_report

    best = found(result)
    file = result.folder / best.finalist.export
    counts = {"steps": max(len(result.way.steps) - 1, 0), "trials": len(result.way.sampled)}
    known = {name: count for name, count in counts.items() if count}
    facts = {"start": start, "method": result.wanted.method, **known, "latency from": result.device or "nothing"}
    following = f"mobilenets predict {shlex.quote(str(file))} IMAGE"
    missing = write_report(result, title=f"Search from {start}", facts=facts, next_command=following)
    if json:
        show_json(data(result))
    else:
        table = networks_table(result)
        show_table(table.columns, table.rows)
        for text in remarks_of(result):
            show(text)
    for text in missing:
        note(text)
    if not missing:
        note(f"report: {result.folder / REPORT}")
    note(f"next: {following}")


def _end(elsewhere: ElsewhereError, folder: Path, trials: int, *, json: bool) -> None:
    from mobilenets.documents import encode

    note(f"the study is complete with {trials} networks; the finalists are trained in {elsewhere.place}")
    if json:
        sampled = [encode(one) for one in elsewhere.sampled]
        show_json({"folder": str(folder), "finalists": elsewhere.place, "trials": sampled})


def _fresh(data: str) -> Iterator[Path]:
    """runs/search-NAME, and with a number behind, where nothing is yet."""
    stem = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in Path(data).name).strip("-.") or "data"
    return unused(RUNS / f"search-{stem}")
