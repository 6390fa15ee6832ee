"""MobileNets, from a folder of images to a model running on a phone. Names are imported when they are first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from mobilenets.errors import missing_extra

if TYPE_CHECKING:
    from mobilenets.checkpoint import load, save
    from mobilenets.data.open import open_dataset
    from mobilenets.evaluation.evaluators import evaluate
    from mobilenets.exporters.onnx import export_onnx
    from mobilenets.exporters.table import export
    from mobilenets.model import Model, create
    from mobilenets.runtime.classify import Classification
    from mobilenets.runtime.detect.decode import Detections
    from mobilenets.runtime.predictor import Predictor
    from mobilenets.runtime.result import Result
    from mobilenets.runtime.segment.decode import Segmentation
    from mobilenets.specs.deeplab import deeplab
    from mobilenets.specs.families import backbone
    from mobilenets.specs.lraspp import lraspp
    from mobilenets.specs.model import InputContract, ModelSpec
    from mobilenets.specs.ssd import ssd, ssdlite
    from mobilenets.training.loop import train
    from mobilenets.training.recipe import Recipe
    from mobilenets.training.recipes import recipe
    from mobilenets.training.step import Step

__all__ = [
    "Classification",
    "Detections",
    "InputContract",
    "Model",
    "ModelSpec",
    "Predictor",
    "Recipe",
    "Result",
    "Segmentation",
    "Step",
    "backbone",
    "create",
    "deeplab",
    "evaluate",
    "export",
    "export_onnx",
    "load",
    "lraspp",
    "open_dataset",
    "recipe",
    "save",
    "ssd",
    "ssdlite",
    "train",
]

_HOMES = {
    "Classification": "mobilenets.runtime.classify",
    "Detections": "mobilenets.runtime.detect.decode",
    "InputContract": "mobilenets.specs.model",
    "Model": "mobilenets.model",
    "ModelSpec": "mobilenets.specs.model",
    "Predictor": "mobilenets.runtime.predictor",
    "Recipe": "mobilenets.training.recipe",
    "Result": "mobilenets.runtime.result",
    "Segmentation": "mobilenets.runtime.segment.decode",
    "Step": "mobilenets.training.step",
    "backbone": "mobilenets.specs.families",
    "create": "mobilenets.model",
    "deeplab": "mobilenets.specs.deeplab",
    "evaluate": "mobilenets.evaluation.evaluators",
    "export": "mobilenets.exporters.table",
    "export_onnx": "mobilenets.exporters.onnx",
    "load": "mobilenets.checkpoint",
    "lraspp": "mobilenets.specs.lraspp",
    "open_dataset": "mobilenets.data.open",
    "recipe": "mobilenets.training.recipes",
    "save": "mobilenets.checkpoint",
    "ssd": "mobilenets.specs.ssd",
    "ssdlite": "mobilenets.specs.ssd",
    "train": "mobilenets.training.loop",
}


def __getattr__(name: str) -> object:
    """A public name, imported on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'mobilenets' has no attribute '{name}'")
    try:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        raise missing_extra(error) or error from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return __all__
