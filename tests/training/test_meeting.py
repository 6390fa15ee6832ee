"""Processes that start again in a store that has the keys of earlier starts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # torch does not say that it is public
from torch.distributed.distributed_c10d import Store

from mobilenets.errors import TrainingError
from mobilenets.training.meeting import meet

SOON = timedelta(seconds=30)


@pytest.fixture
def server() -> TCPStore:
    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


def _client(server: TCPStore) -> TCPStore:
    return TCPStore("127.0.0.1", server.port, is_master=False, wait_for_workers=False)


def _start(server: TCPStore, count: int, *, order: list[int]) -> list[Store]:
    """What each of the processes gets, by their indices; each begins only when the store has the ticket of the one before."""
    with ThreadPoolExecutor(count) as pool:
        running = {}
        for index in order:
            before = _tickets(server)
            running[index] = pool.submit(meet, _client(server), index, count, SOON)
            while _tickets(server) == before:
                pass
        return [running[index].result() for index in range(count)]


def _tickets(server: TCPStore) -> list[bytes]:
    keys = [f"mobilenets/meeting/ticket/{index}" for index in range(8)]
    return [server.get(key) if server.check([key]) else b"" for key in keys]


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 0, 2]])
def test_a_process_that_is_early_never_reads_what_an_earlier_start_wrote(server: TCPStore, order: list[int]) -> None:
    for start in range(3):
        stores = _start(server, 3, order=order)
        for index, store in enumerate(stores):
            assert not any(store.check([f"address/{other}"]) for other in range(index, 3)), "an address of an earlier start"
            store.set(f"address/{index}", f"{start}")
        for store in stores:
            assert [store.get(f"address/{index}") for index in range(3)] == [f"{start}".encode()] * 3


def test_a_start_of_which_one_process_is_lost_does_not_keep_the_next_from_meeting(server: TCPStore) -> None:
    with pytest.raises(TrainingError):
        meet(_client(server), 0, 2, timedelta(seconds=0.2))
    first, second = _start(server, 2, order=[1, 0])
    first.set("key", "value")
    assert second.get("key") == b"value"


def test_fewer_processes_meet_after_a_machine_is_lost(server: TCPStore) -> None:
    _start(server, 4, order=[0, 1, 2, 3])
    first, second = _start(server, 2, order=[1, 0])
    first.set("key", "value")
    assert second.get("key") == b"value"


def test_a_process_that_does_not_come_is_named_in_time(server: TCPStore) -> None:
    with pytest.raises(TrainingError, match=r"process 2 of 2 did not connect within 0\.2 s"):
        meet(_client(server), 0, 2, timedelta(seconds=0.2))


def test_a_process_of_an_earlier_start_is_not_taken_for_one_that_came(server: TCPStore) -> None:
    _start(server, 2, order=[0, 1])
    with pytest.raises(TrainingError, match="not every process of this run connected"):
        meet(_client(server), 1, 2, timedelta(seconds=0.2))
