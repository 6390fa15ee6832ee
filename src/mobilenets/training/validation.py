"""Validation between epochs: the pictures as the shipped predictor prepares them, through the model in training."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mobilenets.data.samples import Sample
from mobilenets.errors import DataError, ImageError
from mobilenets.runtime import image
from mobilenets.runtime.calibration import fit_temperature, negative_log_likelihood
from mobilenets.runtime.metrics import balanced_accuracy
from mobilenets.specs.model import ClassifierHead, Head, InputContract


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the model said of the validation pictures.

    Args:
        logits: N classes.
        truth: class of each row, N.
    """

    logits: NDArray[np.float32]
    truth: NDArray[np.int64]

    def fitted(self, head: Head) -> Head:
        """The head at the temperature that suits these logits best."""
        assert isinstance(head, ClassifierHead)
        return replace(head, temperature=fit_temperature(self.logits, self.truth))

    def metrics(self) -> dict[str, float]:
        """Loss (nats, without label smoothing), accuracy and mean recall of the classes."""
        predicted = self.logits.argmax(axis=1)
        return {
            "val_loss": negative_log_likelihood(self.logits, self.truth),
            "val_accuracy": float((predicted == self.truth).mean()),
            "val_balanced_accuracy": balanced_accuracy(self.truth, predicted, self.logits.shape[1]),
        }


class Prepared:
    """The pictures of a split as the shipped predictor prepares them; kept in RAM while they fit.

    Args:
        samples: of the split; those that cannot be read are left out and named in `broken`.
        contract: how pictures are prepared.
        batch: pictures that go through a network at once.
        megabytes: of RAM for prepared pictures; 0 keeps none.
        threads: that decode.
    """

    def __init__(self, samples: Sequence[Sample], contract: InputContract, *, batch: int, megabytes: int, threads: int) -> None:
        self.samples = samples
        self.contract = contract
        self.broken: dict[str, str] = {}
        self._batch = batch
        self._threads = threads
        self._keep = len(samples) * contract.channels * contract.size**2 * 4 <= megabytes * 2**20
        self._kept: list[tuple[Tensor, NDArray[np.int64]]] = []

    def outcome(self, network: Callable[[Tensor], Tensor], device: torch.device) -> Outcome:
        """The network's logits, or whatever it gives, of every picture.

        Raises:
            DataError: not one picture can be read, or the server that has them cannot be reached.
        """
        logits, truth = [], []
        with torch.inference_mode():
            for pictures, labels in self.batches():
                logits.append(network(pictures.to(device)).float().cpu().numpy())
                truth.append(labels)
        if not logits:
            raise DataError(f"none of {len(self.samples)} pictures can be read", hint="run 'mobilenets check' on the data")
        return Outcome(np.concatenate(logits), np.concatenate(truth))

    def readable(self) -> tuple[Sample, ...]:
        """The samples whose pictures could be read; complete after `outcome`."""
        return tuple(sample for sample in self.samples if _name(sample) not in self.broken)

    def batches(self) -> Iterator[tuple[Tensor, NDArray[np.int64]]]:
        """Prepared pictures N C H W with their labels, in the order of the samples."""
        if self._kept:
            yield from self._kept
            return
        kept = []
        for found in self._decoded():
            if self._keep:
                kept.append(found)
            yield found
        self._kept = kept

    def _decoded(self) -> Iterator[tuple[Tensor, NDArray[np.int64]]]:
        """Batches, the next one in decoding while one is in use."""
        with ThreadPoolExecutor(self._threads, thread_name_prefix="prepare") as pool:
            waiting: deque[tuple[Sequence[Sample], Iterator[NDArray[np.float32] | None]]] = deque()
            for first in range(0, len(self.samples), self._batch):
                chunk = self.samples[first : first + self._batch]
                waiting.append((chunk, pool.map(self._load, chunk)))
                if len(waiting) == 2:
                    yield from _stacked(*waiting.popleft())
            if waiting:
                yield from _stacked(*waiting.popleft())

    def _load(self, sample: Sample) -> NDArray[np.float32] | None:
        try:
            return image.load(sample.read(), self.contract)
        except ConnectionError as error:
            hint = "when the server answers again, --resume goes on"
            raise DataError(f"'{_name(sample)}' cannot be fetched: {error}", hint=hint) from error
        except (ImageError, OSError) as error:
            self.broken[_name(sample)] = str(error)
            return None


def _stacked(
    samples: Sequence[Sample], arrays: Iterable[NDArray[np.float32] | None]
) -> Iterator[tuple[Tensor, NDArray[np.int64]]]:
    """One batch of the arrays that are there; nothing where none is."""
    found = [(array, sample.label) for array, sample in zip(arrays, samples, strict=True) if array is not None]
    if found:
        yield torch.from_numpy(np.stack([array for array, _ in found])), np.array([label for _, label in found])


def _name(sample: Sample) -> str:
    return sample.name or str(sample.path)
