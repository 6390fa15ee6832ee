"""Training batches: which images, in which order, how augmented, follows from seed, epoch and place alone.

So a resumed run sees the very batches it would have seen, whatever number of workers reads them.
"""

from __future__ import annotations

import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

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

Draw = tuple[int, int, int]  # epoch, place within the epoch, index of the sample
TRIES = 20  # images that may stand in for a broken one


@dataclass(frozen=True, slots=True)
class Batch:
    """Some augmented images.

    Args:
        images: uint8, N C H W.
        targets: what is learned of them, each N ...: for classification the labels, int64 N.
        weights: of each image's loss, N.
        broken: names of images that could not be read, each with the reason; others stand in for them.
    """

    images: Tensor
    targets: tuple[Tensor, ...]
    weights: Tensor
    broken: tuple[tuple[str, str], ...] = ()


Item = tuple[Tensor, tuple[Tensor, ...], float, list[tuple[str, str]]]
Loaded = tuple[NDArray[Any], ...]  # Any: of any type


class Teacher(Protocol):
    """Makes what is learned of a sample: one for each task."""

    def load(self, sample: Sample) -> Loaded:
        """The decoded image H W C, of uint8, and what else is kept of the sample in RAM.

        Raises:
            ImageError: something of it cannot be decoded.
            OSError: a file cannot be read.
        """
        ...

    def show(self, loaded: Loaded, sample: Sample, seed: int) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The augmented image, uint8 C H W, and its targets; equal seeds give equal results."""
        ...

    def blank(self) -> tuple[Tensor, tuple[Tensor, ...]]:
        """An image of nothing and its targets, of the same shapes; its loss will weigh nothing."""
        ...


class Labelled:
    """Teaches the label of an image.

    Args:
        augmentation: what happens to the image.
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
        """Grey, of the first class."""
        size = self.augmentation.size
        return torch.full((self.channels, size, size), self.augmentation.fill, dtype=torch.uint8), (torch.tensor(0),)


class TrainingImages(TorchDataset[Item]):
    """The training samples as augmented images with targets, drawn by epoch, place and index.

    Args:
        samples: the training split.
        teacher: makes image and targets of a sample.
        seed: of the augmentation.
    """

    def __init__(self, samples: Sequence[Sample], teacher: Teacher, *, seed: int) -> None:
        self.samples = samples
        self.teacher = teacher
        self.seed = seed
        self._kept: dict[int, Loaded] = {}

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, draw: Draw) -> Item:
        epoch, place, index = draw
        broken: list[tuple[str, str]] = []
        for attempt in range(TRIES):
            standing_in = (index + attempt) % len(self.samples)
            sample = self.samples[standing_in]
            try:
                loaded = self._kept.get(standing_in) or self.teacher.load(sample)
            except ConnectionError:
                raise  # no fault of this image: others would not be reached either
            except (ImageError, OSError) as error:
                broken.append((sample.name or str(sample.path), str(error)))
                continue
            image, targets = self.teacher.show(loaded, sample, seed_of(self.seed, epoch, place))
            return image, targets, sample.weight, broken
        return *self.teacher.blank(), 0.0, broken

    def keep(self, megabytes: int, *, threads: int) -> int:
        """Decode images once and keep them in RAM while they fit; returns how many are kept.

        A kept image is the one that reading it again would give.
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
            return None  # met again, counted and named when it is drawn


def decoded(data: bytes, channels: int, shorter_side: int) -> NDArray[np.uint8]:
    """An image, H W C, made smaller where its shorter side exceeds `shorter_side` px.

    Raises:
        ImageError: it cannot be decoded.
    """
    image = decode_image(data, channels=channels, at_least=shorter_side)
    ratio = shorter_side / min(image.size)
    if ratio < 1:
        width, height = (max(1, round(side * ratio)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.array(image)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def order(samples: Sequence[Sample], balance: Balance, seed: int, epoch: int) -> NDArray[np.int64]:
    """The samples of an epoch, as indices: each once, or under "sample" drawn with chances that make classes equal."""
    random = np.random.default_rng(seed_of(seed, epoch, "order"))
    if balance != "sample":
        return random.permutation(len(samples))
    counts = Counter(sample.label for sample in samples)
    chances = np.array([sample.weight / counts[sample.label] for sample in samples])
    return random.choice(len(samples), size=len(samples), p=chances / chances.sum())


@dataclass(frozen=True, slots=True)
class Plan:
    """How steps are cut into the parts that processes compute.

    Args:
        batch: images of a step.
        accumulate: parts that each process computes one after the other.
        processes: how many there are.
        process: which one this is.
    """

    batch: int
    accumulate: int = 1
    processes: int = 1
    process: int = 0

    def steps_per_epoch(self, samples: int) -> int:
        """Full batches in an epoch; at least one, in which images then appear more than once."""
        return max(1, samples // self.batch)


class Draws(Sampler[list[Draw]]):
    """The draws of each part that one process computes, from step `first` to before step `last`."""

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
                yield [(epoch, place, int(indices[place % len(indices)])) for place in range(start, start + part)]


def batches(
    images: TrainingImages, plan: Plan, *, balance: Balance, seed: int, first: int, last: int, workers: int, pin: bool = False
) -> Iterator[Batch]:
    """The parts of steps `first` to `last` that one process computes, `plan.accumulate` a step.

    Args:
        images: what to draw from.
        plan: how steps are cut.
        balance: which draws an epoch has.
        seed: of the order.
        first, last: steps, counted from 0 over all epochs; `last` is not included.
        workers: processes that read and augment; 0 for this one.
        pin: whether batches go to a GPU.
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
    return iter(loader)


def collate(items: Sequence[Item]) -> Batch:
    """One batch of the items."""
    images, targets, weights, broken = zip(*items, strict=True)
    named = {name: reason for found in broken for name, reason in found}
    stacked = tuple(torch.stack(one) for one in zip(*targets, strict=True))
    return Batch(torch.stack(images), stacked, torch.tensor(weights), tuple(named.items()))


def class_weights(samples: Sequence[Sample], classes: int) -> Tensor:
    """A weight per class, inverse to how often it occurs, averaging 1 over the samples; 0 for a class that does not occur."""
    counts = np.bincount([sample.label for sample in samples], minlength=classes)
    present = np.count_nonzero(counts)
    weights = np.divide(len(samples), present * counts, out=np.zeros(classes), where=counts > 0)
    return torch.tensor(weights, dtype=torch.float32)


def log_priors(samples: Sequence[Sample], classes: int) -> Tensor:
    """The log share of each class, which logit adjustment adds in training (Menon et al. 2021, eq. 10).

    One image is added to each class, so that an absent one has a finite share.
    """
    counts = np.bincount([sample.label for sample in samples], minlength=classes) + 1
    return torch.tensor(np.log(counts / counts.sum()), dtype=torch.float32)


def workers_for(wanted: int, *, batch_bytes: int, processes: int) -> int:
    """How many workers to start: `wanted`, or for -1 half of this process's share of the cores.

    Batches travel through shared memory; where that is too small, as in many containers, this process reads by itself.

    Args:
        wanted: of the recipe; -1 chooses.
        batch_bytes: size of one batch.
        processes: training processes on this machine.
    """
    count = wanted if wanted >= 0 else min(8, max(cores() // (2 * processes), 1 if cores() > 1 else 0))
    if wanted < 0 and sys.platform != "linux":
        return 0  # a worker would get a copy of every kept image
    shared = Path("/dev/shm")
    if wanted < 0 and shared.is_dir() and shutil.disk_usage(shared).free < 4 * max(count, 1) * batch_bytes * processes:
        return 0
    return count


def leave_interrupts(_worker: int) -> None:
    """Ctrl-C and SIGTERM, which reach a whole group of processes, are the main one's business; workers end when it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
