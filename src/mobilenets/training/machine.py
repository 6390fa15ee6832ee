"""The numeric precision that a run uses, and checks that the recipe fits the machine."""

from __future__ import annotations

import importlib.util

import torch

from mobilenets.data.samples import Dataset
from mobilenets.errors import DataError, MissingExtraError, RecipeError
from mobilenets.training.ranks import Ranks
from mobilenets.training.recipe import Recipe


def autocast_type(recipe: Recipe, device: torch.device) -> torch.dtype | None:
    """The type that convolutions compute in, or None for float32 everywhere.

    "auto" is bfloat16 on GPUs and CPUs that support it natively, float16 on other CUDA devices, and float32 elsewhere.
    Quantization-aware training uses float32, because 16-bit floats would round more coarsely than the 8-bit steps.
    """
    if recipe.precision == "fp32" or recipe.quantize == "int8":
        return None
    if recipe.precision == "bf16":
        return torch.bfloat16
    if recipe.precision == "fp16":
        return torch.float16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        return torch.bfloat16
    return None


def check(dataset: Dataset, recipe: Recipe, ranks: Ranks) -> None:
    """Check that training is possible.

    Raises:
        DataError: there are no images to train on.
        RecipeError: the recipe does not fit the machine.
        MissingExtraError: the recipe asks for TensorBoard, which is not installed.
    """
    if recipe.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise MissingExtraError("tensorboard", "train")
    if not dataset.split("train"):
        raise DataError(f"'{dataset.name}' has no training images")
    if dataset.task == "classify" and len(dataset.labels) < 2:
        raise DataError(f"'{dataset.name}' has one class, '{dataset.labels[0]}'; a classifier needs two")
    parts = recipe.accumulate * ranks.count
    if recipe.batch % parts:
        raise RecipeError(
            f"batch={recipe.batch} does not divide into accumulate={recipe.accumulate} parts for each of "
            f"{ranks.count} processes"
        )
    if recipe.batch // parts < 2 and not recipe.freeze_norms and recipe.quantize == "none":
        raise RecipeError(
            f"batch={recipe.batch} leaves 1 image for each of {parts} parts, and batch norm needs two",
            hint="a larger batch, a smaller accumulate, or freeze_norms=true",
        )
    if recipe.sync_norms and ranks.device.type != "cuda":
        raise RecipeError(
            "sync_norms=true needs GPUs", hint="leave it out; with accumulate each part has its own statistics too"
        )
