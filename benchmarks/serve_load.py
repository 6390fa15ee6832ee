"""What asks a server in a benchmark: clients that wait for each answer, and arrivals that wait for nobody."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import uvloop


@dataclass(slots=True)
class Load:
    """What became of requests.

    Args:
        seconds: from the first request to the last answer.
        statuses: how many answers had each HTTP status.
        lost: requests without an answer, by what happened instead.
        latencies_ms: of the answers with status 200, from the moment a request was due.
    """

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers with status 200 per second."""
        return self.statuses[200] / self.seconds

    def percentile_ms(self, share: float) -> float:
        """The latency that this share of the answers with status 200 did not exceed."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")

    def to_data(self) -> dict[str, object]:
        """As JSON."""
        return {
            "seconds": round(self.seconds, 1),
            "per_second": round(self.rate, 1),
            "p50_ms": round(self.percentile_ms(0.5), 1),
            "p99_ms": round(self.percentile_ms(0.99), 1),
            "most_ms": round(max(self.latencies_ms, default=float("nan")), 1),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "lost": dict(self.lost),
        }


def request(path: str, body: bytes, **headers: str) -> bytes:
    """A request as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", "Host: benchmark", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def closed_loop(port: int, requests: Sequence[bytes], *, clients: int, seconds: float) -> Load:
    """Clients that send the next request when they have the answer to the last."""
    return uvloop.run(_closed(port, requests, clients, seconds))


def open_loop(port: int, requests: Sequence[bytes], *, rate: float, seconds: float, seed: int = 0) -> Load:
    """Requests that come at random at a mean rate per second, whether the last ones are answered or not."""
    return uvloop.run(_open(port, requests, rate, seconds, random.Random(seed)))


class Connection(asyncio.Protocol):
    """One connection, for one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[int] | None = None
        self._received = bytearray()

    @property
    def closed(self) -> bool:
        """Whether it can take no further request."""
        return self._transport is None or self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed: a request that waits gets no answer."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("closed without an answer"))

    def data_received(self, data: bytes) -> None:
        """A part of an answer."""
        self._received += data
        head = self._received.find(b"\r\n\r\n")
        if head < 0 or self._answer is None:
            return
        lower = bytes(self._received[:head]).lower()
        place = lower.find(b"\r\ncontent-length:")
        length = int(lower[place + 17 :].split(b"\r\n", 1)[0])
        if len(self._received) >= head + 4 + length and not self._answer.done():
            self._answer.set_result(int(self._received[9:12]))
            del self._received[: head + 4 + length]

    async def ask(self, request: bytes) -> int:
        """The status of the answer to a request; raises OSError where there is none."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Close it."""
        if self._transport is not None:
            self._transport.close()


async def connected(port: int) -> Connection:
    """A connection that is open."""
    _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    return connection


async def _closed(port: int, requests: Sequence[bytes], clients: int, seconds: float) -> Load:
    load = Load()
    start = time.perf_counter()

    async def client(number: int) -> None:
        connection = await connected(port)
        turn = number
        while (due := time.perf_counter()) < start + seconds:
            connection = await _asked(load, connection, port, requests[turn % len(requests)], due)
            turn += clients
        connection.close()

    await asyncio.gather(*(client(i) for i in range(clients)))
    load.seconds = time.perf_counter() - start
    return load


async def _open(port: int, requests: Sequence[bytes], rate: float, seconds: float, rng: random.Random) -> Load:
    load = Load()
    idle: list[Connection] = []
    tasks: set[asyncio.Task[None]] = set()

    async def one(turn: int, due: float) -> None:
        try:
            connection = idle.pop() if idle else await connected(port)
        except OSError as error:
            load.lost[type(error).__name__] += 1
            return
        connection = await _asked(load, connection, port, requests[turn % len(requests)], due)
        idle.append(connection)

    start = due = time.perf_counter()
    turn = 0
    while due < start + seconds:
        wait = due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(one(turn, due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        turn += 1
        due += rng.expovariate(rate)
    while tasks:
        await asyncio.wait(tasks)
    load.seconds = time.perf_counter() - start
    for connection in idle:
        connection.close()
    return load


async def _asked(load: Load, connection: Connection, port: int, request: bytes, due: float) -> Connection:
    """Send a request, and note what becomes of it; returns a connection for the next one."""
    try:
        if connection.closed:
            connection = await connected(port)
        status = await connection.ask(request)
    except OSError as error:
        load.lost[type(error).__name__] += 1
        return connection
    load.statuses[status] += 1
    if status == 200:
        load.latencies_ms.append(1000 * (time.perf_counter() - due))
    return connection
