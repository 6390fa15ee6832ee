"""`Ranks`: the processes of one run, as `torchrun` starts them, and their communication."""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.distributed.rendezvous import rendezvous

from mobilenets.errors import RecipeError, TrainingError
from mobilenets.training.meeting import meet

T = TypeVar("T")
_FAILED = "mobilenets/failed"  # key in the shared store for the first error
_PATIENCE = datetime.timedelta(hours=1)  # one process may export, decode or download while the others wait
_ARRIVAL = datetime.timedelta(minutes=30)  # time for all processes to arrive: one may read its dataset from a slower disk


class Ranks:
    """The processes of a run.

    Args:
        device: this process's device.
        count: number of processes.
        index: index of this process; the first one, 0, writes the files.
        local: number of processes on this machine.
    """

    def __init__(self, device: torch.device, *, count: int = 1, index: int = 0, local: int = 1) -> None:
        self.device = device
        self.count = count
        self.index = index
        self.local = local

    @property
    def main(self) -> bool:
        """Whether this process writes the files."""
        return self.index == 0

    def network(self, module: nn.Module) -> nn.Module:
        """The module, wrapped so that gradients are averaged over the processes as they are computed."""
        if self.count == 1:
            return module
        ids = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(module, device_ids=ids, gradient_as_bucket_view=True)

    def without_sync(self, network: nn.Module) -> AbstractContextManager[None]:
        """A context in which gradients stay in this process and are added to those of the next part."""
        return network.no_sync() if isinstance(network, nn.parallel.DistributedDataParallel) else contextlib.nullcontext()

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, returned to each of them."""
        if self.count > 1:
            distributed.all_reduce(tensor)
        return tensor

    def gather(self, mine: T) -> list[T]:
        """The values of all processes, in order, returned to each of them."""
        if self.count == 1:
            return [mine]
        everyone: list[Any] = [None] * self.count
        distributed.all_gather_object(everyone, mine)
        return everyone

    def first(self, mine: T) -> T:
        """The first process's value, returned to all processes."""
        if self.count == 1:
            return mine
        shared = [mine]
        distributed.broadcast_object_list(shared, 0)
        return shared[0]

    def share(self, module: nn.Module) -> None:
        """Copy the first process's weights and running statistics to every process."""
        if self.count > 1:
            for tensor in module.state_dict().values():
                distributed.broadcast(tensor, 0)

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            distributed.barrier()

    @contextmanager
    def failing_together(self) -> Iterator[None]:
        """A context in which an error in one process ends all of them. The others notice at their next message and report it.

        Raises:
            TrainingError: another process failed or was killed.
        """
        if self.count == 1:
            yield
            return
        try:
            yield
        except GeneratorExit:
            raise
        except Exception as error:
            if not _is_of_the_connection(error):
                self._leave_word(f"process {self.index + 1} of {self.count}: {error}")
                self.close()  # makes the others' next message fail at once
                raise
            raise TrainingError(self._word() or "another process of this run was killed or lost") from error

    def close(self) -> None:
        """Leave the group without waiting for the other processes."""
        if self.count > 1 and distributed.is_initialized():
            distributed.destroy_process_group()

    def _leave_word(self, text: str) -> None:
        with contextlib.suppress(Exception):  # the store may be gone together with the process that held it
            distributed.distributed_c10d._get_default_store().set(_FAILED, text)

    def _word(self) -> str:
        with contextlib.suppress(Exception):
            store = distributed.distributed_c10d._get_default_store()
            if store.check([_FAILED]):
                return str(store.get(_FAILED).decode(errors="replace"))
        return ""


def ranks(device: str) -> Ranks:
    """The processes of this run, from the environment variables that `torchrun` sets.

    Args:
        device: "auto" for a GPU if there is one, or "cpu".

    Raises:
        RecipeError: the device is unknown.
        TrainingError: the processes did not find each other.
    """
    if device not in ("auto", "cpu"):
        raise RecipeError(f"device '{device}' is neither 'auto' nor 'cpu'", hint="choose among GPUs with CUDA_VISIBLE_DEVICES")
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() and device == "auto" else None
    kind = "cpu" if accelerator is None else accelerator.type
    count, index = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    own_device = torch.device(kind, local_rank) if kind == "cuda" else torch.device(kind)
    if kind == "cuda":
        torch.cuda.set_device(own_device)
    if count > 1 and not distributed.is_initialized():
        _connect("cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo")
    return Ranks(own_device, count=count, index=index, local=int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def _connect(backend: str) -> None:
    """Join the group of all processes.

    Raises:
        TrainingError: they did not find each other.
    """
    try:
        store, index, count = next(rendezvous("env://", timeout=_ARRIVAL))
        own = meet(store, index, count, _ARRIVAL)
        own.set_timeout(_PATIENCE)
        distributed.init_process_group(backend, store=own, rank=index, world_size=count, timeout=_PATIENCE)
    except (RuntimeError, ValueError) as error:  # a variable of torchrun's is missing, or no store or process responds
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise TrainingError(
            f"the processes of this run could not connect: {reason}",
            hint="torchrun starts them; does every machine reach MASTER_ADDR?",
        ) from error


def _is_of_the_connection(error: Exception) -> bool:
    """Whether an error says that another process is gone. gloo raises plain RuntimeErrors."""
    if isinstance(error, distributed.DistError):
        return True
    message = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        word in message for word in ("gloo", "nccl", "connection closed by peer", "connection reset")
    )
