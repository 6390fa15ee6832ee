"""MobileNets, from a folder of images to a model running on a phone. Names are imported when they are first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from mobilenets.errors import missing_extra

if TYPE_CHECKING:
    from mobilenets.checkpoint import save
    from mobilenets.data.open import open_dataset
    from mobilenets.data.samples import Dataset
    from mobilenets.errors import (
        CheckpointError,
        DataError,
        DocumentError,
        ExportError,
        GraphError,
        ImageError,
        MissingExtraError,
        MobileNetsError,
        RecipeError,
        SpecError,
        TrainingError,
        UnknownNameError,
        UsageError,
        WeightsError,
    )
    from mobilenets.evaluation.evaluators import evaluate
    from mobilenets.exporters.compared import Labeled
    from mobilenets.exporters.onnx import export_onnx
    from mobilenets.exporters.quantize import quantize
    from mobilenets.exporters.table import export
    from mobilenets.model import Model, create
    from mobilenets.runtime.classify import Classification
    from mobilenets.runtime.detect.decode import Detections
    from mobilenets.runtime.manifest import Manifest
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
    from mobilenets.weights.load import load

__all__ = [
    "CheckpointError",
    "Classification",
    "DataError",
    "Dataset",
    "Detections",
    "DocumentError",
    "ExportError",
    "GraphError",
    "ImageError",
    "InputContract",
    "Labeled",
    "Manifest",
    "MissingExtraError",
    "MobileNetsError",
    "Model",
    "ModelSpec",
    "Predictor",
    "Recipe",
    "RecipeError",
    "Result",
    "Segmentation",
    "SpecError",
    "Step",
    "TrainingError",
    "UnknownNameError",
    "UsageError",
    "WeightsError",
    "backbone",
    "create",
    "deeplab",
    "evaluate",
    "export",
    "export_onnx",
    "load",
    "lraspp",
    "open_dataset",
    "quantize",
    "recipe",
    "save",
    "ssd",
    "ssdlite",
    "train",
]

_HOMES = {
    "CheckpointError": "mobilenets.errors",
    "Classification": "mobilenets.runtime.classify",
    "DataError": "mobilenets.errors",
    "Dataset": "mobilenets.data.samples",
    "Detections": "mobilenets.runtime.detect.decode",
    "DocumentError": "mobilenets.errors",
    "ExportError": "mobilenets.errors",
    "GraphError": "mobilenets.errors",
    "ImageError": "mobilenets.errors",
    "InputContract": "mobilenets.specs.model",
    "Labeled": "mobilenets.exporters.compared",
    "Manifest": "mobilenets.runtime.manifest",
    "MissingExtraError": "mobilenets.errors",
    "MobileNetsError": "mobilenets.errors",
    "Model": "mobilenets.model",
    "ModelSpec": "mobilenets.specs.model",
    "Predictor": "mobilenets.runtime.predictor",
    "Recipe": "mobilenets.training.recipe",
    "RecipeError": "mobilenets.errors",
    "Result": "mobilenets.runtime.result",
    "Segmentation": "mobilenets.runtime.segment.decode",
    "SpecError": "mobilenets.errors",
    "Step": "mobilenets.training.step",
    "TrainingError": "mobilenets.errors",
    "UnknownNameError": "mobilenets.errors",
    "UsageError": "mobilenets.errors",
    "WeightsError": "mobilenets.errors",
    "backbone": "mobilenets.specs.families",
    "create": "mobilenets.model",
    "deeplab": "mobilenets.specs.deeplab",
    "evaluate": "mobilenets.evaluation.evaluators",
    "export": "mobilenets.exporters.table",
    "export_onnx": "mobilenets.exporters.onnx",
    "load": "mobilenets.weights.load",
    "lraspp": "mobilenets.specs.lraspp",
    "open_dataset": "mobilenets.data.open",
    "quantize": "mobilenets.exporters.quantize",
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
