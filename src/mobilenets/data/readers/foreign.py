"""Recognizes formats that cannot be read, so that the error names them and says what to do instead of guessing."""

from __future__ import annotations

import re
from itertools import islice

from mobilenets.data.documents import head_text
from mobilenets.data.source import Source
from mobilenets.data.text import counted, some
from mobilenets.data.walk import Tree, suffix_of

# fmt: off
_UNREAD = {  # extension: name, what to do
    ".heic": ("HEIC image", "convert them to JPEG or PNG first, for instance with: magick mogrify -format jpg *.HEIC"),
    ".heif": ("HEIF image", "convert them to JPEG or PNG first, for instance with: magick mogrify -format jpg *.HEIF"),
    ".dcm":  ("DICOM image", "convert them to 8-bit PNG first, with the window that a radiologist would use"),
    ".dicom": ("DICOM image", "convert them to 8-bit PNG first, with the window that a radiologist would use"),
    ".nii":  ("NIfTI volume", "save the slices as PNG first"),
    ".gz":   ("compressed file", "unpack them first; of NIfTI volumes, save the slices as PNG"),
    ".cr2":  ("raw photo", "develop them to JPEG or PNG first"),
    ".nef":  ("raw photo", "develop them to JPEG or PNG first"),
    ".arw":  ("raw photo", "develop them to JPEG or PNG first"),
    ".dng":  ("raw photo", "develop them to JPEG or PNG first"),
    ".cr3":  ("raw photo", "develop them to JPEG or PNG first"),
    ".raf":  ("raw photo", "develop them to JPEG or PNG first"),
    ".orf":  ("raw photo", "develop them to JPEG or PNG first"),
    ".rw2":  ("raw photo", "develop them to JPEG or PNG first"),
    ".dds":  ("DirectDraw texture", "convert them to PNG first"),
    ".exr":  ("OpenEXR image", "convert them to PNG of 8 bits first"),
    ".webm": ("video", "save frames as JPEG first, for instance with: ffmpeg -i video.webm -vf fps=1 frames/%05d.jpg"),
    ".jxl":  ("JPEG XL image", "convert them to JPEG or PNG first"),
    ".svg":  ("SVG drawing", "render them to PNG first"),
    ".psd":  ("Photoshop file", "export them as PNG first"),
    ".pdf":  ("PDF file", "save the pages as PNG first"),
    ".npy":  ("NumPy array", "save the images as PNG first"),
    ".npz":  ("NumPy archive", "save the images as PNG first"),
    ".mat":  ("MATLAB file", "save the images as PNG first"),
    ".h5":   ("HDF5 file", "save the images as PNG first"),
    ".hdf5": ("HDF5 file", "save the images as PNG first"),
    ".mp4":  ("video", "save frames as JPEG first, for instance with: ffmpeg -i video.mp4 -vf fps=1 frames/%05d.jpg"),
    ".avi":  ("video", "save frames as JPEG first, for instance with: ffmpeg -i video.avi -vf fps=1 frames/%05d.jpg"),
    ".mov":  ("video", "save frames as JPEG first, for instance with: ffmpeg -i video.mov -vf fps=1 frames/%05d.jpg"),
    ".zip":  ("zip archive", "unpack it first"),
    ".7z":   ("7z archive", "unpack it first"),
    ".rar":  ("RAR archive", "unpack it first"),
    ".tgz":  ("compressed tar file", "unpack it first"),
    ".tfrecord": ("TFRecord file", "export the dataset as Pascal VOC, COCO or YOLO instead"),
    ".record": ("TFRecord file", "export the dataset as Pascal VOC, COCO or YOLO instead"),
    ".parquet": ("Parquet file", "save the images as files first, with a CSV of path,label"),
    ".arrow": ("Arrow file", "save the images as files first, with a CSV of path,label"),
    ".mdb":  ("LMDB database", "save the images as files first, with a CSV of path,label"),
    ".pkl":  ("pickle", "save the images as files first; pickles are never opened, because they run code"),
    ".xlsx": ("Excel sheet", "save the sheet as CSV first"),
    ".xls":  ("Excel sheet", "save the sheet as CSV first"),
}
_ELSE = "export the annotations as COCO, YOLO or Pascal VOC instead"
_NUMBER = r"-?\d{1,9}(\.\d{0,20})?"
_SIGNS = (  # text at the beginning of a JSON file: the program that writes such files
    (re.compile(r'"(_via_settings|_via_img_metadata|region_attributes)"'), "VGG Image Annotator's JSON"),
    (re.compile(r'"coordinates"\s{0,9}:\s{0,9}\{'), "CreateML's JSON"),
    (re.compile(r'"(classTitle|geometryType)"'), "Supervisely's JSON"),
    (re.compile(r'"_cls"\s{0,9}:'), "FiftyOne's JSON"),
    (re.compile(r'"classes"\s{0,9}:\s{0,9}\[[^]]{0,3000}\],\s{0,9}"labels"\s{0,9}:\s{0,9}\{'), "FiftyOne's JSON"),
    (re.compile(r'"categories"\s{0,9}:\s{0,9}\{\s{0,9}"label"'), "Datumaro's JSON"),
    (re.compile(r'"(bounding_box|slot_names)"\s{0,9}:'), "Darwin's JSON"),
    (re.compile(r'"box2d"\s{0,9}:\s{0,9}\{'), "BDD100K's JSON"),
    (re.compile(r'^\s{0,9}\[\s{0,9}\{[^{}]{0,400}"(bbox|segmentation)"[^{}]{0,400}"score"'), "COCO's list of results"),
)
_LINES = (  # pattern of a line of a text file beside the images: what such files are, what to do
    (re.compile(rf"[A-Za-z_-]+ {_NUMBER} -?\d( {_NUMBER}){{12,13}}"), "KITTI's labels", _ELSE),
    (re.compile(rf"({_NUMBER} ){{8}}[A-Za-z][\w-]* \d"), "DOTA's rotated boxes", _ELSE),
    (re.compile(rf"[^\W\d][\w -]*( {_NUMBER}){{4}}\s*(\n|$)"), "boxes with names, such as those of OIDv4 ToolKit",
     "write them as a CSV with the columns path,x0,y0,x1,y1,label"),
    (re.compile(r"\S+\.(jpg|png)\n\d+\n\d+( \d+){3,9}"), "WIDER FACE's list of boxes", _ELSE),
    (re.compile(r"\d+( \d{2,5}(\.\d+)?){4}\s*(\n|$)"), "YOLO's labels with px in place of shares of the image",
     "divide x and width by the image's width, y and height by its height"),
)
# fmt: on
_GLANCED = 20
_PHOTOS = tuple(suffix for suffix, (noun, _) in _UNREAD.items() if noun in ("HEIC image", "raw photo", "JPEG XL image"))


def unread_images(tree: Tree) -> tuple[str, str] | None:
    """The kind of files that a folder contains instead of images, and what to do; None if they are of no known kind."""
    for suffix, n in tree.counts().items():
        if suffix in _UNREAD:
            noun, hint = _UNREAD[suffix]
            return f"{counted(n, noun)} ({suffix}), which {'is' if n == 1 else 'are'} not read", hint
    bare = tree.with_suffix("")
    if bare and _is_dicom(tree, bare[0]):
        return (
            f"{counted(len(bare), 'DICOM image')} without an extension, such as {some(bare[:1])}, which are not read",
            _UNREAD[".dcm"][1],
        )
    return None


def unread_beside(tree: Tree) -> str:
    """The kind of unreadable files beside a folder's images, and what to do; "" if they are of no known kind."""
    suffix = next((suffix for suffix in tree.counts() if suffix in _UNREAD), "")
    if not suffix:
        return ""
    noun, hint = _UNREAD[suffix]
    n = tree.counts()[suffix]
    return (
        f"{counted(n, noun)} ({suffix}) {'is' if n == 1 else 'are'} not read: {hint.replace('the images', 'images and masks')}"
    )


def unread_photos(tree: Tree) -> str:
    """How many photos of a folder are not read, and what to do; "" if there are none, or each has a copy that is read."""
    read = {path.rpartition(".")[0] for path in tree.images()}
    alone = [path for path in tree.with_suffix(*_PHOTOS) if path.rpartition(".")[0] not in read]
    if not alone:
        return ""
    noun, hint = _UNREAD[suffix_of(alone[0])]
    n = sum(_UNREAD[suffix_of(path)][0] == noun for path in alone)
    return f"{counted(n, noun)}, such as {some(alone[:1])}, {'is' if n == 1 else 'are'} not read and left out: {hint}"


def unread_file(source: Source) -> tuple[str, str] | None:
    """The kind of a file that is not read, and what to do; None if it is of no known kind."""
    if source.suffix in _UNREAD:
        noun, hint = _UNREAD[source.suffix]
        return f"a {noun}, which is not read", hint
    sign = _json_sign(head_text(source.path)) if source.suffix == ".json" else ""
    return (f"{sign}, which is not read", _ELSE) if sign else None


def foreign_annotations(tree: Tree) -> tuple[str, str] | None:
    """The kind of annotations in a folder that no reader reads, and what to do; None if there are none."""
    for path in islice(tree.with_suffix(".json"), _GLANCED):
        sign = _json_sign(head_text(tree.root / path))
        if sign:
            return f"'{tree.root / path}' looks like {sign}, which is not read", _ELSE
    for path in islice(tree.with_suffix(".txt"), _GLANCED):
        text = head_text(tree.root / path)
        for line, writer, way_out in _LINES:
            if line.match(text):
                return f"'{tree.root / path}' looks like {writer}, which are not read", way_out
    return None


def _json_sign(text: str) -> str:
    return next((writer for sign, writer in _SIGNS if sign.search(text)), "")


def _is_dicom(tree: Tree, path: str) -> bool:
    try:
        with (tree.root / path).open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False
