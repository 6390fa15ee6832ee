"""`meet`: the processes of one start find each other, in a store that may still have entries of an earlier start.

`torchrun --max_restarts` keeps its store when it restarts failed processes, and torch writes and reads addresses in it under
the same names each time. A process that is slightly early then reads the address of a process that is gone, and waits for
it forever. The restart count does not distinguish the starts, because every machine counts its own. So the processes first
agree on a name that no other start has.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from datetime import timedelta

from torch.distributed.distributed_c10d import PrefixStore, Store

from mobilenets.errors import TrainingError

_KEYS = "mobilenets/meeting"
_PAUSE_S = 0.05  # between two reads of the store


def meet(store: Store, index: int, count: int, patience: timedelta) -> Store:
    """The part of the store reserved for this start of the processes; returns once all of them are here.

    Each process writes a fresh ticket. The first process publishes a roll of the tickets that it sees, and a new one whenever a
    ticket changes. The others confirm a roll that contains their own ticket, which no roll of an earlier start does. The roll
    that all have confirmed names the start.

    Args:
        index: index of this process, from 0.
        count: number of processes.
        patience: how long to wait for the others.

    Raises:
        TrainingError: some of them did not arrive in time.
    """
    ticket = uuid.uuid4().hex
    store.set(_ticket(index), ticket)
    deadline = time.monotonic() + patience.total_seconds()
    name = _call(store, count, deadline) if index == 0 else _answer(store, index, ticket, deadline)
    if not name:
        raise TrainingError(
            f"{_missing(store, index, count)} within {patience.total_seconds():g} s",
            hint="look for what ended it, or for a firewall between the machines; torchrun's --max_restarts tries again",
        )
    return PrefixStore(f"{_KEYS}/{name}", store)


def _call(store: Store, count: int, deadline: float) -> str:
    """The name of the roll that every process confirmed; "" on timeout."""
    tickets = [_ticket(i) for i in range(count)]
    called = ""
    while time.monotonic() < deadline:
        if store.check(tickets):
            roll = " ".join(ticket.decode() for ticket in store.multi_get(tickets))
            if roll != called:
                called = roll
                store.set(f"{_KEYS}/roll", roll)
            name = _name(roll)
            if store.check([_answered(name, i) for i in range(1, count)]):
                store.set(f"{_KEYS}/{name}/complete", "")
                return name
        time.sleep(_PAUSE_S)
    return ""


def _answer(store: Store, index: int, ticket: str, deadline: float) -> str:
    """The name of the roll that the first process declared complete; "" on timeout."""
    answered = ""
    while time.monotonic() < deadline:
        roll = store.get(f"{_KEYS}/roll").decode() if store.check([f"{_KEYS}/roll"]) else ""
        if ticket in roll.split():
            name = _name(roll)
            if name != answered:
                answered = name
                store.set(_answered(name, index), "")
            if store.check([f"{_KEYS}/{name}/complete"]):
                return name
        time.sleep(_PAUSE_S)
    return ""


def _missing(store: Store, index: int, count: int) -> str:
    """Which processes are missing, in words."""
    away = [i for i in range(count) if i != index and not store.check([_ticket(i)])]
    if len(away) == 1:
        return f"process {away[0] + 1} of {count} did not connect"
    return f"{len(away)} of {count} processes did not connect" if away else "not every process of this run connected"


def _ticket(index: int) -> str:
    return f"{_KEYS}/ticket/{index}"


def _answered(name: str, index: int) -> str:
    return f"{_KEYS}/{name}/answered/{index}"


def _name(roll: str) -> str:
    return hashlib.sha256(roll.encode()).hexdigest()
