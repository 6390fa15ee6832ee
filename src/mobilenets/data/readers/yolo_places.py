"""Where the images, labels and class names of a YOLO dataset are: by data.yaml, by Darknet's obj.data, or by the folders."""

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
from mobilenets.data.samples import SPLITS, Split
from mobilenets.data.text import class_name, counted, read_text, shown, some, whole
from mobilenets.data.walk import IMAGES, SUFFIXES, Tree, scan, stem_of, suffix_of
from mobilenets.errors import DataError

NAMES_FILES = ("classes.txt", "obj.names", "names.txt", "labels.txt", "class_names.txt")
"""The classes in their order, one a line, for folders without data.yaml."""

LISTS = frozenset(
    (*NAMES_FILES, "train.txt", "val.txt", "valid.txt", "test.txt", "readme.txt", "readme.roboflow.txt", "readme.dataset.txt")
)
"""Text files, lower case, that are not labels of an image."""

LAYOUT = "expected data.yaml with the keys names and train, or classes.txt beside images/ and labels/"
_GLANCED = 30  # text files that tell whether they are YOLO's
_NAMES_DEPTH = 2  # folders below the dataset's in which a file of names may lie


@dataclass(frozen=True, slots=True)
class Places:
    """The parts of a YOLO dataset.

    Args:
        tree: the dataset's folder with all below it.
        names: of the classes by index.
        images: with their splits; inside the tree or elsewhere.
        labels: the label file of each image that has one.
        keypoints: numbers of a pose (17 points of x, y and visibility have 51); 0 for none.
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
    """The YAML file of a dataset's folder that has class names; None where there is none."""
    for path in (*(name for name in tree.folders[""].files if suffix_of(name) in (".yaml", ".yml")), *_one_deeper(tree)):
        text = head_text(tree.root / path)
        if path.lower() in ("data.yaml", "data.yml", "dataset.yaml") or (
            any(line.startswith(("names:", "nc:")) for line in text.splitlines())
            and any(line.partition(":")[0].strip() in SPLIT_WORDS for line in text.splitlines())
        ):
            return path
    return None


def darknet_file(tree: Tree) -> str | None:
    """Darknet's description, `obj.data`, of a dataset's folder; None where there is none."""
    named = [path for path in tree.with_suffix(".data") if path.count("/") <= 1]
    return next((path for path in named if "names" in head_text(tree.root / path)), None)


def label_files(tree: Tree) -> list[str]:
    """The text files of a folder that may be labels of images."""
    return [path for path in tree.with_suffix(".txt") if path.rpartition("/")[2].lower() not in LISTS]


def has_labels(tree: Tree) -> bool:
    """Whether text files of the folder go with its images and hold YOLO's lines."""
    files = label_files(tree)
    if not files or not tree.images():
        return False
    stems = {stem_of(image).lower() for image in tree.images()}
    paired = list(islice((path for path in files if stem_of(path).lower() in stems), _GLANCED))
    lines = [line.split() for path in paired for line in head_text(tree.root / path).splitlines()]
    return any(_is_label(words) for words in lines)


def from_yaml(file: Path) -> Places:
    """What a data.yaml says.

    Raises:
        DataError: it cannot be read, or names no classes or no images that exist; says which key.
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
        for place in value if isinstance(value, list) else [value]:
            if not isinstance(place, str) or (place.isdecimal() and not (file.parent / place).exists()):
                raise DataError(
                    f"'{file}': {key} is {place if isinstance(place, str) else shown(place)}, not a folder or a list of images"
                )
            by_key.setdefault(key.lower(), []).extend(_images(file, key.lower(), place, roots, faults))
    if not by_key:
        raise DataError(f"'{file}' has no key 'train'", hint=LAYOUT)
    images = _by_split(file, by_key, notes)
    outer = next((one for one in roots if all(path.is_relative_to(one.root) for path, _ in images)), tree)
    labels = _labels_of([path for path, _ in images], roots)
    keypoints = _keypoints(data.get("kpt_shape"))
    return Places(outer, names, tuple(images), labels, keypoints, tuple(notes), tuple(faults))


def from_darknet(tree: Tree, path: str) -> Places:
    """What Darknet's obj.data says: files that list the names and the images, as CVAT's YOLO 1.1 export has them.

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
    names = numbered_names(f"'{names_file}'", list(_words(names_file)))
    faults: list[Fault] = []
    by_key: dict[str, list[Path]] = {}
    for key in data.keys() & SPLIT_WORDS.keys():
        listed = _file(tree, path, data[key])
        if not listed.is_file():
            faults.append(Fault("contradiction", f"names {key} = {shown(data[key])}, which does not exist", path))
            continue
        by_key[key] = [locator.find(line.removeprefix("data/"), f"'{listed}'") for line in _words(listed)]
    found = [image for images in by_key.values() for image in images]
    if not found:
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
    """What the folders say: text files paired with images, and a file of class names.

    Raises:
        DataError: there is no file of class names.
    """
    pairs = pair(label_files(tree), tree.images())
    images = sorted((*pairs.image_of.values(), *pairs.bare))
    names_file = _names_file(tree)
    if names_file is None:
        found = some(list(pairs.image_of) or label_files(tree), 1)
        message = f"'{tree.root}' has neither data.yaml nor classes.txt: its label files, such as {found}, have no class names"
        raise DataError(message, hint="write the class names, one a line in the order of their numbers, into classes.txt")
    text = read_text(tree.root / names_file)
    names = numbered_names(f"'{tree.root / names_file}'", [line.strip() for line in text.lines if line.strip()])
    splits = all_or_none(split_in(image) for image in images)
    labels = {tree.root / image: tree.root / path for path, image in pairs.image_of.items()}
    faults = (*pairs.faults, *text.faults(names_file))
    listed = tuple((tree.root / image, split) for image, split in zip(images, splits, strict=True))
    return Places(tree, names, listed, labels, faults=faults)


def numbered_names(where: str, found: Plain) -> dict[int, str]:
    """Names by index: from a list, or from a mapping of indices.

    Args:
        where: the file, for errors.
        found: what it says.

    Raises:
        DataError: there are none, or one makes no sense.
    """
    pairs = list(found.items()) if isinstance(found, dict) else list(enumerate(found)) if isinstance(found, list) else []
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
    """The usual place of an image's label file.

    >>> labels_path(Path("set/images/train/a.jpg")).as_posix()
    'set/labels/train/a.txt'
    """
    parts = list(image.parts)
    places = [i for i, part in enumerate(parts[:-1]) if part.lower() == "images"]
    if places:
        parts[places[-1]] = "labels"
    return Path(*parts).with_suffix(".txt")


def _one_deeper(tree: Tree) -> list[str]:
    return [path for path in tree.with_suffix(".yaml", ".yml") if path.count("/") == 1]


def _is_label(words: Sequence[str]) -> bool:
    """Whether a line is a class and at least four numbers."""
    try:
        values = [float(word) for word in words]
    except ValueError:
        return False
    return len(values) >= 5 and values[0] == values[0] // 1 and all(-2 <= value <= 2 for value in values[1:5])


def _roots(file: Path, data: Mapping[str, Plain]) -> list[Tree]:
    """The folders that paths of a YAML file may be relative to: the one it states, with what it names there; and its own."""
    stated = data.get("path")
    folders = [file.parent]
    if isinstance(stated, str) and stated:
        checked_path(stated, f"'{file}', key 'path',")
        spelled = [stated, stated.replace("\\", "/")]
        folders = [place for place in (file.parent / one for one in spelled) if place.is_dir()][:1] + folders
    own = Path(os.path.normpath(file.parent))
    trees: list[Tree] = []
    for folder in folders:
        absolute = Path(os.path.normpath(folder))
        if all(tree.root != absolute for tree in trees):
            trees.append(scan(absolute, only=None if absolute == own else _first_folders(data)))
    return trees


def _first_folders(data: Mapping[str, Plain]) -> frozenset[str]:
    """The folders of a stated place that its images and labels may be in; the place itself may be a whole disk."""
    values = [value if isinstance(value, list) else [value] for key, value in data.items() if key.lower() in SPLIT_WORDS]
    words = (place.replace("\\", "/").split("/") for places in values for place in places if isinstance(place, str))
    named = {next((word for word in parts if word not in ("", ".", "..")), "").lower() for parts in words}
    return frozenset(named | IMAGES | MASKS | SPLIT_WORDS.keys())


def _images(file: Path, key: str, place: str, roots: Sequence[Tree], faults: list[Fault]) -> list[Path]:
    """The images of one folder, or of one text file that lists them."""
    checked_path(place, f"'{file}', key '{key}',")
    slashed = place.replace("\\", "/") if os.sep == "/" else place
    found = next((path for spelling in dict.fromkeys((place, slashed)) for path in _existing(spelling, roots)), None)
    if found is None:
        if key in ("train", "training"):
            raise DataError(f"'{file}': {key} is '{place}', which does not exist; looked for '{roots[0].root / slashed}'")
        faults.append(Fault("contradiction", f"{key} is '{place}', which does not exist", file.name))
        return []
    if found.is_dir():
        for tree in roots:
            inner = found.relative_to(tree.root).as_posix().removeprefix(".") if found.is_relative_to(tree.root) else None
            if inner is not None and inner in tree.folders:
                return [tree.root / image for image in tree.images(inner)]
        outside = scan(found)
        faults += outside.faults
        return [found / image for image in outside.images()]
    if suffix_of(found.name) in SUFFIXES:
        return [found]
    images = []
    locators = [Locator(tree) for tree in roots]
    for i, line in enumerate(read_text(found).lines, start=1):
        if line.strip():
            where = f"'{found}' line {i}"
            tried = [locator.find(line.strip(), where) for locator in locators]
            beside = found.parent / line.strip()
            tried = [*([beside] if line.startswith("./") else []), *tried]
            images.append(next((path for path in tried if path.is_file()), tried[0]))
    return images


def _existing(place: str, roots: Sequence[Tree]) -> list[Path]:
    """The files or folders that a path of a YAML file may mean."""
    spelled = [
        place,
        place.removeprefix("./").removeprefix("../"),
    ]  # Roboflow writes ../train/images for a folder beside the file
    found = []
    for spelling in spelled:
        for tree in roots:
            inner = (
                tree.resolved("/".join(part for part in spelling.split("/") if part not in ("", ".")))
                if not spelling.startswith("/")
                else None
            )
            path = tree.root / (inner if inner is not None else spelling)
            if path.exists():
                found.append(Path(os.path.normpath(path)))
    return found


def _by_split(file: Path, by_key: Mapping[str, list[Path]], notes: list[str]) -> list[tuple[Path, Split | None]]:
    """The images with their splits, train first; a val or test split that is the same as train is left out."""
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
    """The label file of each image: in labels/ for images/, in any case, else the one of its name that is nearest."""
    found: dict[Path, Path] = {}
    for tree in roots:
        missing: list[str] = []
        for image in images:
            if image in found:
                continue
            expected = labels_path(image)
            inner = tree.resolved(expected.relative_to(tree.root).as_posix()) if expected.is_relative_to(tree.root) else None
            if inner is not None:
                found[image] = tree.root / inner
            elif expected.is_file():
                found[image] = expected
            elif image.is_relative_to(tree.root):
                missing.append(image.relative_to(tree.root).as_posix())
        taken = {path.relative_to(tree.root).as_posix() for path in found.values() if path.is_relative_to(tree.root)}
        rest = [path for path in label_files(tree) if path not in taken]
        for path, name in pair(rest, missing).image_of.items():
            found[tree.root / name] = tree.root / path
    return found


def _keypoints(stated: Plain) -> int:
    """How many numbers of keypoints a line has, by `kpt_shape: [17, 3]`."""
    sizes = [whole(value) for value in stated if isinstance(value, str)] if isinstance(stated, list) else []
    return sizes[0] * sizes[1] if len(sizes) == 2 and sizes[0] and sizes[1] else 0


def _file(tree: Tree, description: str, written: str) -> Path:
    """A file that obj.data names: beside it, whatever folder is written."""
    checked_path(written, f"'{tree.root / description}'")
    folder = description.rpartition("/")[0]
    plain = written.replace("\\", "/")
    for place in (plain, plain.removeprefix("data/"), plain.rpartition("/")[2]):
        inner = tree.resolved(f"{folder}/{place}" if folder else place) or tree.resolved(place)
        if inner is not None:
            return tree.root / inner
    return tree.root / folder / plain


def _words(path: Path) -> list[str]:
    return [line.strip() for line in read_text(path).lines if line.strip()]


def _names_file(tree: Tree) -> str | None:
    """The file of class names that lies highest in the folder."""
    candidates = [path for path in tree.with_suffix(".txt", ".names") if path.count("/") <= _NAMES_DEPTH]
    named = [path for path in candidates if path.rpartition("/")[2].lower() in NAMES_FILES or path.lower().endswith(".names")]
    rank = {name: i for i, name in enumerate(NAMES_FILES)}
    return min(
        named, key=lambda path: (path.count("/"), rank.get(path.rpartition("/")[2].lower(), len(rank)), path), default=None
    )
