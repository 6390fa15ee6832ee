"""Mutants of every file that describes a dataset: each is read, or refused in one line; never a traceback, never without end.

    python benchmarks/fuzz_datasets.py --mutants 10000

Prints a line per kind of file: mutants read, mutants refused, and every other outcome with the seed that repeats it.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from PIL import Image

from mobilenets.data.open import fingerprint, open_dataset
from mobilenets.data.writers.lists import write_splits
from mobilenets.errors import MobileNetsError
from mobilenets.specs.model import Task

SECONDS = 20
"""After which a mutant counts as one without end."""

# fmt: off
TOKENS = (
    b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xff", b"\x80\x81", b"\xc4\xe3", b"\r", b"\n", b"\x85", b"\xe2\x80\xa8", b"\x1b[31m",
    b"9" * 400, b"9" * 5000, b"1e999", b"-1e308", b"nan", b"NaN", b"Infinity", b"-1", b"0.5", b"1.0", b"true", b"null",
    b"''", b'"',
    b"[" * 2000, b"{" * 300, b"]", b"}", b"<", b"</a>", b"<!ENTITY a 'b'>", b"<a>" * 300, b"&a;", b"&x [*x]", b"*x",
    b": ", b"- ", b",",
    b";", b"\t", b"../" * 30, b"/", b"\\", b"%00", b"%2e%2e", b"\\ud800", b"\\u0000", b"a" * 5000, b" " * 5000, b"1_0",
    "\u0663".encode(), b"!!python/object:os.system", b"<<: *x", b"no", b"007", b"=cmd",
)
# fmt: on


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of description.

    Args:
        file: that is mutated.
        text: of that file.
        others: further files of the dataset.
        source: what is opened.
        task: for which.
        masks: names of files of masks to write.
    """

    file: str
    text: str
    others: tuple[tuple[str, str], ...] = ()
    source: str = "."
    task: Task | None = None
    masks: tuple[str, ...] = ()


_BOX = "<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
_SIZE = "<size><width>16</width><height>12</height></size>"
_OBJECT = f"<object><name>cat</name><difficult>0</difficult>{_BOX}</object>"
_HEAD = '<?xml version="1.0" encoding="utf-8"?>'
_VOC = f"{_HEAD}<annotation><filename>a.png</filename>{_SIZE}{_OBJECT}</annotation>"
_CVAT = (
    f"{_HEAD}<annotations><version>1.1</version><meta><task><labels><label><name>cat</name></label></labels></task></meta>"
    '<image id="0" name="a.png" width="16" height="12"><box label="cat" xtl="1" ytl="2" xbr="5" ybr="6"/>'
    '<polygon label="cat" points="1.0,2.0;3.0,4.0;5.0,1.0"/></image></annotations>'
)
_POLYGON: dict[str, object] = {"bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0, "segmentation": [[1, 1, 5, 1, 5, 6]]}
_RUNS: dict[str, object] = {"bbox": [1, 2, 3, 4], "iscrowd": 1, "segmentation": {"size": [12, 16], "counts": [0, 192]}}
_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAMAAAACCAAAAAC4HznGAAAAEElEQVR4nGNkYGRgYGBgBAAAFwAETLEJ3AAAAABJRU5ErkJggg=="  # 3 x 2
_BRUSH = [0, 0, 3, 0, 57, 27, 254, 143, 0, 183, 255, 140, 192, 45, 255, 227, 48, 11, 127, 252, 7, 140, 0]  # 3 x 3 px of 16 x 12
_COCO = json.dumps(
    {
        "images": [{"id": i, "file_name": name, "width": 16, "height": 12} for i, name in ((1, "a.png"), (2, "b.png"))],
        "categories": [{"id": 1, "name": "cat", "supercategory": "pet"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, **_POLYGON},
            {"id": 2, "image_id": 2, "category_id": 2, **_RUNS},
        ],
    }
)
_LABELME = json.dumps(
    {
        "flags": {},
        "shapes": [
            {"label": "cat", "points": [[1, 2], [5, 6]], "group_id": None, "shape_type": "rectangle"},
            {"label": "dog", "points": [[1.5, 1], [5, 1], [5, 6]], "group_id": 1, "shape_type": "polygon"},
            {"label": "cat", "points": [[4, 4], [4, 6]], "shape_type": "circle"},
            {"label": "dog", "points": [[4, 2], [6, 3]], "shape_type": "mask", "mask": _PNG},
        ],
        "imagePath": "..\\images\\a.png",
        "imageWidth": 16,
        "imageHeight": 12,
    }
)
_ON: dict[str, object] = {"original_width": 16, "original_height": 12, "image_rotation": 0}
_LABEL_STUDIO = json.dumps(
    [
        {
            "id": 1,
            "data": {"image": "/data/upload/1/0a1b2c3d-a.png"},
            "annotations": [
                {
                    "ground_truth": False,
                    "was_cancelled": False,
                    "lead_time": 1.5,
                    "result": [
                        {
                            "value": {"x": 10, "y": 20.5, "width": 30, "height": 40, "rotation": 9, "rectanglelabels": ["cat"]},
                            **_ON,
                        },
                        {"value": {"points": [[1, 2], [30, 2], [30, 40]], "polygonlabels": ["dog"]}, **_ON},
                        {"value": {"x": 50, "y": 50, "radiusX": 9, "radiusY": 7, "ellipselabels": ["cat"]}, **_ON},
                        {"value": {"format": "rle", "rle": _BRUSH, "brushlabels": ["dog"]}, **_ON},
                        {"value": {"choices": ["indoors"]}, "type": "choices"},
                    ],
                }
            ],
        },
        {"id": 2, "image": "images/b.png", "choice": "outdoors"},
    ]
)
_YAML = "path: .\ntrain: images\nval: images\nnc: 2\nnames:\n  0: cat\n  1: 'dog'\n"
_YOLO = "0 0.5 0.5 0.25 0.5\n1 0.2 0.2 0.3 0.2 0.3 0.4\n"
_NAMED = "name,r,g,b\nsky,0,0,0\nroad,1,1,1\n"
_DARKNET = "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\n"
_LIST = "path,label,split,weight,group\nimages/a.png,cat,train,1,g\nimages/b.png,dog,val,2.5,h\n"
_RUN_LENGTHS = "ImageId,EncodedPixels,split\na.png,15 3 27 3 39 3,train\na.png,1 1,train\nb.png,,val\n"
_SPLITS = "path,label,split,weight,group,name,offset,size\nimages/a.png,cat,train,1,,a,0,9\nimages/b.png,dog,val,1,,b,,\n"
_BOXES = "filename,width,height,class,xmin,ymin,xmax,ymax\na.png,16,12,cat,1,2,3,4\nb.png,16,12,dog,1,2,3,4\n"
_MASKS = ("masks/a.png", "masks/b.png")

KINDS = {
    "voc.xml": Kind("Annotations/a.xml", _VOC),
    "voc sets": Kind("ImageSets/Main/train.txt", "a\nb  1\nc.jpg\n", (("Annotations/a.xml", _VOC),)),
    "cvat.xml": Kind("annotations.xml", _CVAT, source="annotations.xml"),
    "coco.json": Kind("coco.json", _COCO, source="coco.json"),
    "coco masks": Kind("coco.json", _COCO, source="coco.json", task="segment"),
    "labelme.json": Kind("json/a.json", _LABELME),
    "labelme masks": Kind("json/a.json", _LABELME, task="segment"),
    "label studio": Kind("project.json", _LABEL_STUDIO, source="project.json"),
    "label studio masks": Kind("project.json", _LABEL_STUDIO, task="segment"),
    "label studio choices": Kind("project.json", _LABEL_STUDIO, task="classify"),
    "data.yaml": Kind("data.yaml", _YAML, (("labels/a.txt", _YOLO),), source="data.yaml"),
    "yolo.txt": Kind("labels/a.txt", _YOLO, (("data.yaml", _YAML),)),
    "classes.txt": Kind("classes.txt", "cat\ndog\n", (("labels/a.txt", _YOLO),)),
    "obj.data": Kind(
        "obj.data",
        _DARKNET,
        (("obj.names", "cat\ndog\n"), ("train.txt", "data/images/a.png\n"), ("images/a.txt", _YOLO)),
        source="obj.data",
    ),
    "list.csv": Kind("list.csv", _LIST, source="list.csv"),
    "runs.csv": Kind("runs.csv", _RUN_LENGTHS, source="runs.csv"),
    "runs with classes": Kind("runs.csv", _RUN_LENGTHS.replace("ImageId", "Image_Label").replace(".png", ".png_1")),
    "splits.csv": Kind("splits.csv", _SPLITS, source="splits.csv"),
    "boxes.csv": Kind("boxes.csv", _BOXES, source="boxes.csv"),
    "boxes in a folder": Kind("train_labels.csv", _BOXES),
    "labels in a folder": Kind("train.csv", "id,label\na,cat\nb,dog\n"),
    "palette.csv": Kind("palette.csv", _NAMED, masks=_MASKS),
    "labelmap.txt": Kind("labelmap.txt", "# label\nsky:0,0,0::\nroad: 1, 1, 1\n7: car\n", masks=_MASKS),
}


def mutant(data: bytes, random_: random.Random) -> bytes:
    """The bytes with one to four changes."""
    changed = bytearray(data)
    for _ in range(random_.choice((1, 1, 1, 2, 3, 4))):
        place = random_.randrange(len(changed) + 1)
        end = min(len(changed), place + random_.choice((1, 2, 5, 20)))
        kind = random_.randrange(8)
        if kind == 0 and len(changed) > place:
            changed[place] = random_.randrange(256)
        elif kind == 1:
            del changed[place:end]
        elif kind == 2:
            changed[place:place] = changed[place:end] * random_.choice((1, 2, 50))
        elif kind == 3:
            changed[place:end] = random_.choice(TOKENS)
        elif kind == 4:
            changed[place:place] = random_.choice(TOKENS)
        elif kind == 5:
            del changed[place:]
        elif kind == 6 and len(changed) > place:
            changed[place] ^= 1 << random_.randrange(8)
        else:
            encoding = random_.choice(("utf-16", "utf-16-le", "utf-32", "cp1252", "gb18030", "utf-7"))
            changed = bytearray(bytes(changed).decode("utf-8", "replace").encode(encoding, "replace"))
    return bytes(changed)


def write(folder: Path, kind: Kind) -> None:
    """The dataset as it should be."""
    for name in ("images/a.png", "images/b.png", *kind.masks):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L" if name in kind.masks else "RGB", (16, 12)).save(path)
    if kind.masks:
        mask = Image.new("L", (16, 12))
        mask.paste(1, (0, 0, 8, 12))
        mask.save(folder / kind.masks[0])
    for name, text in ((kind.file, kind.text), *kind.others):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def outcome(folder: Path, kind: Kind, out: Path) -> str:
    """What reading the dataset comes to: "read", "refused", or the name of what else it raised."""
    try:
        dataset = open_dataset(folder / kind.source, task=kind.task)
        fingerprint(dataset)
        json.dumps([dataset.labels, dataset.notes, [sample.name for sample in dataset.samples]], ensure_ascii=False).encode()
        write_splits(dataset, out)
        for sample in dataset.samples:
            if sample.mask is not None:
                sample.mask.read()
    except MobileNetsError as error:
        return "refused" if len(f"{error}{error.hint}") < 8000 and "\n" not in str(error) else "refused at length"
    except _EndlessError:
        return "no end"
    except BaseException as error:
        return type(error).__name__
    return "read"


class _EndlessError(BaseException):
    """A mutant took too long."""


def _alarm(number: int, frame: FrameType | None) -> None:
    raise _EndlessError


def run(name: str, mutants: int, seed: int, *, say: Callable[[str], object] = print) -> Counter[str]:
    """The outcomes of mutants of one kind."""
    kind = KINDS[name]
    counts: Counter[str] = Counter()
    started = time.monotonic()
    signal.signal(signal.SIGALRM, _alarm)
    with tempfile.TemporaryDirectory() as place:
        folder, out = Path(place, "set"), Path(place, "splits.csv")
        write(folder, kind)
        first = outcome(folder, kind, out)
        assert first == "read", f"{name}: the file as it should be is {first}"
        file = folder / kind.file
        data = file.read_bytes()
        for i in range(mutants):
            file.write_bytes(mutant(data, random.Random(f"{seed} {name} {i}")))
            signal.alarm(SECONDS)
            result = outcome(folder, kind, out)
            signal.alarm(0)
            counts[result] += 1
            if result not in ("read", "refused") and counts[result] <= 5:
                say(f"{name}: mutant {i} of seed {seed}: {result}")
    rest = {key: n for key, n in counts.items() if key not in ("read", "refused")}
    seconds = time.monotonic() - started
    say(f"{name:20} {counts['read']:6} read  {counts['refused']:6} refused  other {rest or 'none'}  {seconds:.0f} s")
    return counts


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=1000, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    arguments = parser.parse_args()
    outcomes = [run(name, arguments.mutants, arguments.seed) for name in arguments.kinds]
    if any(key not in ("read", "refused") for counts in outcomes for key in counts):
        sys.exit(1)


if __name__ == "__main__":
    main()
