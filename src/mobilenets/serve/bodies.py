"""Reads request bodies within the limits."""

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
        request: the request.
        limits: the server's limits.
        share: counts the body's bytes.
        deadline: in the time of `time.monotonic`; the body must have arrived by then.
        aligned: offset of a tensor in the body; a large body is placed in memory so that numbers of any type are aligned.

    Raises:
        RefusedError: the body is too large, too slow or compressed, or the client disconnected.
    """
    encoding = header(request.scope, "content-encoding") or "identity"
    if encoding.strip().lower() != "identity":
        raise RefusedError("encoding", f"content encoding '{encoding[:40]}' is not supported; send the body uncompressed")
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
                if part:  # the last part is empty
                    parts.append(part)
    except TimeoutError as error:
        raise RefusedError("slow", "the request did not arrive in time") from error
    except (ClientDisconnect, ConnectionError) as error:
        raise RefusedError("gone", "the client hung up") from error
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limits: Limits) -> RefusedError:
    return RefusedError("bytes", f"the body has more than {limits.size_bytes:,} bytes, which is the limit")
