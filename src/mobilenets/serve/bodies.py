"""Bodies of requests, read within the limits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request

from mobilenets.serve.refusal import RefusedError

if TYPE_CHECKING:
    from mobilenets.serve.limits import Held, Limits


@asynccontextmanager
async def received(request: Request, limits: Limits, held: Held, *, deadline: float) -> AsyncIterator[bytes]:
    """The body of a request; its bytes count as held until the block ends.

    Args:
        request: whose body it is.
        limits: of the server.
        held: counts the bytes in memory.
        deadline: of `time.monotonic`; until then the body must be there.

    Raises:
        RefusedError: it is too large or too slow, compressed, or the client hung up.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.strip().lower() != "identity":
        raise RefusedError("encoding", f"content encoding '{encoding[:40]}' is not read; send the body as it is")
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared[:20]) > limits.size_bytes:
        raise _too_large(limits)
    parts: list[bytes] = []
    try:
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
            await _fill(parts, request, limits, held)
    except TimeoutError as error:
        held.give_back(sum(map(len, parts)))
        raise RefusedError("slow", "the request did not arrive in time") from error
    except BaseException:
        held.give_back(sum(map(len, parts)))
        raise
    body = parts[0] if len(parts) == 1 else b"".join(parts)
    parts.clear()
    try:
        yield body
    finally:
        held.give_back(len(body))


async def _fill(parts: list[bytes], request: Request, limits: Limits, held: Held) -> None:
    """Receive the parts of a body, and count them as held."""
    size_bytes = 0
    try:
        async for part in request.stream():
            size_bytes += len(part)
            if size_bytes > limits.size_bytes:
                raise _too_large(limits)
            held.take(len(part))
            parts.append(part)
    except ClientDisconnect as error:
        raise RefusedError("gone", "the client hung up") from error


def _too_large(limits: Limits) -> RefusedError:
    return RefusedError("bytes", f"the body has more than {limits.size_bytes:,} bytes, which is the limit")
