"""Bodies of requests, read within the limits."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request

from mobilenets.serve.connections import LINK, Link, header
from mobilenets.serve.refusal import RefusedError

if TYPE_CHECKING:
    from mobilenets.serve.limits import Limits, Share

Buffer = bytes | memoryview
"""The bytes of a body."""


async def received(request: Request, limits: Limits, share: Share, *, deadline: float, aligned: int = 0) -> Buffer:
    """The body of a request.

    Args:
        request: whose body it is.
        limits: of the server.
        share: counts its bytes.
        deadline: of `time.monotonic`; until then the body must be there.
        aligned: where in the body a tensor begins, which then lies in memory where numbers of any type may, if it is large.

    Raises:
        RefusedError: it is too large or too slow, compressed, or the client hung up.
    """
    encoding = header(request.scope, "content-encoding") or "identity"
    if encoding.strip().lower() != "identity":
        raise RefusedError("encoding", f"content encoding '{encoding[:40]}' is not read; send the body as it is")
    declared = header(request.scope, "content-length")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > limits.size_bytes:
        raise _too_large(limits)
    link: Link = request.scope["extensions"][LINK]
    parts: list[bytes] = []
    try:
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
            if link.left:
                return await link.body(share, aligned=aligned)
            async for part in request.stream():
                if share.size_bytes + len(part) > limits.size_bytes:
                    raise _too_large(limits)
                share.take(len(part))
                if part:  # the last one is empty
                    parts.append(part)
    except TimeoutError as error:
        raise RefusedError("slow", "the request did not arrive in time") from error
    except (ClientDisconnect, ConnectionError) as error:
        raise RefusedError("gone", "the client hung up") from error
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limits: Limits) -> RefusedError:
    return RefusedError("bytes", f"the body has more than {limits.size_bytes:,} bytes, which is the limit")
