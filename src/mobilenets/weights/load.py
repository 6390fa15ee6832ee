"""`load`: a `Model` from public weights by name, or from another library's file. `read` also says how each part is known."""

from __future__ import annotations

import re
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mobilenets import checkpoint
from mobilenets.documents import parse
from mobilenets.errors import SpecError, WeightsError
from mobilenets.files import stand_in
from mobilenets.model import Model, with_spec
from mobilenets.runtime.manifest import beside
from mobilenets.specs.families import BACKBONES
from mobilenets.specs.model import InputContract
from mobilenets.table import unknown_name
from mobilenets.weights import timm, transformers
from mobilenets.weights.assemble import Network, assemble
from mobilenets.weights.catalog import CATALOG, Library, by_file, for_model
from mobilenets.weights.download import cached, check, fetch
from mobilenets.weights.graphs import classify as graph_classify
from mobilenets.weights.graphs import segment as graph_segment
from mobilenets.weights.keras import read as keras
from mobilenets.weights.labels import labels_for
from mobilenets.weights.layout import chosen
from mobilenets.weights.states import State, check_tensors, read_states
from mobilenets.weights.tflite.read import read_graph
from mobilenets.weights.told import NOTHING_TOLD, Basis, Contract, Told, settled
from mobilenets.weights.torchvision import classify as torchvision
from mobilenets.weights.torchvision import segment as torchvision_segment
from mobilenets.weights.torchvision import ssd as torchvision_ssd

_UNREAD = {
    ".pb": "a graph of TensorFlow",
    ".index": "a checkpoint of TensorFlow",
    ".meta": "the graph of a checkpoint of TensorFlow",
    ".caffemodel": "a network of Caffe",
    ".mlmodel": "a Core ML model",
    ".engine": "an engine of TensorRT",
    ".npz": "an archive of arrays",
}
_INSTEAD = "save it in Keras as .keras, or convert it to .tflite; of PyTorch, the state dict as .pth is read"
_ASSUMED = " (input contract assumed)"  # a state dict does not describe its input, so its library's usual contract is taken
_PLAIN = " (plain strides assumed)"  # timm has variants that pool instead, with the same tensors
_TWIN = (
    "the file may be of a variant in timm (aa, blur) that pools in place of strides, which has the same tensors; "
    "it is taken for the plain network. --model NAME, with timm's name, says which it is"
)
_USUAL = (timm.CONTRACT, torchvision.CONTRACT, torchvision_segment.CONTRACT, transformers.CONTRACT)
DETECTION_AND_SEGMENTATION = {"ssd": torchvision_ssd.read, "segment": torchvision_segment.read}


@dataclass(frozen=True, slots=True)
class Claim:
    """What is known about a file besides its tensors.

    Args:
        origin: the library whose format the file has; None to find out.
        architecture: timm's name of the network; empty if it is not known.
        input: the input contract that belongs to the weights; None for the library's usual one.
        name: where the weights come from, for display.
    """

    origin: Library | None
    architecture: str
    input: InputContract | None
    name: str


@dataclass(frozen=True, slots=True)
class Reading:
    """A model, and how each of its parts is known.

    Args:
        model: the model, in evaluation mode.
        written_by: the library whose format the file has; "mobilenets" for a checkpoint.
        known: "size", "pixels", "resize", "crop" of the input contract, each with its basis.
        labels: how the class names are known.
        notes: what the user should know about how the file was read, one sentence each.
    """

    model: Model
    written_by: str
    known: Mapping[str, Basis] = field(default_factory=dict)
    labels: Basis = "guessed"
    notes: tuple[str, ...] = ()

    @property
    def guesses(self) -> tuple[str, ...]:
        """The parts of the input contract that were guessed."""
        return tuple(part for part, basis in self.known.items() if basis == "guessed")


def load(
    source: str | Path,
    *,
    library: Library | None = None,
    model: str = "",
    width: float = 0.0,
    labels: Sequence[str] = (),
    told: Told = NOTHING_TOLD,
) -> Model:
    """A model with the weights of a run, a checkpoint, an exported file's run, the catalog or another library's file.

    It is in evaluation mode.

    A bare state dict gets the input contract that its library usually has. If timm has variants with the same tensors
    (`mobilenetv4_conv_aa_medium`), it is taken for the plain network. `spec.weights` says so. In weights without batch norms
    (TFLite), batch norms are identities that carry the biases; `norms.reinsert` makes them fit for training.

    Args:
        source: a run folder, which means its best checkpoint; a checkpoint folder; an exported file in a run folder, which
            means the run (elsewhere it only predicts: `Predictor.open`); a name of the catalog; or a `.tflite`, `.h5`,
            `.keras`, `.weights.h5`, `.pth`, `.ckpt` or `.safetensors` file.
        library: the library whose format the file has; recognized by default.
        model: the expected network; or timm's or the catalog's name for the file, which gives its input contract.
        width: the expected width; 0 for any.
        labels: class names, instead of ImageNet's or numbers.
        told: what the file cannot tell: the scale of its pixels, how images are resized, the activation of a hidden layer.

    Raises:
        WeightsError: it does not exist, is damaged, of an unknown kind, or not what is expected.
    """
    return read(source, library=library, model=model, width=width, labels=labels, told=told).model


def read(
    source: str | Path,
    *,
    library: Library | None = None,
    model: str = "",
    width: float = 0.0,
    labels: Sequence[str] = (),
    told: Told = NOTHING_TOLD,
) -> Reading:
    """As `load`, with the source of each part: read from the file, given by the user, from the catalog, or guessed.

    Raises:
        WeightsError: it does not exist, is damaged, of an unknown kind, or not what is expected.
    """
    if str(source) in CATALOG:
        entry = CATALOG[str(source)]
        claim = Claim(entry.origin, entry.architecture, entry.input, entry.name)
        reading = _read(fetch(entry), claim, labels, told)
    else:
        path = Path(source).expanduser()
        if _is_ours(path):
            reading = Reading(checkpoint.load(path), "mobilenets", labels="read")
        else:
            file = _file(path, str(source))
            reading = _read(file, _claim(file, library, model), labels, told)
    expected = model if model in BACKBONES else ""
    spec = reading.model.spec.backbone
    if (expected and spec.name != expected) or (width and abs(spec.width - width) > 1e-6):
        wanted = f"{expected or spec.name} {width or spec.width:g}"
        raise WeightsError(f"'{source}' holds {spec.name} {spec.width:g}, not {wanted}")
    return reading


def _is_ours(path: Path) -> bool:
    """Whether a path is handled by `checkpoint.load`: a folder, a checkpoint's file, or an exported file."""
    if (path / "saved_model.pb").is_file():
        raise WeightsError(f"'{path}' is a SavedModel of TensorFlow, which is not read", hint=_INSTEAD)
    if path.is_dir():
        return not (path / "config.json").is_file()
    in_checkpoint = (
        path.name in (checkpoint.WEIGHTS, checkpoint.DESCRIPTION) and (path.parent / checkpoint.DESCRIPTION).is_file()
    )
    return in_checkpoint or path.suffix.lower() == ".onnx" or beside(path).is_file()


def load_best(name: str, width: float = 1.0, *, timeout_s: float = 5.0) -> Model:
    """The best available public weights of a network, from a cache or downloaded; `spec.weights` says which.

    Args:
        name, width: the network.
        timeout_s: maximum time for a server to respond.

    Raises:
        WeightsError: there are none, or none are available here.
    """
    entries = for_model(name, width)
    if not entries:
        raise WeightsError(f"there are no public weights of {name} at width {width:g}")
    entry = min(entries, key=lambda entry: cached(entry) is None)
    fetch(entry, timeout_s=timeout_s)
    return load(entry.name)


def _claim(path: Path, library: Library | None, model: str) -> Claim:
    """What the given name, the file's name or a configuration beside it tell about a file."""
    entry = CATALOG[model] if model in CATALOG else by_file(path.name)
    if entry is not None:
        if model not in CATALOG:
            check(entry, path)
        return Claim(library or entry.origin, entry.architecture, entry.input, path.name)
    config = path.with_name("config.json")
    if config.is_file() and library in (None, "timm"):
        try:
            data = parse(config.read_bytes())
            return Claim(library, str(data.get("architecture", model)), _timm_contract(data["pretrained_cfg"]), path.name)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SpecError):
            pass  # a file of another program
    architectures = {entry.architecture: entry for entry in CATALOG.values() if entry.origin == "timm"}
    known = {**dict.fromkeys(timm.OTHER), **dict.fromkeys(timm.FROM_TENSORFLOW), **architectures}
    if model and model not in BACKBONES and model not in known:
        raise unknown_name("network", model, {**BACKBONES, **known, **CATALOG})
    contract = architectures[model].input if model in architectures else None
    stem = path.name.partition(".")[0]
    if model not in known and stem in timm.OTHER:
        return Claim(library, stem, None, path.name)  # its name says that it is another network
    return Claim(library, model if model in known else "", contract, path.name)


def _timm_contract(data: Mapping[str, Any]) -> InputContract:  # Any: JSON
    channels, size, _ = data["input_size"]
    return InputContract(
        size=size,
        channels=channels,
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
        resize="shorter_side_then_crop",
        crop=data["crop_pct"],
        interpolation=data["interpolation"],
    )


def _file(path: Path, source: str) -> Path:
    if path.is_dir():
        path = path / "model.safetensors"
    suffix = ".index" if re.fullmatch(r"\.data-\d+-of-\d+", path.suffix) else path.suffix.lower()
    if suffix in _UNREAD and path.exists():
        raise WeightsError(f"'{path}' is {_UNREAD[suffix]}, which is not read", hint=_INSTEAD)
    if path.is_file():
        return path
    if "://" in source:
        raise WeightsError(
            f"'{source}' is an address, and weights are only fetched by the names of public ones",
            hint="download the file first",
        )
    if "/" in source and not path.parent.is_dir():
        raise unknown_name("public weights", source, CATALOG)
    raise WeightsError(
        f"there is no file '{source}' and no public weights of that name",
        hint="`mobilenets models --pretrained` lists the names",
    )


def _read(path: Path, claim: Claim, labels: Sequence[str], told: Told) -> Reading:
    library, network = _network(path, claim, told, len(labels))
    name, contract = claim.name, Contract(network.input, network.known)
    if claim.input is not None:
        contract = Contract(claim.input, dict.fromkeys(("size", "pixels", "resize", "crop"), "catalog"))
    elif not network.known and network.input in _USUAL:
        name += _ASSUMED
    notes = network.notes
    if network.like.name in timm.TWINS and not claim.architecture:
        name += _PLAIN
        notes = (*notes, _TWIN)
    try:
        contract = settled(contract, told)
        network = replace(network, input=contract.input)
        model = assemble(network, labels=labels_for(network.classes, labels or network.labels), weights=str(path))
    except SpecError as error:
        raise WeightsError(f"'{path}' cannot be used: {error}") from error
    except WeightsError as error:
        raise error if str(path) in str(error) else WeightsError(f"'{path}': {error}", hint=error.hint) from error
    model = with_spec(model, replace(model.spec, weights=name)).eval()
    known: dict[str, Basis] = {part: contract.known.get(part, "guessed") for part in ("size", "pixels", "resize", "crop")}
    basis: Basis = "given" if labels else "read" if network.labels else "guessed"
    return Reading(model, library, known, basis, notes)


def _network(path: Path, claim: Claim, told: Told, labels: int) -> tuple[str, Network]:
    """The network in a file, and the library whose format the file has.

    Raises:
        WeightsError: it does not match any of our networks.
    """
    kind = claim.origin or _kind(path)
    try:
        if kind == "tflite":
            graph = read_graph(path)
            if graph_segment.fits(graph):
                return kind, graph_segment.network_of(graph, told=told)
            return kind, graph_classify.network_of(graph, told=told, labels=labels)
        if kind == "keras":
            return kind, keras.read(path, told=told, labels=labels)
        return _of_states(path, claim, told, labels)
    except (LookupError, ValueError, TypeError, RuntimeError, ArithmeticError, struct.error, MemoryError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise WeightsError(
            f"'{path}' is damaged, or no MobileNet that can be converted: {lines[0][:160]}", hint="is it cut off?"
        ) from error


def _of_states(path: Path, claim: Claim, told: Told, labels: int) -> tuple[str, Network]:
    """The network in a file of state dicts: the most likely one that contains a network."""
    states = read_states(path)
    named = [state for state in states if told.key and f".{state.key}.".endswith(f".{told.key}.")]
    prefix = f".{told.key.rstrip('.')}."
    if told.key and not named and not any(prefix in f".{name}" for state in states for name in state.tensors):
        held = ", ".join(f"'{state.key}'" for state in states if state.key)
        hint = f"its state dicts are {held}" if held else "it holds one state dict, which needs no --key"
        raise WeightsError(f"'{path}' has no state dict and no tensors under '{told.key}'", hint=hint)
    fitting = [state for state in named or states if chosen(state.tensors, str(path), key=told.key) is not None]
    if not fitting:
        if claim.origin is not None and states:
            fitting = states[:1]  # its reader reports what is missing
        else:
            raise _no_network(path, states, told)
    state = fitting[0]
    tensors = check_tensors(state, str(path))
    layout = chosen(tensors, str(path), key=told.key)
    others = tuple(other.key or "its outermost dict" for other in fitting[1:])
    kind = layout.kind if layout is not None else "torchvision"
    if claim.origin == "timm" or (kind == "timm" and claim.origin is None):
        library = "timm"
        network = timm.read(
            tensors, str(path), architecture=claim.architecture, ordered=state.ordered, told=told, labels=labels
        )
    elif kind == "transformers":
        library = kind
        network = transformers.read(tensors, path, ordered=state.ordered, told=told, labels=labels)
    elif layout is not None and kind in DETECTION_AND_SEGMENTATION:
        library, body = "torchvision", {**layout.body, **layout.rest}
        network = DETECTION_AND_SEGMENTATION[kind](body, str(path))
    else:
        library = "torchvision"
        network = torchvision.read(tensors, str(path), ordered=state.ordered, told=told, labels=labels)
    taken = (
        [f"taken from '{state.key}'; the file also holds a network in {', '.join(others)} (--key takes it)"] if others else []
    )
    return library, replace(network, notes=(*network.notes, *taken))


def _no_network(path: Path, states: Sequence[State], told: Told) -> WeightsError:
    some = ", ".join(f"'{name[:60]}'" for state in states for name in list(state.tensors)[:3])[:200]
    if not some:
        return WeightsError(f"'{path}' holds no tensors by name", hint="save the model's state_dict()")
    at = f" under '{told.key}'" if told.key else ""
    return WeightsError(
        f"'{path}' is not a state dict of torchvision's, timm's or transformers' MobileNets{at}; it starts with {some}",
        hint="networks with layers of other names cannot be converted; build the network with torchvision or timm",
    )


def _some(names: Sequence[str]) -> str:
    """The first names in an archive, for messages."""
    more = ["..."] if len(names) > 3 else []
    return ", ".join([*(f"'{name[:60]}'" for name in names[:3]), *more]) or "nothing"


def _kind(path: Path) -> str:
    """The library whose format a file has, by its first bytes; empty for a state dict."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
        first = head[:8]
        if not head:
            raise WeightsError(f"'{path}' is empty: 0 bytes", hint="download or copy it again")
        other = stand_in(head)
        if other is not None:
            raise WeightsError(f"'{path}' is {other[0]}, not the file itself", hint=other[1])
        if first[:4] == b"PK\x03\x04":
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
            if not any(re.search(r"(^|/)(data\.pkl$|code/)|^model\.weights\.h5$", name) for name in names):
                raise WeightsError(f"'{path}' is a zip archive that holds {_some(names)}", hint="unpack it: unzip")
            return "keras" if "model.weights.h5" in names else ""
    except zipfile.BadZipFile as error:
        hint = "was the download cut short? compare its size, and download it again"
        raise WeightsError(f"'{path}' is damaged: its end is missing ({error})", hint=hint) from error
    except (OSError, ValueError, NotImplementedError) as error:
        raise WeightsError(f"cannot read '{path}': {error}") from error
    if first[4:8] == b"TFL3" or path.suffix == ".tflite":
        return "tflite"
    return "keras" if first == b"\x89HDF\r\n\x1a\n" or path.suffix in (".h5", ".hdf5", ".keras") else ""
