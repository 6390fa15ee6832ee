"""What a run computes on: device, processes, number format; and whether the recipe fits them."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import torch
from accelerate import Accelerator

from mobilenets.data.samples import Dataset
from mobilenets.errors import DataError, MissingExtraError, RecipeError
from mobilenets.training.recipe import Recipe


def accelerator(recipe: Recipe, run: Path, device: str) -> Accelerator:
    """The device and the processes of this run, as `torchrun` or `accelerate launch` set them up.

    Raises:
        MissingExtraError: the recipe asks for TensorBoard and it is not installed.
        RecipeError: the device is not known.
    """
    if device not in ("auto", "cpu"):
        raise RecipeError(f"device '{device}' is neither 'auto' nor 'cpu'", hint="choose among GPUs with CUDA_VISIBLE_DEVICES")
    if recipe.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise MissingExtraError("tensorboard", "train")
    on_cpu = device == "cpu" or not torch.accelerator.is_available()
    return Accelerator(
        cpu=on_cpu,
        mixed_precision="no",  # the loop chooses the number format by itself
        log_with="tensorboard" if recipe.tensorboard else None,
        project_dir=run,
    )


def autocast_type(recipe: Recipe, device: torch.device) -> torch.dtype | None:
    """What convolutions compute in, or None for float32 throughout.

    "auto" is bfloat16 on GPUs and CPUs that compute it natively, float16 on other CUDA devices, and float32 elsewhere.
    """
    if recipe.precision == "fp32":
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


def local_processes() -> int:
    """Training processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def check(dataset: Dataset, recipe: Recipe, accelerator: Accelerator) -> None:
    """Refuse what cannot be trained.

    Raises:
        DataError: there is nothing to learn from.
        RecipeError: the recipe does not fit the machine.
    """
    if not dataset.split("train"):
        raise DataError(f"'{dataset.name}' has no training images")
    if dataset.task == "classify" and len(dataset.labels) < 2:
        raise DataError(f"'{dataset.name}' has one class, '{dataset.labels[0]}'; a classifier needs two")
    parts = recipe.accumulate * accelerator.num_processes
    if recipe.batch % parts:
        raise RecipeError(
            f"batch={recipe.batch} does not divide into accumulate={recipe.accumulate} parts for each of "
            f"{accelerator.num_processes} processes"
        )
    if recipe.batch // parts < 2 and not recipe.freeze_norms:
        raise RecipeError(
            f"batch={recipe.batch} leaves 1 image for each of {parts} parts, and batch norm needs two",
            hint="a larger batch, a smaller accumulate, or freeze_norms=true",
        )
    if recipe.sync_norms and accelerator.device.type != "cuda":
        raise RecipeError(
            "sync_norms=true needs GPUs", hint="leave it out; with accumulate each part has its own statistics too"
        )
