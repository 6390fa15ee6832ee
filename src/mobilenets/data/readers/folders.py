"""Reads one folder per class, with or without split folders above: `photos/cat/1.jpg` or `photos/train/cat/1.jpg`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from mobilenets.data.entries import SPLIT_WORDS, Entry, Listing, in_order, split_word
from mobilenets.data.readers.foreign import unread_beside, unread_images, unread_photos
from mobilenets.data.readers.format import NOTHING, Asked, Format
from mobilenets.data.readers.label_tables import label_lists, unread_table
from mobilenets.data.readers.pairing import MASKS, NO_CLASSES
from mobilenets.data.samples import SPLITS, Split
from mobilenets.data.source import Source
from mobilenets.data.text import counted, folder_class, legible, some
from mobilenets.data.walk import IMAGES, SUFFIXES, Tree, below, stem_of, suffix_of
from mobilenets.errors import DataError, ImageError
from mobilenets.runtime.images.decode import read_header

LAYOUT = "expected a folder per class, as photos/cat/1.jpg, or a list of images as CSV with the columns path,label"


def is_folder(source: Source) -> bool:
    """Whether the source is a folder; this format is tried last."""
    return source.tree is not None


def read_folder(source: Source, asked: Asked = NOTHING) -> Listing:
    """Every image below the folder, by class.

    Hidden files and folders are skipped. Class folders without images are left out and reported.

    Raises:
        DataError: the folder has no class folders, or its folders are not classes.
    """
    tree = source.tree
    if tree is None:
        raise DataError(f"'{source.text}' is not a folder", hint=LAYOUT)
    _refuse_unread(tree, source.text)
    root = _unwrapped(tree, "")
    notes = [f"the images are in '{root}'"] if root else []
    by_split = _split_folders(tree, root)
    if by_split is None:
        folders = _inner(tree, root)
        loose = _files(tree, root)
        if not folders:
            content = f"{counted(_images(loose), 'image')} but no folder" if loose else "nothing"
            hint = unread_table(tree) or _above(source.path) or _in_names(loose) or LAYOUT
            raise DataError(f"'{source.text}' holds {content}", hint=hint)
        entries, empty, ignored = _classes(tree, root, folders, None)
        ignored = [*loose, *ignored]
    else:
        entries, empty, ignored = [], [], list(_files(tree, root))
        has_labels = any(_inner(tree, _unwrapped(tree, folder)) for folder, _ in by_split)
        if not has_labels:
            by_split.sort(key=lambda item: SPLITS.index(item[1]))  # raises the error for train first
        for folder, split in by_split:
            class_root = _unwrapped(tree, folder)
            classes, loose = _inner(tree, class_root), _files(tree, class_root)
            if not classes and _images(loose):
                found = f"'{tree.root / folder}' holds {counted(_images(loose), 'image')} but no folder per class"
                if split != "test" or not has_labels:
                    raise DataError(found, hint=unread_table(tree) or _in_names(loose) or LAYOUT)
                notes.append(f"{found}, and is left out")
                continue
            more, without, passed = _classes(tree, class_root, classes, split)
            entries += more
            empty += without
            ignored += [*loose, *passed]
    if not entries:
        message = f"no folder below '{source.text}' holds an image{_held_instead(tree)}"
        raise DataError(message, hint=_without_endings(tree) or LAYOUT)
    labels = in_order(entry.label for entry in entries)
    if empty:
        first = f"'{tree.root / empty[0]}'"
        notes.append(f"{first} holds no image" if len(empty) == 1 else f"{len(empty):,} folders hold no image, such as {first}")
    unread = unread_photos(tree)
    if unread:
        notes.append(unread)
    notes += [f"classes are the folders; '{path}' has labels as well, which are not read" for path in label_lists(tree)]
    name = tree.root.resolve().name
    return Listing(tuple(entries), labels, name, tuple(notes), tuple(tree.root / path for path in ignored), faults=tree.faults)


def has_classes(tree: Tree) -> bool:
    """Whether at least two folders contain images directly and have names that are not those of images, masks or splits."""
    inner = [path for name, path in tree.inner("").items() if name not in IMAGES | MASKS | SPLIT_WORDS.keys()]
    return sum(_images(_files(tree, path)) > 0 for path in inner) >= 2


def are_parts(tree: Tree) -> bool:
    """Whether the names of the folders with images differ only in a number, as images_part_1 and images_part_2."""
    held = [name for name, path in tree.inner("").items() if tree.images(path)]
    return len(held) > 1 and len({re.sub(r"\d+", "", name) for name in held}) == 1


def _split_folders(tree: Tree, root: str) -> list[tuple[str, Split]] | None:
    """The split folders, or None if the folders are classes."""
    inner = _inner(tree, root)
    named = [(path, SPLIT_WORDS[_name(path).lower()]) for path in inner if _name(path).lower() in SPLIT_WORDS]
    if not named:  # seg_train/ and seg_test/, training_set/ and test_set/
        wordy = [(path, split) for path in inner if (split := split_word(_name(path))) is not None]
        if len(wordy) == len([path for path in inner if tree.images(path)]) and {split for _, split in wordy} > {"train"}:
            named = wordy
    others = [path for path in inner if path not in dict(named)]
    if not named:
        return None
    if not any(_inner(tree, path) for path, _ in named):  # no folder per class, unless these are the classes
        held = [path for path in inner if tree.images(path)]
        wordy = [(path, split) for path in held if (split := split_word(_name(path))) is not None]
        return wordy if len(wordy) == len(held) else None
    strangers = [path for path in others if tree.images(path)]
    if strangers:
        raise DataError(
            f"'{tree.root / strangers[0]}' is beside the split folder '{_name(named[0][0])}'",
            hint="put every class folder below train/, val/ or test/, or leave the split folders out",
        )
    return named


def _classes(tree: Tree, root: str, folders: Iterable[str], split: Split | None) -> tuple[list[Entry], list[str], list[str]]:
    """The entries of class folders, the class folders without images, and the files that are not images."""
    entries: list[Entry] = []
    empty: list[str] = []
    ignored: list[str] = []
    _refuse_roles(tree, root, folders)
    for folder in folders:
        files = _files(tree, folder)
        nested = [path for path in _inner(tree, folder) if tree.images(path)]
        if len(nested) == 1 and _name(nested[0]).lower() in IMAGES and not _images(files):  # n01443537/images/, Tiny ImageNet
            files += _files(tree, nested[0])
            nested = [path for path in _inner(tree, nested[0]) if tree.images(path)]
        if nested:
            deeper = f"give '{tree.root / folder}' if these are the classes" if not _images(files) else ""
            raise DataError(
                f"'{tree.root / folder}' holds folders with images: {some(map(_name, nested))}",
                hint=deeper
                or "put the images of a class directly into its folder, or list them in a CSV with the columns path,label",
            )
        images = [path for path in files if suffix_of(path) in SUFFIXES]
        ignored += [path for path in files if suffix_of(path) not in SUFFIXES]
        if not images:
            empty.append(folder)
            continue
        label = folder_class(_name(folder), f"'{legible(str(tree.root / folder))}'")
        entries += [Entry(tree.root / path, label, path, split) for path in images]
    return entries, empty, ignored


def _held_instead(tree: Tree) -> str:
    """What files a folder without an image holds, for the error."""
    counts = ", ".join(f"{n:,} {suffix or 'without an extension'}" for suffix, n in list(tree.counts().items())[:5])
    return f"; it holds these files: {counts}" if counts else ""


def _without_endings(tree: Tree) -> str:
    """The hint if files are images but for their names; else ""."""
    first = next((tree.root / path for path in tree.files()), None)
    try:
        kind = "" if first is None else read_header(first).format
    except ImageError:
        return ""
    return f"'{first}' is an image ({kind}); add the ending of its kind to each file's name" if kind else ""


def _refuse_roles(tree: Tree, root: str, folders: Iterable[str]) -> None:
    """Raise if folders are named after the kind of files in them (images/, labels/), since these are never classes."""
    held = [path for path in folders if tree.images(path)]
    roles = all(_is_role(path) for path in held) or any(_name(path).lower() in NO_CLASSES for path in held)
    if not held or not (roles or (len(held) == 1 and _has_other_data(tree))):
        return
    deeper = [path for path in held if any(tree.images(inner) for inner in _inner(tree, path))]
    labels = "labels may be a folder per class, Pascal VOC's XML, COCO's JSON, YOLO's text files, a CSV, or masks"
    unread = unread_table(tree) or unread_beside(tree)
    raise DataError(
        f"'{tree.root / root}' has no folder per class, but {some(map(_name, held))}, and no annotations that can be read"
        f"{_held_instead(tree)}",
        hint=f"give '{tree.root / deeper[0]}' if that has a folder per class" if deeper else unread or labels,
    )


def _is_role(path: str) -> bool:
    """Whether a folder is named after the kind of files in it, such as images/, image_2/ or labels/."""
    return _name(path).lower().rstrip("0123456789_-") in IMAGES | MASKS


def _has_other_data(tree: Tree) -> bool:
    """Whether there are tables, or about as many text files as images, which are probably annotations."""
    texts = [path for path in tree.with_suffix(".txt", ".xml") if "readme" not in path.lower()]
    tables = tree.with_suffix(".csv", ".tsv", ".json", ".mat", ".xlsx", ".parquet", ".npy", ".npz", ".pkl")
    return bool(tables) or len(texts) > max(2, len(tree.images()) // 2)


def _in_names(files: Iterable[str]) -> str:
    """The hint if the names of images begin with few different words, such as cat.0.jpg and dog.0.jpg; else ""."""
    stems = [stem_of(path) for path in files if suffix_of(path) in SUFFIXES]
    words = {match[0].lower() for stem in stems if (match := re.match(r"[^\W\d_]+", stem))}
    if not 2 <= len(words) <= len(stems) // 3:
        return ""
    return f"do the names begin with the class ({some(sorted(words))})? then move the images into a folder per class"


def _above(folder: Path) -> str:
    """The hint if the folder has only the images of a dataset, whose annotations are in the folder above; else ""."""
    try:
        beside = [item.name.lower() for item in folder.resolve().parent.iterdir() if item.name != folder.resolve().name]
    except OSError:
        return ""
    signs = [name for name in beside if name in MASKS or name.endswith((".xml", ".json", ".csv", ".yaml", ".yml"))]
    return f"is the dataset the folder above, '{folder.parent}', which also has {some(sorted(signs))}?" if signs else ""


def _refuse_unread(tree: Tree, shown: str) -> None:
    if not tree.images():
        unread = unread_images(tree)
        if unread is not None:
            raise DataError(f"'{shown}' holds {unread[0]}", hint=unread[1])


def _unwrapped(tree: Tree, folder: str) -> str:
    """The folder, or the only folder in it if that has the same name, as after unpacking an archive, or is called images/."""
    names = {(_name(folder) or tree.root.resolve().name).lower()}
    if not _has_other_data(tree):
        names |= IMAGES
    inner = _inner(tree, folder)
    while len(inner) == 1 and _name(inner[0]).lower() in names and not _images(_files(tree, folder)):
        if _images(_files(tree, inner[0])):
            break
        folder = inner[0]
        inner = _inner(tree, folder)
    return folder


def _inner(tree: Tree, folder: str) -> list[str]:
    return [below(folder, name) for name in tree.folders[folder].folders]


def _files(tree: Tree, folder: str) -> list[str]:
    return [below(folder, name) for name in tree.folders[folder].files]


def _images(files: Iterable[str]) -> int:
    return sum(suffix_of(path) in SUFFIXES for path in files)


def _name(path: str) -> str:
    return path.rpartition("/")[2]


FORMAT = Format("a folder with a folder per class, below train/, val/, test/ or not", is_folder, read_folder)
