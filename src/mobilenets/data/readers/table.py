"""`FORMATS`: all formats of datasets that are read, in the order in which they are tried.

A new format is one reader module that ends with its `FORMAT`, and one line here.
"""

from __future__ import annotations

from mobilenets.data.addresses import file_name, is_remote
from mobilenets.data.readers import (
    box_lists,
    cityscapes,
    coco,
    cvat,
    folder_lists,
    folders,
    label_studio,
    labelme,
    lists,
    mask_coco,
    mask_folders,
    mask_instances,
    mask_runs,
    mask_voc,
    mask_yolo,
    tiny_imagenet,
    voc,
    yolo,
)
from mobilenets.data.readers.elpv import read_elpv
from mobilenets.data.readers.format import Format
from mobilenets.data.readers.shards import expand, read_shards, shard_files
from mobilenets.data.source import Source
from mobilenets.table import Table


def _is_shards(source: Source) -> bool:
    if source.tree is not None:
        return bool(source.tree.with_suffix(".tar")) and len(source.tree.folders) == 1
    shards = shard_files(source.text) if source.suffix == ".txt" else expand(source.text)
    return bool(shards) and all((file_name(name) if is_remote(name) else name).lower().endswith(".tar") for name in shards)


# fmt: off
FORMATS: Table[Format] = Table("data format", {
    "elpv":       Format("the name elpv", lambda source: source.text == "elpv", lambda source, asked: read_elpv()),
    "box-list":   box_lists.FORMAT,
    "run-lengths": mask_runs.FORMAT,
    "list":       lists.FORMAT,
    "shards":     Format("tar shards, as a folder, a glob or train-{000..007}.tar, here or at an http(s) address", _is_shards,
                         lambda source, asked: read_shards(source.text, asked), None, ("group", "classes", "ignore")),
    "cvat":       cvat.BOXES,
    "labelme":    labelme.BOXES,
    "label-studio": label_studio.BOXES,
    "voc":        voc.FORMAT,
    "coco":       coco.FORMAT,
    "yolo":       yolo.FORMAT,
    "box-lists":  folder_lists.BOXES,
    "cityscapes": cityscapes.FORMAT,
    "voc-masks":  mask_voc.FORMAT,
    "coco-masks": mask_coco.FORMAT,
    "yolo-masks": mask_yolo.FORMAT,
    "cvat-masks": cvat.MASKS,
    "labelme-masks": labelme.MASKS,
    "label-studio-masks": label_studio.MASKS,
    "instances":  mask_instances.FORMAT,
    "masks":      mask_folders.FORMAT,
    "label-studio-choices": label_studio.CHOICES,
    "tiny-imagenet": tiny_imagenet.FORMAT,
    "lists":      folder_lists.LABELS,
    "folder":     folders.FORMAT,
})
# fmt: on
