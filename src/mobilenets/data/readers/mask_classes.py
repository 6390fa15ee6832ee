"""Decides which value or color of a mask is which class, from a file of names, given names, or the masks themselves.

The rules, in this order:

- The value 255 is ignored, unless a class has it, or the masks contain only 0 and 255; then 255 is class 1.
- Names come from the argument `classes`, else from the first file of `FILES` in the folder, else from the values that occur:
  "class 0", "class 7", ...
- Colors come with the names, else from a file of `FILES` in the folder that has colors for these names or their values, else
  from the palette of the masks.
- A class is ignored if its name is one of `IGNORED`, or if the argument `ignore` contains its name or value.
- A value that belongs to no class and is not ignored is an error: `check` reports it, and training refuses it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from mobilenets.data import masks
from mobilenets.data.located import Located
from mobilenets.data.masks import IGNORE, Coding, Color, Mask
from mobilenets.data.readers.mask_names import ADE, Named, read_names, repeated
from mobilenets.errors import DataError, ImageError

FILES = (
    "palette.csv",
    "classes.csv",
    "_classes.csv",
    "class_dict.csv",
    "labels.csv",
    "classes.txt",
    "class_names.txt",
    "labels.txt",
    "labelmap.txt",
    "label_colors.txt",
    ADE,
)
"""Files that name the classes, beside the folders of images or in folders above the masks. The first one that exists is read,
in the outermost folder that has one."""

IGNORED = frozenset(
    ("void", "__ignore__", "unlabelled", "unlabeled", "ignore", "ignored", "ignore label", "ignore_label", "don't care")
)
"""Names of classes that are ignored, in lower case."""

MOST_VALUES = 64
"""Most different values in masks without class names; with more, the files are probably not masks."""

NO_OBJECT = "background"
"""The name of the value 0 if only the other class has a name."""

_ENDS = 0.98  # least share of pixels near 0 or 255 in a mask that was black and white before lossy compression
_NOISE = 8  # fewest different values in such a mask; a mask with fewer is clean
_NOISE_OF_LOSSY = 3  # the same where the file's format is lossy: any value besides 0 and 255 is noise then
_OBJECT_IS_255 = "if 255 is the object and not to be ignored, name both classes: --classes background,object"
_PEEKED = 30  # number of masks that are examined for questions with one answer for all


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of a dataset's masks, and how masks encode them.

    Args:
        labels: names of the classes that count.
        colors: colors of the labels; () if there are none.
        coding: whether masks contain values or colors.
        table: the class of each value, or of each color in `coded`, as in `Mask.classes`.
        coded: the colors that masks contain, including those of ignored classes; () if they contain values.
        notes: what was decided, for people.
    """

    labels: tuple[str, ...]
    colors: tuple[Color, ...]
    coding: Coding
    table: tuple[int, ...]
    coded: tuple[Color, ...] = ()
    notes: tuple[str, ...] = ()

    def mask(self, path: Path) -> Mask:
        """The mask in a file."""
        return Mask(path, self.coding, self.table, self.coded)


def find_classes(
    folder: Path, files: Sequence[Path], *, classes: str | Path | Sequence[str] = "", ignore: Sequence[str] = ()
) -> Classes:
    """The classes of a folder's masks.

    Args:
        folder: the folder that may contain a file of `FILES`.
        files: the masks.
        classes: a file of names, or names in the order of their values, as a sequence or separated by commas; with "" they
            are looked for in the folder.
        ignore: names, values or colors (`#rrggbb`) to ignore.

    Raises:
        DataError: a file of names is not valid, something to ignore does not exist, or values belong to no class.
    """
    named, source = _names(folder, files, classes)
    notes = (f"classes from '{source}'",) if source else ()
    channel: Coding = "index"
    if masks.is_in_alpha(files[:_PEEKED]):
        channel = "alpha"
        notes = (*notes, "the colors of the masks hold a single class; their alpha channel is read instead")
    binary = _blurred(named, files, channel)
    if binary is not None:
        return replace(binary, notes=(*notes, *binary.notes))
    if not named:
        unnamed = _from_values(files, ignore, channel)
        return _two_or_more(_with_palette(replace(unnamed, notes=(*notes, *unnamed.notes)), files), folder)
    named = _with_colors(named, _folders(folder, files))
    coding = _coding(named, files) if channel == "index" else channel
    if coding != "color":
        values = {value for path in files[:_PEEKED] for value in masks.peek(path, coding)[0]}
        if [entry.value for entry in named] == [0, 1] and values == {0, IGNORE}:
            named = (named[0], replace(named[1], value=IGNORE))
            notes = (*notes, f"masks hold 0 and 255: 255 is '{named[1].name}'")
        elif len(named) == 1 and len(values) == 2 and min(values) == 0:
            named = (Named(NO_OBJECT, 0), replace(named[0], value=max(values)))
            notes = (*notes, f"a single class is named: 0 is '{NO_OBJECT}' and {max(values)} is '{named[1].name}'")
    return _two_or_more(_with_palette(replace(_from_names(named, coding, ignore), notes=notes), files), folder)


def named_classes(classes: str | Path | Sequence[str], *, ignore: Sequence[str] = ()) -> Classes:
    """The classes of masks whose values are the positions of the names.

    Args:
        classes: a file of names, or names in the order of their values, as a sequence or separated by commas.
        ignore: names or values to ignore.

    Raises:
        DataError: the file is not valid, there are fewer than two classes, or something to ignore does not exist.
    """
    named, source = _names(Path(), (), classes)
    return _two_or_more(_from_names(named, "index", ignore), source or ", ".join(entry.name for entry in named))


def _names(folder: Path, files: Sequence[Path], classes: str | Path | Sequence[str]) -> tuple[tuple[Named, ...], str]:
    """The named classes and the file they come from."""
    if isinstance(classes, Path) or (isinstance(classes, str) and classes and Path(classes).is_file()):
        return read_names(Path(classes)), str(classes)
    if isinstance(classes, str) and classes:
        if "," not in classes:
            raise DataError(f"'{classes}' is not a file of class names", hint="give a file, or names separated by commas")
        classes = [name.strip() for name in classes.split(",")]
    if not isinstance(classes, str):
        twice = repeated(list(classes))
        if twice is not None:
            raise DataError(f"the class '{twice}' is named twice")
        return tuple(Named(name, i) for i, name in enumerate(classes)), ""
    listed = _files_of_names(_folders(folder, files))
    alike = [path for path in listed if path.name == listed[0].name]
    named = read_names(alike[0]) if alike else ()
    other = next((path for path in alike[1:] if read_names(path) != named), None)
    if other is not None:
        raise DataError(f"'{alike[0]}' and '{other}' name different classes", hint="give one of them: --classes FILE")
    return named, alike[0].relative_to(folder).as_posix() if alike else ""


def _two_or_more(classes: Classes, folder: Path | str) -> Classes:
    """The same classes, refused if there is only one, because a network that always predicts it would be perfect."""
    if len(classes.labels) == 1:
        message = f"'{folder}' has masks of a single class, '{classes.labels[0]}'; segmentation needs two"
        raise DataError(message, hint=f"are the masks empty? {_OBJECT_IS_255}")
    return classes


def _blurred(named: Sequence[Named], files: Sequence[Path], channel: Coding) -> Classes | None:
    """The two classes of black and white masks after lossy compression: values below 128, and from 128 on. Else None."""
    if channel != "index" or len(named) > 2 or [entry.value for entry in named] not in ([], [0], [0, 1]):
        return None
    share, different = masks.ends(files[:_PEEKED])
    noise = _NOISE_OF_LOSSY if files and masks.is_lossy(Mask(files[0])) else _NOISE
    if different < noise or share < _ENDS:
        return None
    names = [entry.name for entry in named]
    low, high = names if len(names) == 2 else (NO_OBJECT, names[0]) if names else ("class 0", "class 1")
    note = f"masks hold {different} values, nearly all close to 0 or 255: below 128 is '{low}', from 128 on is '{high}'"
    return Classes((low, high), (), "index", (0,) * 128 + (1,) * 128, notes=(note,))


def _folders(folder: Path, files: Sequence[Path]) -> list[Path]:
    """The dataset's folder and those inside it that hold masks, at any depth, the outermost first."""
    holders = {path.parent for path in files}
    inner = {above for holder in holders for above in (holder, *holder.parents) if folder in above.parents}
    return [folder, *sorted(inner, key=lambda path: (len(path.parts), path))]


def _files_of_names(folders: Sequence[Path]) -> list[Path]:
    listed = []
    for folder in folders:
        below = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.name.lower() in FILES and path.is_file()}
        listed += [below[name] for name in FILES if name in below]
    return listed


def _with_colors(named: tuple[Named, ...], folders: Sequence[Path]) -> tuple[Named, ...]:
    """Adds colors to names without any, from a file in the folders that has colors for all the names, or all their values."""
    if any(entry.color for entry in named):
        return named
    for path in _files_of_names(folders):
        try:
            colored = [entry for entry in read_names(path) if entry.color]
        except DataError:
            continue  # its names were not requested
        by_name = {entry.name.lower(): entry.color for entry in colored}
        by_value = {entry.value: entry.color for entry in colored}
        for colors in ([by_name.get(entry.name.lower()) for entry in named], [by_value.get(entry.value) for entry in named]):
            if all(colors):
                return tuple(replace(entry, color=color) for entry, color in zip(named, colors, strict=True))
    return named


def _with_palette(classes: Classes, files: Sequence[Path]) -> Classes:
    """Adds colors to classes without any, from the palette of one of the first masks."""
    if classes.colors or classes.coding == "color" or not classes.labels:
        return classes
    values = [classes.table.index(label) for label in range(len(classes.labels))]
    palettes = (masks.palette(Located(path), values) for path in files[:_PEEKED])
    return replace(classes, colors=next((colors for colors in palettes if colors), ()))


def _from_names(named: Sequence[Named], coding: Coding, ignore: Sequence[str]) -> Classes:
    values = {entry.value for entry in named}
    unknown = set()
    gone = {entry.value for entry in named if entry.name.lower() in IGNORED}
    extra: list[int] = []
    shades: list[Color] = []
    for text in ignore:
        by_name = [entry.value for entry in named if entry.name.lower() == text.lower()]
        color = _hex(text)
        if by_name:
            gone.update(by_name)
        elif color is not None and coding == "color":
            gone.update(entry.value for entry in named if entry.color == color)
            shades.append(color)
        elif text.isdecimal() and int(text) < masks.STRAY and (coding == "index" or int(text) in values):
            gone.add(int(text))
            extra.append(int(text))
        else:
            unknown.add(text)
    if unknown:
        raise DataError(f"'{min(unknown)}' cannot be ignored: it is neither a class nor a value nor a color of the masks")
    counted = [entry for entry in named if entry.value not in gone]
    labels = tuple(entry.name for entry in counted)
    colors = tuple(entry.color for entry in counted if entry.color is not None)
    if len(labels) > IGNORE:
        raise DataError(f"there are {len(labels)} classes; a mask of 8 bits holds {IGNORE}")
    index = {entry.value: i for i, entry in enumerate(counted)}
    if coding == "color":
        coded = tuple(entry.color for entry in named if entry.color is not None)
        rest = [color for color in dict.fromkeys(shades) if color not in coded]
        table = tuple(index.get(entry.value, IGNORE) for entry in named) + (IGNORE,) * len(rest)
        return Classes(labels, colors, coding, table, (*coded, *rest))
    codes = [-1] * (max((*values, *extra)) + 1)
    if len(codes) > IGNORE:
        codes[IGNORE] = IGNORE
    for value in (*values, *extra):
        codes[value] = IGNORE if value in gone else index[value]
    return Classes(labels, colors if len(colors) == len(labels) else (), coding, tuple(codes))


def _coding(named: Sequence[Named], files: Sequence[Path]) -> Coding:
    """Whether masks contain values or colors: colors only if every class has one, and a mask's pixels are such colors."""
    colors = {entry.color for entry in named}
    if None in colors or len(colors) < len(named):
        return "index"
    values = {entry.value for entry in named}
    for path in files[:_PEEKED]:
        values_seen, in_color = masks.peek(path)
        if in_color:
            return "color"
        if not set(values_seen) <= values:
            return "color" if set(masks.peek_colors(path)) <= colors else "index"
    return "index"


def _from_values(files: Sequence[Path], ignore: Sequence[str], channel: Coding) -> Classes:
    """Classes named by the values that occur in the masks."""
    not_values = [text for text in ignore if not text.isdecimal()]
    if not_values:
        raise DataError(
            f"'{not_values[0]}' cannot be ignored: the classes have no names", hint="name them in classes.txt, one per line"
        )
    occurring: set[int] = set()
    many = files[0]
    with ThreadPoolExecutor(thread_name_prefix="masks") as pool:
        for path, values in zip(files, pool.map(partial(_values, channel=channel), files), strict=True):
            occurring.update(values)
            many = path if len(values) > MOST_VALUES and many == files[0] else many
    gone = {int(text) for text in ignore}
    binary = occurring == {0, IGNORE} and IGNORE not in gone
    kept = sorted(occurring - gone if binary else occurring - gone - {IGNORE})
    if not kept:
        raise DataError(f"none of the {len(files)} masks contains a class: all their pixels are ignored", hint=_OBJECT_IS_255)
    if len(kept) > MOST_VALUES:
        raise DataError(
            f"'{many}' and the other masks hold {len(kept)} different values, {kept[0]} to {kept[-1]}, and no file names them",
            hint="were they saved as JPEG or resized? if not, name the classes in classes.txt, one per line",
        )
    labels = [Named(f"class {1 if binary and value == IGNORE else value}", value) for value in kept]
    names = "class 0 and 255 as class 1" if binary else f"{len(kept)} values found in the masks"
    note = f"no file names the classes: {names}; name them in classes.txt, one per line"
    return replace(_from_names(labels, channel, list(ignore)), notes=(note,))


def _values(path: Path, channel: Coding) -> tuple[int, ...]:
    try:
        return tuple(np.flatnonzero(np.bincount(masks.stored(Mask(path, channel)).ravel())).tolist())
    except ImageError as error:
        if isinstance(error.__cause__, Exception):
            return ()  # an unreadable file is reported when it is checked or drawn
        raise DataError(str(error), hint=error.hint) from error


def _hex(text: str) -> Color | None:
    if not re.fullmatch("#[0-9a-fA-F]{6}", text):
        return None
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
