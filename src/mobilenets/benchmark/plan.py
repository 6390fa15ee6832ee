"""Resolves the user's request into cases: which files exist, which must be exported, and which runtimes read them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from mobilenets.benchmark.process import TABLE
from mobilenets.benchmark.row import Case, Row
from mobilenets.benchmark.worker import engines_at
from mobilenets.deploy.arena import plan
from mobilenets.errors import INSTALL, CheckpointError, MobileNetsError, UsageError
from mobilenets.int8.folder import GRAPH, is_quantized
from mobilenets.runtime.engines.open import checkpoint_in
from mobilenets.runtime.engines.table import ENGINES, Runtime, known_endings, named
from mobilenets.runtime.manifest import Precision, beside
from mobilenets.specs.families import BACKBONES
from mobilenets.table import unknown_name

if TYPE_CHECKING:
    from mobilenets.deploy.graph import Graph
    from mobilenets.model import Model

INT8 = "int8"
"""The folder of a quantized network in its run."""

IMAGENET_CLASSES = 1000
ALL = "all"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user wants to measure.

    Args:
        models: exported files, run or checkpoint folders, or names of networks.
        runtimes: names of runtimes; empty for all of them.
        precisions: empty for all of them.
        threads, batches: each combination is measured.
        table: the runtimes by kind of file, as "module:NAME", for the processes that open files.
        here: whether the files run on this machine's runtimes; another machine has its own.
    """

    models: tuple[str, ...]
    runtimes: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    threads: tuple[int, ...] = (1,)
    batches: tuple[int, ...] = (1,)
    table: str = TABLE
    here: bool = True

    @property
    def engines(self) -> Mapping[str, Runtime]:
        """The runtimes by kind of file."""
        return engines_at(self.table)


@dataclass(frozen=True, slots=True)
class Network:
    """A network and the files of it that exist.

    Args:
        name: the user's name for it.
        checkpoint: its folder; None for a network with random weights.
        files: the files that are already exported.
        random_weights: whether it was never trained.
        quantized: the folder of the same network in int8; None if there is none.
    """

    name: str
    checkpoint: Path | None
    files: tuple[Path, ...] = ()
    random_weights: bool = False
    quantized: Path | None = None


@dataclass(frozen=True, slots=True)
class FileOnRuntime:
    """A file on a runtime that reads it.

    Args:
        case: the case with one thread and one image.
        graph: the network that the file was written from, if known.
    """

    case: Case
    graph: Graph | None = None


def networks(asked: Asked) -> list[Network]:
    """The network for each model that the user named.

    Raises:
        CheckpointError, UnknownNameError: one of them cannot be measured.
        UsageError: a runtime is unknown.
    """
    known = named(asked.engines)
    for name in asked.runtimes:
        known[name]  # raises an error with similar names if unknown
    return [_network(name, asked.engines) for name in asked.models]


def files_of(
    network: Network, asked: Asked, folder: Path, *, said: Callable[[str], object] = lambda text: None
) -> Iterator[FileOnRuntime | Row]:
    """Each file with each runtime that reads it, or a row with the reason why there is none.

    Missing files are exported into `folder` and kept there.

    Args:
        network: the network.
        asked: the requested runtimes.
        folder: for exports.
        said: called with a message before each export, which takes seconds.
    """
    items = list(_items(network, asked, folder, said))
    if not items:
        wanted = ", ".join(asked.runtimes)
        files = ", ".join(file.name for file in network.files) or "no exported file"
        yield Row(Case(network.name, "", wanted), error=f"'{network.name}' has {files}, which {wanted} does not read")
    yield from items


def _items(network: Network, asked: Asked, folder: Path, said: Callable[[str], object]) -> Iterator[FileOnRuntime | Row]:
    files, graph, macs = list(network.files), None, None
    if network.random_weights or network.checkpoint is not None:
        exported, graph, macs, failures = _exported(network, asked, folder, [file.name for file in files], said)
        files += exported
        yield from failures
    if network.quantized is not None:
        exported, failures = _exported_int8(network, asked, folder, said)
        files += exported
        yield from failures
    called = {(_label(network, file), file.name) for file in files}
    for file in files:
        label = _label(network, file)
        readers = {
            name: runtime
            for name, (ending, runtime) in named(asked.engines).items()
            if file.suffix.lower() == ending
            or (file.suffix.lower() in runtime.also and (label, file.with_suffix(ending).name) not in called)
        }
        for name, runtime in readers.items():
            if asked.runtimes and name not in asked.runtimes:
                continue
            case = Case(
                label,
                str(file),
                name,
                version=runtime.version,
                random_weights=network.random_weights,
                macs=macs,
                float_layers=_float_layers(network) if label.endswith(f"/{INT8}") else 0,
            )
            yield FileOnRuntime(case, graph) if runtime.runs_here or not asked.here else Row(case, error=missing(runtime))


def expanded(file: FileOnRuntime, asked: Asked, *, precision: str, task: str) -> list[Case]:
    """The case with every setting, and with the size of its planned memory.

    Args:
        file: a file on a runtime.
        asked: the settings.
        precision, task: as declared by the file.
    """
    planned = None if file.graph is None else plan(file.graph, number_bytes=1 if precision == "int8" else 4).size_bytes
    case = replace(file.case, precision=precision, task=task, activation_bytes=planned)
    return [replace(case, threads=threads, batch=batch) for threads in asked.threads for batch in asked.batches]


def in_order(cases: Sequence[Case]) -> list[Case]:
    """The cases, sorted so that those with the same threads and batch are adjacent, since they are compared."""
    return sorted(cases, key=lambda case: (case.threads, case.batch))


def missing(runtime: Runtime) -> str:
    """The reason why a runtime cannot be used here."""
    if not runtime.fits_system:
        return f"{runtime.title} does not run on this system"
    package = runtime.package or runtime.module
    how = INSTALL.format(extra=runtime.extra) if runtime.extra else f"pip install {runtime.source or package}"
    return f"'{package}' is not installed: {how}"


def parts(file: Path, engines: Mapping[str, Runtime] = ENGINES) -> list[Path]:
    """The files of an export: the file itself, or all files in the folder, and companion files beside it."""
    inside = sorted(path for path in file.rglob("*") if path.is_file()) if file.is_dir() else [file]
    runtime = engines.get(file.suffix.lower())
    weights = [file.with_suffix(runtime.weights)] if runtime is not None and runtime.weights else []
    return [*inside, *(path for path in (*weights, beside(file)) if path.is_file())]


def size_bytes(file: Path) -> int:
    """The size of an exported file including its companion files."""
    return sum(part.stat().st_size for part in parts(file))


def digest(file: Path) -> str:
    """A hash of the content of an exported file."""
    sum_of = hashlib.sha256()
    for part in parts(file):
        sum_of.update(part.name.encode() + b"\0" + hashlib.sha256(part.read_bytes()).digest())
    return sum_of.hexdigest()


def _network(name: str, engines: Mapping[str, Runtime]) -> Network:
    path = Path(name)
    if path.exists() and path.suffix.lower() in engines:
        return Network(path.stem if path.stem != "model" else _home(path), None, (path,))
    if path.is_dir():
        quantized = next((folder for folder in (path, path / INT8) if is_quantized(folder)), None)
        if quantized == path and checkpoint_in(path.parent) is not None:
            path = path.parent  # the run that it was quantized from: both are compared
        checkpoint = checkpoint_in(path)
        places = [place for place in _places(path, checkpoint) if quantized is None or quantized not in (place, place.parent)]
        files = tuple(dict.fromkeys(file for place in places for file in _files_in(place, engines)))
        if checkpoint is None and not files and quantized is None:
            raise CheckpointError(
                f"'{name}' holds no checkpoint and no exported model ({known_endings(engines)})",
                hint="give an exported file, a run folder, or a network that 'mobilenets models' lists",
            )
        return Network(_home(path / "model"), checkpoint, files, quantized=quantized)
    if path.exists():
        raise CheckpointError(f"'{name}' is not an {known_endings(engines)} file", hint="mobilenets export RUN writes one")
    if "/" in name or path.suffix.lower() in engines:
        raise CheckpointError(f"there is no file or folder '{name}'")
    if name not in BACKBONES:
        raise unknown_name("model: no file, folder or network", name, BACKBONES)
    return Network(name, None, random_weights=True)


def _home(file: Path) -> str:
    """The name of the run or folder that a file belongs to."""
    folders = [folder.name for folder in file.absolute().parents if folder.name]
    return next((folder for folder in folders if folder not in ("export", "best", "last")), file.name)


def _label(network: Network, file: Path) -> str:
    """The network's name, followed by the file's name if it is unusual, or by "int8" for the quantized network."""
    if INT8 in (folder.name for folder in list(file.parents)[:2]):
        return f"{network.name}/{INT8}"
    usual = file.stem in ("model", network.name) or network.random_weights
    return network.name if usual else f"{network.name}/{file.name}"


def _places(path: Path, checkpoint: Path | None) -> list[Path]:
    inner = [] if checkpoint is None else [checkpoint, checkpoint / "export"]
    return [path, path / "export", *inner]


def _files_in(folder: Path, engines: Mapping[str, Runtime]) -> list[Path]:
    return sorted(file for file in folder.glob("*") if file.suffix.lower() in engines) if folder.is_dir() else []


def _exported(
    network: Network, asked: Asked, folder: Path, there: Sequence[str], said: Callable[[str], object]
) -> tuple[list[Path], Graph | None, int | None, list[Row]]:
    """Files exported now or earlier, the graph, its multiply-adds, and rows with errors for failed exports."""
    try:
        from mobilenets.exporters.table import EXPORTERS, export
    except ImportError as error:
        if there:
            return [], None, None, []
        case = Case(network.name, "", asked.runtimes[0] if asked.runtimes else ALL, random_weights=network.random_weights)
        reason = f"exporting needs '{error.name}', which is not installed: {INSTALL.format(extra='train')}"
        return [], None, None, [Row(case, error=reason)]
    from mobilenets.analysis.trace import trace
    from mobilenets.exporters.lower import lower

    model = _model(network)
    spec = model.spec
    macs = trace(model.floats(), (1, spec.backbone.in_channels, *spec.input.shape)).macs
    place = folder / "models" / network.name
    files: list[Path] = []
    failures: list[Row] = []
    for name, exporter in EXPORTERS.items():
        ending = Path(exporter.file).suffix
        if exporter.tail is not None or exporter.file in there or ending not in asked.engines or not _wanted(ending, asked):
            continue
        runtime = asked.engines[ending]
        short = runtime.name or ending.removeprefix(".")
        case = Case(network.name, "", short, random_weights=network.random_weights, macs=macs)
        if not runtime.runs_here:
            failures.append(Row(case, error=missing(runtime)))
            continue
        file = place / exporter.file
        try:
            if not file.exists():
                said(f"exporting {network.name} to {name}")
                export(model, place, to=name)
            files.append(file)
        except MobileNetsError as error:
            failures.append(Row(case, error=f"it cannot be exported to {name}: {error}"))
    return files, lower(model), macs, failures


def _exported_int8(network: Network, asked: Asked, folder: Path, said: Callable[[str], object]) -> tuple[list[Path], list[Row]]:
    """Files of the quantized network exported now or earlier, and rows with errors for failed exports."""
    from mobilenets.deploy.file import load
    from mobilenets.exporters.format import HALF_PRECISIONS
    from mobilenets.exporters.quantized import export_quantized
    from mobilenets.exporters.table import EXPORTERS

    assert network.quantized is not None
    graph, place = load(network.quantized / GRAPH), folder / "models" / network.name / INT8
    files: list[Path] = []
    failures: list[Row] = []
    for name, exporter in EXPORTERS.items():
        ending = Path(exporter.file).suffix
        half = exporter.format.precision in HALF_PRECISIONS
        if exporter.tail is not None or half or ending not in asked.engines or not _wanted(ending, asked):
            continue
        runtime, kept = asked.engines[ending], network.quantized / "export" / exporter.file
        case = Case(f"{network.name}/{INT8}", "", runtime.name or ending.removeprefix("."), "int8")
        if not runtime.runs_here:
            failures.append(Row(case, error=missing(runtime)))
            continue
        file = kept if kept.exists() else place / exporter.file
        try:
            if not file.exists():
                said(f"exporting {network.name} in int8 to {name}")
                export_quantized(graph, place, to=name)
            files.append(file)
        except MobileNetsError as error:
            failures.append(Row(case, error=f"it cannot be exported to {name}: {error}"))
    return files, failures


def _float_layers(network: Network) -> int:
    """The number of layers that stayed in float when the network was quantized; 0 if unknown."""
    from mobilenets.int8.folder import ABOUT, read_about

    if network.quantized is None or not (network.quantized / ABOUT).is_file():
        return 0
    return len(read_about(network.quantized).float_layers)


def _wanted(ending: str, asked: Asked) -> bool:
    """Whether one of the requested runtimes reads files with this extension."""
    readers = [name for name, (own, runtime) in named(asked.engines).items() if ending in (own, *runtime.also)]
    return not asked.runtimes or any(name in asked.runtimes for name in readers)


def _model(network: Network) -> Model:
    if network.checkpoint is not None:
        from mobilenets import checkpoint

        return checkpoint.load(network.checkpoint)
    from mobilenets.model import create
    from mobilenets.specs.families import backbone
    from mobilenets.specs.model import InputContract, ModelSpec

    body = backbone(network.name)
    labels = tuple(str(i) for i in range(IMAGENET_CLASSES))
    return create(ModelSpec(body, labels, InputContract(size=body.size)))


def check_precisions(precisions: Sequence[str]) -> None:
    """Check that all precisions exist.

    Raises:
        UsageError: there is no such precision.
    """
    for precision in precisions:
        if precision not in get_args(Precision):
            raise UsageError(f"unknown precision '{precision}'; known: {', '.join(get_args(Precision))}")
