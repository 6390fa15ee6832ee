"""Finds the images, labels and class names of a YOLO dataset: by data.yaml, by Darknet's obj.data, or by the folders."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mobilenets.data.documents import Plain, head_text, read_yaml
from mobilenets.data.entries import SPLIT_WORDS, all_or_none, split_in
from mobilenets.data.faults import Fault
from mobilenets.data.locate import Locator, checked_path
from mobilenets.data.readers.pairing import MASKS, pair
from mobilenets.data.readers.yolo_lines import is_label
from mobilenets.data.samples import SPLITS, Split
from mobilenets.data.text import class_name, counted, read_text, shown, some, whole
from mobilenets.data.walk import IMAGES, SUFFIXES, Tree, alike, below, scan, stem_of, suffix_of
from mobilenets.errors import DataError

NAMES_FILES = ("classes.txt", "obj.names", "names.txt", "labels.txt", "class_names.txt")
"""Files with the class names in order, one per line, for folders without data.yaml."""

LISTS = frozenset(
    (*NAMES_FILES, "train.txt", "val.txt", "valid.txt", "test.txt", "readme.txt", "readme.roboflow.txt", "readme.dataset.txt")
)
"""Text files that are not the labels of an image, in lower case."""

LAYOUT = "expected data.yaml with the keys names and train, or classes.txt beside images/ and labels/"
_GLANCED = 30  # number of text files examined to decide whether they are YOLO's
_NAMES_DEPTH = 2  # how many folders below the dataset's a file of class names may be


@dataclass(frozen=True, slots=True)
class Places:
    """Where the parts of a YOLO dataset are.

    Args:
        tree: the dataset's folder and everything below it.
        names: class names by index.
        images: the images with their splits, inside the tree or elsewhere.
        labels: the label file of each image that has one.
        keypoints: how many numbers a pose has (17 points of x, y and visibility have 51); 0 if there are no poses.
        notes, faults: what was decided, left out or corrected.
    """

    tree: Tree
    names: Mapping[int, str]
    images: tuple[tuple[Path, Split | None], ...]
    labels: Mapping[Path, Path]
    keypoints: int = 0
    notes: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()


def yaml_file(tree: Tree) -> str | None:
    """The YAML file in a dataset's folder that has class names; None if there is none."""
    for path in (*(name for name in tree.folders[""].files if suffix_of(name) in (".yaml", ".yml")), *_one_deeper(tree)):
        text = head_text(tree.root / path)
        if path.lower() in ("data.yaml", "data.yml", "dataset.yaml") or (
            any(line.startswith(("names:", "nc:")) for line in text.splitlines())
            and any(line.partition(":")[0].strip() in SPLIT_WORDS for line in text.splitlines())
        ):
            return path
    return None


def darknet_file(tree: Tree) -> str | None:
    """Darknet's description of a dataset, `obj.data`, in its folder; None if there is none."""
    named = [path for path in tree.with_suffix(".data") if path.count("/") <= 1]
    return next((path for path in named if "names" in head_text(tree.root / path)), None)


def label_files(tree: Tree) -> list[str]:
    """The text files in a folder that may be labels of images."""
    return [path for path in tree.with_suffix(".txt") if path.rpartition("/")[2].lower() not in LISTS]


def has_labels(tree: Tree) -> bool:
    """Whether text files in the folder have the names of its images and contain YOLO's lines."""
    files = label_files(tree)
    if not files or not tree.images():
        return False
    stems = {alike(stem_of(image)) for image in tree.images()}
    paired = list(islice((path for path in files if alike(stem_of(path)) in stems), _GLANCED))
    return any(is_label(line) for path in paired for line in head_text(tree.root / path).splitlines())


def from_yaml(file: Path) -> Places:
    """The dataset that a data.yaml describes.

    Raises:
        DataError: it cannot be read, or names no classes or no images that exist; the message names the key.
    """
    data = read_yaml(file)
    if not isinstance(data, dict):
        raise DataError(f"'{file}' has no keys", hint=LAYOUT)
    names = numbered_names(f"'{file}'", data.get("names"))
    roots = _roots(file, data)
    tree = roots[0]
    faults: list[Fault] = []
    stated = data.get("nc")
    if isinstance(stated, str) and whole(stated) not in (None, len(names)):
        faults.append(
            Fault("contradiction", f"says nc: {stated} but names {counted(len(names), 'class', 'classes')}", file.name)
        )
    notes: list[str] = []
    by_key: dict[str, list[Path]] = {}
    for key, value in data.items():
        if key.lower() not in SPLIT_WORDS or value in (None, [], "", "null", "None"):
            continue
        for written in value if isinstance(value, list) else [value]:
            if not isinstance(written, str) or (written.isdecimal() and not (file.parent / written).exists()):
                value_shown = written if isinstance(written, str) else shown(written)
                raise DataError(f"'{file}': {key} is {value_shown}, not a folder or a list of images")
            by_key.setdefault(key.lower(), []).extend(_images(file, key.lower(), written, roots, faults, notes))
    if not by_key:
        raise DataError(f"'{file}' has no key 'train'", hint=LAYOUT)
    images = _by_split(file, by_key, notes)
    outer = next((root for root in roots if all(path.is_relative_to(root.root) for path, _ in images)), tree)
    labels = _labels_of([path for path, _ in images], roots)
    keypoints = _keypoints(data.get("kpt_shape"))
    return Places(outer, names, tuple(images), labels, keypoints, tuple(notes), tuple(faults))


def from_darknet(tree: Tree, path: str) -> Places:
    """The dataset that Darknet's obj.data describes: files that list names and images, as in CVAT's YOLO 1.1 export.

    Raises:
        DataError: it cannot be read, or has no file of names.
    """
    file = tree.root / path
    lines = [line.partition("=") for line in read_text(file).lines]
    data = {key.strip().lower(): value.strip() for key, _, value in lines if value.strip()}
    if "names" not in data:
        raise DataError(f"'{file}' has no line 'names = obj.names'", hint=LAYOUT)
    locator = Locator(tree, (path.rpartition("/")[0], ""))
    names_file = _file(tree, path, data["names"])
    names = numbered_names(f"'{names_file}'", list(_filled_lines(names_file)))
    faults: list[Fault] = []
    by_key: dict[str, list[Path]] = {}
    for key in data.keys() & SPLIT_WORDS.keys():
        listed = _file(tree, path, data[key])
        if not listed.is_file():
            faults.append(Fault("contradiction", f"names {key} = {shown(data[key])}, which does not exist", path))
            continue
        by_key[key] = [locator.find(line.removeprefix("data/"), f"'{listed}'") for line in _filled_lines(listed)]
    if not any(by_key.values()):
        pairs = pair(label_files(tree), tree.images())
        by_key["train"] = [tree.root / image for image in sorted((*pairs.image_of.values(), *pairs.bare))]
    notes: list[str] = []
    images = _by_split(file, by_key, notes)
    if len(by_key) == 1:
        images = [(image, None) for image, _ in images]  # CVAT lists everything as train
    return Places(
        tree, names, tuple(images), _labels_of([image for image, _ in images], [tree]), 0, tuple(notes), tuple(faults)
    )


def from_folders(tree: Tree) -> Places:
    """The dataset in a folder without a description: text files paired with images, and a file of class names.

    Raises:
        DataError: there is no file of class names.
    """
    pairs = pair(label_files(tree), tree.images())
    images = sorted((*pairs.image_of.values(), *pairs.bare))
    names_file = _names_file(tree)
    if names_file is None:
        example = some(list(pairs.image_of) or label_files(tree), 1)
        message = (
            f"'{tree.root}' has neither data.yaml nor classes.txt: its label files, such as {example}, have no class names"
        )
        raise DataError(message, hint="write the class names into classes.txt, one per line in the order of their numbers")
    text = read_text(tree.root / names_file)
    names = numbered_names(f"'{tree.root / names_file}'", [line.strip() for line in text.lines if line.strip()])
    splits = all_or_none(split_in(image) for image in images)
    labels = {tree.root / image: tree.root / path for path, image in pairs.image_of.items()}
    faults = (*pairs.faults, *text.faults(names_file))
    listed = tuple((tree.root / image, split) for image, split in zip(images, splits, strict=True))
    return Places(tree, names, listed, labels, faults=faults)


def numbered_names(where: str, stated: Plain) -> dict[int, str]:
    """Names by index: from a list, or from a mapping of indices.

    Args:
        where: the file, for errors.
        stated: what the file says.

    Raises:
        DataError: there are none, or one is not a valid name.
    """
    pairs = list(stated.items()) if isinstance(stated, dict) else list(enumerate(stated)) if isinstance(stated, list) else []
    if isinstance(stated, str):
        message = f"{where}: names is {shown(stated)}, not a list of classes"
        raise DataError(message, hint="write names: [cat, dog], or a line 0: cat for each class")
    if not pairs:
        raise DataError(f"{where} has no key 'names' with the classes", hint=LAYOUT)
    names: dict[int, str] = {}
    seen: set[str] = set()
    for key, value in pairs:
        index = whole(str(key))
        if index is None or not isinstance(value, str):
            raise DataError(f"{where}: names has {key!r}: {shown(value)}, not an index and a name")
        name = class_name(value, f"{where}, key 'names',")
        if name in seen:
            raise DataError(f"{where} names '{name}' twice")
        if index in names:
            raise DataError(f"{where} names class {index} twice")
        seen.add(name)
        names[index] = name
    return dict(sorted(names.items()))


def labels_path(image: Path) -> Path:
    """The usual path of an image's label file.

    >>> labels_path(Path("set/images/train/a.jpg")).as_posix()
    'set/labels/train/a.txt'
    """
    parts = list(image.parts)
    image_folders = [i for i, part in enumerate(parts[:-1]) if part.lower() == "images"]
    if image_folders:
        parts[image_folders[-1]] = "labels"
    return Path(*parts).with_suffix(".txt")


def _one_deeper(tree: Tree) -> list[str]:
    return [path for path in tree.with_suffix(".yaml", ".yml") if path.count("/") == 1]


def _roots(file: Path, data: Mapping[str, Plain]) -> list[Tree]:
    """The folders that paths in a YAML file may be relative to: the one that it states, and its own."""
    stated = data.get("path")
    folders = [file.parent]
    if isinstance(stated, str) and stated:
        checked_path(stated, f"'{file}', key 'path',")
        spelled = [stated, stated.replace("\\", "/")]
        folders = [folder for folder in (file.parent / spelling for spelling in spelled) if folder.is_dir()][:1] + folders
    own = Path(os.path.normpath(file.parent))
    trees: list[Tree] = []
    for folder in folders:
        absolute = Path(os.path.normpath(folder))
        if all(tree.root != absolute for tree in trees):
            trees.append(scan(absolute, only=None if absolute == own else _first_folders(data)))
    return trees


def _first_folders(data: Mapping[str, Plain]) -> frozenset[str]:
    """Folders inside the stated one that may hold images and labels. The stated one itself may be a whole disk."""
    values = [value if isinstance(value, list) else [value] for key, value in data.items() if key.lower() in SPLIT_WORDS]
    paths = (path.replace("\\", "/").split("/") for listed in values for path in listed if isinstance(path, str))
    named = {next((part for part in parts if part not in ("", ".", "..")), "").lower() for parts in paths}
    return frozenset(named | IMAGES | MASKS | SPLIT_WORDS.keys())


def _images(file: Path, key: str, written: str, roots: Sequence[Tree], faults: list[Fault], notes: list[str]) -> list[Path]:
    """The images in one folder, or those that one text file lists."""
    checked_path(written, f"'{file}', key '{key}',")
    slashed = written.replace("\\", "/") if os.sep == "/" else written
    target = next((path for spelling in dict.fromkeys((written, slashed)) for path in _existing(spelling, roots)), None)
    if target is None:
        target = _by_end(slashed, roots)
        if target is not None:
            notes.append(f"'{file.name}': {key} is '{written}', which does not exist here; '{target}' is read instead")
    if target is None:
        if key in ("train", "training"):
            looked = f"'{file}': {key} is '{written}', which does not exist; looked for '{roots[0].root / slashed}'"
            raise DataError(looked, hint="write the path of the folder of images, relative to this file")
        faults.append(Fault("contradiction", f"{key} is '{written}', which does not exist", file.name))
        return []
    if target.is_dir():
        for tree in roots:
            inner = target.relative_to(tree.root).as_posix().removeprefix(".") if target.is_relative_to(tree.root) else None
            if inner is not None and inner in tree.folders:
                return [tree.root / image for image in tree.images(inner)]
        outside = scan(target)
        faults += outside.faults
        return [target / image for image in outside.images()]
    if suffix_of(target.name) in SUFFIXES:
        return [target]
    images = []
    locators = [Locator(tree) for tree in roots]
    for i, line in enumerate(read_text(target).lines, start=1):
        if line.strip():
            where = f"'{target}' line {i}"
            tried = [locator.find(line.strip(), where) for locator in locators]
            beside = target.parent / line.strip()
            tried = [*([beside] if line.startswith("./") else []), *tried]
            images.append(next((path for path in tried if path.is_file()), tried[0]))
    return images


def _existing(written: str, roots: Sequence[Tree]) -> list[Path]:
    """The files or folders that a path in a YAML file may mean."""
    paths = []
    for spelling in (
        written,
        written.removeprefix("./").removeprefix("../"),
    ):  # Roboflow writes ../ for a folder beside the file
        relative = "/".join(part for part in spelling.split("/") if part not in ("", "."))
        for tree in roots:
            inner = None if spelling.startswith("/") else tree.resolved(relative)
            path = tree.root / (inner if inner is not None else spelling)
            if path.exists():
                paths.append(Path(os.path.normpath(path)))
    return paths


def _by_end(written: str, roots: Sequence[Tree]) -> Path | None:
    """The file or folder that matches the end of another machine's absolute path, such as /content/cells-1/train/images."""
    if not (written.startswith("/") or written[1:3] == ":/"):
        return None
    parts = [part for part in written.split("/") if part not in ("", ".", "..")]
    ends = ("/".join(parts[i:]) for i in range(1, len(parts)))
    return next((tree.root / inner for end in ends for tree in roots if (inner := tree.resolved(end)) is not None), None)


def _by_split(file: Path, by_key: Mapping[str, list[Path]], notes: list[str]) -> list[tuple[Path, Split | None]]:
    """The images with their splits, train first. A val or test split with the same images as train is left out."""
    by_split: dict[Split, list[Path]] = {}
    for key, images in by_key.items():
        by_split.setdefault(SPLIT_WORDS[key], []).extend(images)
    train = set(by_split.get("train", ()))
    for split in ("val", "test"):
        if train and set(by_split.get(split, ())) == train:
            drawn = "; val is drawn from train instead" if split == "val" else ""
            notes.append(f"'{file.name}' names the same images for train and {split}{drawn}")
            del by_split[split]
    return [(image, split) for split in SPLITS for image in by_split.get(split, ())]


def _labels_of(images: Sequence[Path], roots: Sequence[Tree]) -> dict[Path, Path]:
    """The label file of each image: the one in labels/ instead of images/, in any case, or else the nearest of its name."""
    label_of: dict[Path, Path] = {}
    for tree in roots:
        missing: list[str] = []
        for image in images:
            if image in label_of:
                continue
            expected = labels_path(image)
            inner = tree.resolved(expected.relative_to(tree.root).as_posix()) if expected.is_relative_to(tree.root) else None
            if inner is not None:
                label_of[image] = tree.root / inner
            elif expected.is_file():
                label_of[image] = expected
            elif image.is_relative_to(tree.root):
                missing.append(image.relative_to(tree.root).as_posix())
        taken = {path.relative_to(tree.root).as_posix() for path in label_of.values() if path.is_relative_to(tree.root)}
        rest = [path for path in label_files(tree) if path not in taken]
        for path, name in pair(rest, missing).image_of.items():
            label_of[tree.root / name] = tree.root / path
    return label_of


def _keypoints(stated: Plain) -> int:
    """How many numbers a line has for keypoints, from `kpt_shape: [17, 3]`."""
    sizes = [whole(value) for value in stated if isinstance(value, str)] if isinstance(stated, list) else []
    return sizes[0] * sizes[1] if len(sizes) == 2 and sizes[0] and sizes[1] else 0


def _file(tree: Tree, description: str, written: str) -> Path:
    """A file that obj.data names. It is also looked for beside obj.data, by its name alone."""
    checked_path(written, f"'{tree.root / description}'")
    folder = description.rpartition("/")[0]
    slashed = written.replace("\\", "/")
    for spelling in (slashed, slashed.removeprefix("data/"), slashed.rpartition("/")[2]):
        inner = tree.resolved(below(folder, spelling)) or tree.resolved(spelling)
        if inner is not None:
            return tree.root / inner
    return tree.root / folder / slashed


def _filled_lines(path: Path) -> list[str]:
    return [line.strip() for line in read_text(path).lines if line.strip()]


def _names_file(tree: Tree) -> str | None:
    """The file of class names that is highest in the folder."""
    candidates = [path for path in tree.with_suffix(".txt", ".names") if path.count("/") <= _NAMES_DEPTH]
    named = [path for path in candidates if path.rpartition("/")[2].lower() in NAMES_FILES or path.lower().endswith(".names")]
    rank = {name: i for i, name in enumerate(NAMES_FILES)}
    return min(
        named, key=lambda path: (path.count("/"), rank.get(path.rpartition("/")[2].lower(), len(rank)), path), default=None
    )
