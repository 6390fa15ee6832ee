"""Validation between epochs: images preprocessed as in the shipped predictor, through the network in training."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mobilenets.data.samples import Sample
from mobilenets.errors import DataError, ImageError
from mobilenets.runtime.images.placement import Placement
from mobilenets.runtime.images.prepare import load_placed
from mobilenets.specs.model import InputContract

Result = TypeVar("Result")
_Loaded = tuple[NDArray[np.float32], Placement]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some preprocessed images.

    Args:
        images: N C H W.
        samples: the sample of each image, N.
        placements: where the network's input lies on each image, N.
    """

    images: Tensor
    samples: tuple[Sample, ...]
    placements: tuple[Placement, ...]


class Prepared:
    """The images of a split, preprocessed as in the shipped predictor; kept in RAM as far as they fit.

    Args:
        samples: samples of the split; unreadable ones are left out and listed in `broken`.
        contract: how images are preprocessed.
        batch: number of images that go through a network at once.
        megabytes: RAM for preprocessed images; 0 keeps none.
        threads: number of threads that decode.
    """

    def __init__(self, samples: Sequence[Sample], contract: InputContract, *, batch: int, megabytes: int, threads: int) -> None:
        self.samples = samples
        self.contract = contract
        self.broken: dict[str, str] = {}
        self._batch = batch
        self._threads = threads
        self._keep = len(samples) * contract.channels * math.prod(contract.shape) * 4 <= megabytes * 2**20
        self._kept: list[Chunk] = []

    def through(self, network: Callable[[Tensor], Result], device: torch.device) -> Iterator[tuple[Chunk, Result]]:
        """Every chunk with the network's outputs for it; nothing if no image can be read.

        Raises:
            DataError: the server that has the images cannot be reached.
        """
        for chunk in self.chunks():
            with torch.inference_mode():
                result = network(chunk.images.to(device))
            yield chunk, result

    def readable(self) -> tuple[Sample, ...]:
        """The samples whose images could be read; complete after `outcome`."""
        return tuple(sample for sample in self.samples if _name(sample) not in self.broken)

    def chunks(self) -> Iterator[Chunk]:
        """The preprocessed images, in the order of the samples."""
        if self._kept:
            yield from self._kept
            return
        kept = []
        for chunk in self._decoded():
            if self._keep:
                kept.append(chunk)
            yield chunk
        self._kept = kept

    def _decoded(self) -> Iterator[Chunk]:
        """The chunks; the next one is decoded while one is in use."""
        with ThreadPoolExecutor(self._threads, thread_name_prefix="prepare") as pool:
            waiting: deque[tuple[Sequence[Sample], Iterator[_Loaded | None]]] = deque()
            for first in range(0, len(self.samples), self._batch):
                chunk = self.samples[first : first + self._batch]
                waiting.append((chunk, pool.map(self._load, chunk)))
                if len(waiting) == 2:
                    yield from _stacked(*waiting.popleft())
            if waiting:
                yield from _stacked(*waiting.popleft())

    def _load(self, sample: Sample) -> _Loaded | None:
        try:
            return load_placed(sample.read(), self.contract)
        except ConnectionError as error:
            hint = "when the server answers again, --resume goes on"
            raise DataError(f"'{_name(sample)}' cannot be fetched: {error}", hint=hint) from error
        except (ImageError, OSError) as error:
            self.broken[_name(sample)] = str(error)
            return None


def _stacked(samples: Sequence[Sample], loaded: Iterable[_Loaded | None]) -> Iterator[Chunk]:
    """One chunk of the images that could be read; nothing if there are none."""
    readable = [(sample, *image) for sample, image in zip(samples, loaded, strict=True) if image is not None]
    if readable:
        readable_samples, arrays, placements = zip(*readable, strict=True)
        yield Chunk(torch.from_numpy(np.stack(arrays)), readable_samples, placements)


def _name(sample: Sample) -> str:
    return sample.name or str(sample.path)
