"""Training batches, whose images depend only on the seed, the epoch and the position within the epoch.

This covers the choice, order and augmentation of the images. A resumed run therefore sees exactly the batches it would have
seen, however many workers read them.
"""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.process
import multiprocessing.util
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakSet

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from mobilenets.data.samples import Sample
from mobilenets.errors import ImageError
from mobilenets.feeding.augment import Augment, Augmentation, seed_of
from mobilenets.feeding.settings import Balance
from mobilenets.runtime.cores import cores
from mobilenets.runtime.images.decode import decode_image

Draw = tuple[int, int, int]  # epoch, position within the epoch, index of the sample
TRIES = 20  # maximum number of images tried in place of a broken one


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of augmented images.

    Args:
        images: uint8, N C H W.
        targets: the training targets, each N ...; for classification the labels, int64 N.
        weights: weight of each image's loss, N.
        broken: names of images that could not be read, each with the reason. Other images replace them.
    """

    images: Tensor
    targets: tuple[Tensor, ...]
    weights: Tensor
    broken: tuple[tuple[str, str], ...] = ()


Item = tuple[Tensor, tuple[Tensor, ...], float, list[tuple[str, str]]]
Loaded = tuple[NDArray[Any], ...]  # Any: arrays of any dtype


class Teacher(Protocol):
    """Builds the training targets of a sample. There is one teacher for each task."""

    def load(self, sample: Sample) -> Loaded:
        """The decoded image, uint8 H W C, and whatever else of the sample is kept in RAM.

        Raises:
            ImageError: part of the sample cannot be decoded.
            OSError: a file cannot be read.
        """
        ...

    def show(self, loaded: Loaded, sample: Sample, seed: int) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The augmented image, uint8 C H W, and its targets. Equal seeds give equal results."""
        ...

    def blank(self) -> tuple[Tensor, tuple[Tensor, ...]]:
        """An empty image and its targets, in the same shapes; its loss gets zero weight."""
        ...


class Labelled:
    """Teaches the label of an image.

    Args:
        augmentation: how the image is augmented.
        channels: 3 or 1.
    """

    def __init__(self, augmentation: Augmentation, *, channels: int) -> None:
        self.augmentation = augmentation
        self.channels = channels
        self._augment = Augment(augmentation)

    def load(self, sample: Sample) -> Loaded:
        """The image, no larger than its smallest crop needs."""
        return (decoded(sample.read(), self.channels, self.augmentation.shorter_side),)

    def show(self, loaded: Loaded, sample: Sample, seed: int) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The augmented image and its label."""
        image = torch.from_numpy(loaded[0]).permute(2, 0, 1)
        return self._augment(image, seed), (torch.tensor(sample.label),)

    def blank(self) -> tuple[Tensor, tuple[Tensor, ...]]:
        """A gray image labeled as the first class."""
        size = self.augmentation.size
        return torch.full((self.channels, size, size), self.augmentation.fill, dtype=torch.uint8), (torch.tensor(0),)


class TrainingImages(TorchDataset[Item]):
    """The training samples as augmented images with targets, drawn by epoch, position and index.

    Args:
        samples: the training split.
        teacher: builds the image and targets of a sample.
        seed: seed of the augmentation.
    """

    def __init__(self, samples: Sequence[Sample], teacher: Teacher, *, seed: int) -> None:
        self.samples = samples
        self.teacher = teacher
        self.seed = seed
        self._kept: dict[int, Loaded] = {}

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, draw: Draw) -> Item:
        epoch, position, index = draw
        broken: list[tuple[str, str]] = []
        for attempt in range(TRIES):
            standing_in = (index + attempt) % len(self.samples)
            sample = self.samples[standing_in]
            try:
                loaded = self._kept.get(standing_in) or self.teacher.load(sample)
            except ConnectionError:
                raise  # not the fault of this image: other images would be unreachable too
            except (ImageError, OSError) as error:
                broken.append((sample.name or str(sample.path), str(error)))
                continue
            image, targets = self.teacher.show(loaded, sample, seed_of(self.seed, epoch, position))
            return image, targets, sample.weight, broken
        return *self.teacher.blank(), 0.0, broken

    def keep(self, megabytes: int, *, threads: int) -> int:
        """Decode images once and keep as many in RAM as fit. Returns how many are kept.

        A kept image is identical to what reading it again would give.
        """
        room = megabytes * 2**20
        window = 16 * threads
        with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
            for first in range(0, len(self.samples), window):
                indices = range(first, min(first + window, len(self.samples)))
                for i, loaded in zip(indices, pool.map(self._readable, indices), strict=True):
                    if loaded is None:
                        continue
                    room -= sum(array.nbytes for array in loaded)
                    if room < 0:
                        return len(self._kept)
                    self._kept[i] = loaded
        return len(self._kept)

    def _readable(self, index: int) -> Loaded | None:
        try:
            return self.teacher.load(self.samples[index])
        except (ImageError, OSError):
            return None  # reported when it is drawn


def decoded(data: bytes, channels: int, shorter_side: int) -> NDArray[np.uint8]:
    """Decode an image to H W C, and shrink it if its shorter side exceeds `shorter_side` px.

    Raises:
        ImageError: the image cannot be decoded.
    """
    image = decode_image(data, channels=channels, at_least=shorter_side)
    ratio = shorter_side / min(image.size)
    if ratio < 1:
        width, height = (max(1, round(side * ratio)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.array(image)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def order(samples: Sequence[Sample], balance: Balance, seed: int, epoch: int) -> NDArray[np.int64]:
    """An epoch's sample indices: each once, or under "sample" drawn so that all classes are equally likely."""
    random = np.random.default_rng(seed_of(seed, epoch, "order"))
    if balance != "sample":
        return random.permutation(len(samples))
    counts = Counter(sample.label for sample in samples)
    chances = np.array([sample.weight / counts[sample.label] for sample in samples])
    return random.choice(len(samples), size=len(samples), p=chances / chances.sum())


@dataclass(frozen=True, slots=True)
class Plan:
    """How each step is divided among processes and accumulated parts.

    Args:
        batch: images per step.
        accumulate: parts that each process computes one after another.
        processes: the number of processes.
        process: the index of this process.
    """

    batch: int
    accumulate: int = 1
    processes: int = 1
    process: int = 0

    def steps_per_epoch(self, samples: int) -> int:
        """The number of full batches in an epoch, at least one. If there are too few images for one, images repeat."""
        return max(1, samples // self.batch)


class Draws(Sampler[list[Draw]]):
    """The draws of each part that one process computes, from step `first` up to but not including step `last`."""

    def __init__(self, samples: Sequence[Sample], plan: Plan, *, balance: Balance, seed: int, first: int, last: int) -> None:
        self.samples = samples
        self.plan = plan
        self.balance = balance
        self.seed = seed
        self.first = first
        self.last = last

    def __len__(self) -> int:
        return (self.last - self.first) * self.plan.accumulate

    def __iter__(self) -> Iterator[list[Draw]]:
        plan, per_epoch = self.plan, self.plan.steps_per_epoch(len(self.samples))
        part = plan.batch // (plan.accumulate * plan.processes)
        current, indices = -1, np.empty(0, np.int64)
        for step in range(self.first, self.last):
            epoch, within = divmod(step, per_epoch)
            if epoch != current:
                current, indices = epoch, order(self.samples, self.balance, self.seed, epoch)
            for i in range(plan.accumulate):
                start = within * plan.batch + (i * plan.processes + plan.process) * part
                yield [(epoch, position, int(indices[position % len(indices)])) for position in range(start, start + part)]


def batches(
    images: TrainingImages, plan: Plan, *, balance: Balance, seed: int, first: int, last: int, workers: int, pin: bool = False
) -> Iterator[Batch]:
    """The parts of steps `first` to `last` that one process computes, `plan.accumulate` per step.

    Args:
        images: the dataset to draw from.
        plan: how steps are divided.
        balance: how an epoch's samples are chosen.
        seed: seed of the order.
        first, last: steps, counted from 0 over all epochs; `last` is excluded.
        workers: number of processes that read and augment; 0 uses this process.
        pin: whether batches are pinned for transfer to a GPU.
    """
    draws = Draws(images.samples, plan, balance=balance, seed=seed, first=first, last=last)
    loader: DataLoader[Item] = DataLoader(
        images,
        batch_sampler=draws,
        collate_fn=collate,
        num_workers=workers,
        pin_memory=pin,
        worker_init_fn=leave_interrupts if workers else None,
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
    )
    before = set(multiprocessing.active_children())
    iterator = iter(loader)
    _WORKERS.update(set(multiprocessing.active_children()) - before)
    return iterator


_WORKERS: WeakSet[multiprocessing.process.BaseProcess] = WeakSet()


@atexit.register  # runs before multiprocessing's own, which was registered when it was imported
def _end_workers() -> None:
    """End the workers before multiprocessing does: it would send SIGTERM, which they ignore, and wait for them forever."""
    if _WORKERS and hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler raises for each worker
    for worker in list(_WORKERS):
        if worker.is_alive():
            worker.kill()


def collate(items: Sequence[Item]) -> Batch:
    """Combine items into one batch."""
    images, targets, weights, broken = zip(*items, strict=True)
    named = {name: reason for of_item in broken for name, reason in of_item}
    stacked = tuple(torch.stack(same_target) for same_target in zip(*targets, strict=True))
    return Batch(torch.stack(images), stacked, torch.tensor(weights), tuple(named.items()))


def class_weights(samples: Sequence[Sample], classes: int) -> Tensor:
    """A weight per class, inverse to its frequency and averaging 1 over the samples; 0 for a class that does not occur."""
    counts = np.bincount([sample.label for sample in samples], minlength=classes)
    present = np.count_nonzero(counts)
    weights = np.divide(len(samples), present * counts, out=np.zeros(classes), where=counts > 0)
    return torch.tensor(weights, dtype=torch.float32)


def log_priors(samples: Sequence[Sample], classes: int) -> Tensor:
    """The log share of each class, which logit adjustment adds during training (Menon et al. 2021, eq. 10).

    Each class counts one extra image, so that an absent class has a finite log share.
    """
    counts = np.bincount([sample.label for sample in samples], minlength=classes) + 1
    return torch.tensor(np.log(counts / counts.sum()), dtype=torch.float32)


def workers_for(wanted: int, *, batch_bytes: int, processes: int) -> int:
    """The number of workers to start: `wanted`, or if it is -1, half of this process's share of the cores.

    Batches travel through shared memory. If that is too small, as in many containers, this process reads the images itself.

    Args:
        wanted: the recipe's setting; -1 chooses automatically.
        batch_bytes: size of one batch, bytes.
        processes: number of training processes on this machine.
    """
    count = wanted if wanted >= 0 else min(8, max(cores() // (2 * processes), 1 if cores() > 1 else 0))
    if wanted < 0 and sys.platform != "linux":
        return 0  # each worker would copy every image kept in RAM
    shared = Path("/dev/shm")
    if wanted < 0 and shared.is_dir() and shutil.disk_usage(shared).free < 4 * max(count, 1) * batch_bytes * processes:
        return 0
    return count


def leave_interrupts(_worker: int) -> None:
    """Ignore Ctrl-C and SIGTERM, which reach the whole process group: the main one handles them, and workers end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
