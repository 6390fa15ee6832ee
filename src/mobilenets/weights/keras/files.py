"""Keras files on disk: `.keras`, `.h5` and `.weights.h5`, opened with size limits and without following links.

A file of unknown origin can name other files of this machine as its storage, and can unpack to gigabytes. Only data inside the
file itself is read, and no more than a MobileNet can need.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets import documents
from mobilenets.errors import DocumentError, MissingExtraError, WeightsError
from mobilenets.weights.guards import bounded_bytes, megabytes
from mobilenets.weights.keras import probe

MOST_BYTES = 512 << 20
"""Maximum size of a file's weights, unpacked. The largest network with an optimizer's state has 0.3 GB."""
MOST_CONFIG = 32 << 20
"""Maximum size of a configuration's text; that of the largest network has 0.3 MB."""
_HDF5 = b"\x89HDF\r\n\x1a\n"

Array = NDArray[np.float32]
Group = Any  # an h5py group; h5py has no types


@dataclass(slots=True)
class Stored:
    """An open file.

    Args:
        origin: the file, for messages.
        root: the group that contains the weights.
        config: the model's configuration; empty if the file has only weights.
        training: how it was compiled; empty if the file does not say.
        version: the version of Keras that wrote it, such as `"3.5.0"`; empty if the file does not say.
        taken: number of bytes read so far.
    """

    origin: str
    root: Group
    config: Mapping[str, Any]  # Any: JSON
    training: Mapping[str, Any]  # Any: JSON
    version: str = ""
    taken: int = 0

    @property
    def is_numbered(self) -> bool:
        """Whether layers are numbered per class (`conv2d_1/vars/0`) instead of listed by name."""
        return bool(self.container(self.root))

    def container(self, group: Group) -> Group | None:
        """The group with a model's layers in numbered files; None if there is none."""
        for name in ("layers", "_layer_checkpoint_dependencies"):
            if name in group:
                return self.child(group, name)
        return None

    def child(self, group: Group, path: str) -> Group:
        """A group or dataset below `group`, without following links out of the file.

        Raises:
            WeightsError: it is a link.
            KeyError: it does not exist.
        """
        import h5py

        for name in filter(None, path.split("/")):
            if not isinstance(group, h5py.Group) or name not in group:
                raise KeyError(f"it has no '{path[:120]}'")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise WeightsError(
                    f"'{self.origin}' holds a link to another place or file, at '{path[:120]}'",
                    hint="links are never followed, because they can bring in other files of this machine",
                )
            group = group[name]
        return group

    def array(self, group: Group, path: str) -> Array:
        """The values of a dataset.

        Raises:
            WeightsError: they are in another file, or are more than a MobileNet has.
            KeyError: it does not exist.
        """
        import h5py

        dataset = self.child(group, path)
        if not isinstance(dataset, h5py.Dataset):
            raise KeyError(f"'{path[:120]}' is not a dataset")
        if dataset.external or dataset.is_virtual:
            raise WeightsError(
                f"'{self.origin}' keeps '{str(dataset.name)[:120]}' in another file, not in itself",
                hint="such storage is never read, because it can bring in other files of this machine",
            )
        if dataset.dtype.kind not in "fiu":
            raise ValueError(f"'{path[:120]}' holds {dataset.dtype}, not numbers")
        self.taken += int(dataset.size or 0) * max(dataset.dtype.itemsize, 4)
        if self.taken > MOST_BYTES:
            raise WeightsError(
                f"'{self.origin}' unpacks to more than {megabytes(MOST_BYTES)} of weights, which no MobileNet needs"
            )
        return np.ascontiguousarray(dataset[()], np.float32)

    def names(self, group: Group, attribute: str) -> list[str]:
        """A list of names in the attributes; a long list is split into numbered parts."""
        parts = [attribute] if attribute in group.attrs else _numbered_parts(group, attribute)
        if not parts:
            raise KeyError(f"it has no '{attribute}'")
        return [name for part in parts for name in map(text, np.ravel(_attribute(group, part)))]


@contextmanager
def opened(path: Path) -> Iterator[Stored]:
    """A Keras file, open inside the block.

    Raises:
        WeightsError: it is damaged or too large, even if this shows only inside the block.
        MissingExtraError: h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("h5py", "weights") from error
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                config = _parsed(_member(archive, path, "config.json", MOST_CONFIG))
                version = (
                    _parsed(_member(archive, path, "metadata.json", MOST_CONFIG))
                    if "metadata.json" in archive.namelist()
                    else {}
                )
                weights = _member(archive, path, "model.weights.h5", MOST_BYTES)
            training = config.get("compile_config")
            probe.check(weights, str(path), most_bytes=MOST_BYTES, most_attribute=MOST_CONFIG)
            with h5py.File(io.BytesIO(weights), "r") as file:
                yield Stored(str(path), file, config, _mapping(training), str(version.get("keras_version", "")))
            return
        data = bounded_bytes(path, MOST_BYTES)
        if not data.startswith(_HDF5):
            raise ValueError("it does not begin as an HDF5 file does")
        probe.check(data, str(path), most_bytes=MOST_BYTES, most_attribute=MOST_CONFIG)
        with h5py.File(io.BytesIO(data), "r") as file:
            config, training = (_parsed(_text(file, name)) for name in ("model_config", "training_config"))
            stored = Stored(str(path), file, config, training, _text(file, "keras_version"))
            if "model_weights" in file:
                stored.root = stored.child(file, "model_weights")
            yield stored
    except WeightsError:
        raise
    except DocumentError as error:
        raise WeightsError(f"'{path}' is not a Keras file that can be read: in its configuration, {error}") from error
    except RecursionError as error:
        raise WeightsError(f"'{path}' is not a Keras file that can be read: it is nested too deeply") from error
    except (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError, MemoryError, OverflowError,
            NotImplementedError, zipfile.BadZipFile) as error:  # fmt: skip
        lines = str(error).strip().splitlines() or [type(error).__name__]
        why = f"it lacks {lines[0]}" if isinstance(error, LookupError) and lines[0][:1] in "'\"" else lines[0]
        raise WeightsError(f"'{path}' is not a Keras file that can be read: {why[:200]}", hint="is it cut off?") from error


def text(value: object) -> str:
    """A name from h5py, as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _attribute(group: Group, name: str) -> Any:  # Any: what an attribute holds
    kept = group.attrs.get_id(name)
    if math.prod(kept.shape or (1,)) * kept.dtype.itemsize > MOST_CONFIG:
        raise ValueError(f"its attribute '{name}' is longer than {megabytes(MOST_CONFIG)}")
    return group.attrs[name]


def _text(group: Group, name: str) -> str:
    return text(_attribute(group, name)) if name in group.attrs else ""


def _numbered_parts(group: Group, attribute: str) -> Sequence[str]:
    parts = [name for name in group.attrs if re.fullmatch(rf"{attribute}\d{{1,6}}", name)]
    return sorted(parts, key=lambda name: int(name[len(attribute) :]))


def _member(archive: zipfile.ZipFile, path: Path, name: str, most: int) -> bytes:
    """A file in the archive, unpacked up to the size that a real one has."""
    too_large = archive.getinfo(name).file_size > most
    with archive.open(name) as member:
        data = b"" if too_large else member.read(most + 1)  # the archive's own statement of the size may be wrong
    if too_large or len(data) > most:
        raise WeightsError(f"'{path}' unpacks to more than {megabytes(most)} in '{name}', which no MobileNet needs")
    return data


def _parsed(data: str | bytes) -> dict[str, Any]:  # Any: JSON
    return dict(_mapping(documents.parse(data))) if data else {}


def _mapping(data: object) -> Mapping[str, Any]:  # Any: JSON
    return data if isinstance(data, dict) else {}
