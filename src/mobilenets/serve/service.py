"""`Service`: what the server's routes share, and how a request is answered."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse

from mobilenets.errors import MobileNetsError
from mobilenets.serve.bodies import Buffer, received
from mobilenets.serve.connections import LINK
from mobilenets.serve.refusal import Reason, RefusedError
from mobilenets.serve.work import Answer, Work

if TYPE_CHECKING:
    from concurrent.futures import Future

    from starlette.types import ASGIApp, Receive, Scope, Send

    from mobilenets.serve.fetching import Place
    from mobilenets.serve.limits import Held, Limits, Share
    from mobilenets.serve.metrics import Metrics
    from mobilenets.serve.model import ServedModel
    from mobilenets.serve.models import Models


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a request.

    Args:
        data: its bytes.
        deadline: deadline of the answer, in the time of `time.monotonic`.
        share: counts the request's bytes in memory.
        watch: sets the function to call when the client disconnects; None removes it.
    """

    data: Buffer
    deadline: float
    share: Share
    watch: Callable[[Callable[[], object] | None], object]


@dataclass(frozen=True, slots=True)
class Service:
    """What the routes share.

    Args:
        models: the served models.
        limits: limits of requests.
        held: counts the bytes in memory.
        metrics: the server's metrics.
        places: places from which images may be fetched.
    """

    models: Models
    limits: Limits
    held: Held
    metrics: Metrics
    places: Sequence[Place]

    @asynccontextmanager
    async def body(self, request: Request, model: ServedModel, *, aligned: int = 0) -> AsyncIterator[Body]:
        """The body of a request to a model, which stays open until the block ends.

        Args:
            request: the request.
            model: the requested model.
            aligned: offset of a tensor in the body.

        Raises:
            RefusedError: the model is too busy, which is checked before the body is read, or the body is not accepted.
        """
        note(request, model=model.name)
        model.batcher.check()
        start = time.monotonic()
        deadline = start + self.limits.seconds
        with self.models.using(model), self.held.share() as share:
            data = await received(request, self.limits, share, deadline=deadline, aligned=aligned)
            self.metrics.of_model(model.name).stage("receive", time.monotonic() - start)
            yield Body(data, deadline, share, request.scope["extensions"][LINK].watch)

    async def answers(self, model: ServedModel, works: Sequence[Work], body: Body) -> list[Answer | MobileNetsError]:
        """A model's answers to several works, or the error for each that has none.

        Raises:
            RefusedError: they are not accepted, are not all answered in time, or the client has disconnected.
        """
        futures = model.batcher.submit(works, deadline=body.deadline)
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[None] = loop.create_future()

        def refuse(reason: Reason, text: str) -> None:
            if not answered.done():
                answered.set_exception(RefusedError(reason, text))

        def look() -> None:
            if not answered.done() and all(future.done() for future in futures):
                answered.set_result(None)

        def done(_: Future[Answer]) -> None:  # runs in a worker's thread
            with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody waits
                loop.call_soon_threadsafe(look)

        for future in futures:
            future.add_done_callback(done)
        left = max(0.0, body.deadline - time.monotonic())
        late = loop.call_later(left, refuse, "late", f"there was no answer within {self.limits.seconds:g} s")
        body.watch(partial(refuse, "gone", "the client hung up"))
        try:
            await answered
        finally:
            late.cancel()
            body.watch(None)
            for future in futures:
                future.cancel()  # work that has not begun will not run
        return [_answer(future) for future in futures]

    async def answer(self, model: ServedModel, work: Work, body: Body) -> ASGIApp:
        """The response to a request with a single work.

        Raises:
            MobileNetsError: there is no answer.
        """
        (found,) = await self.answers(model, [work], body)
        if isinstance(found, MobileNetsError):
            raise found
        return response(found)


def note(request: Request, **facts: object) -> None:
    """Add facts about a request for the log and the metrics."""
    request.scope.setdefault(FACTS, {}).update(facts)


def response(answer: Answer) -> ASGIApp:
    """An answer as a response."""
    headers = {"content-length": str(len(answer.body)), "content-type": answer.media, **answer.headers}

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        written = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": written})
        await send({"type": "http.response.body", "body": answer.body})

    return respond


def refusal(error: MobileNetsError, metrics: Metrics) -> JSONResponse:
    """The response to a refused request, which is also counted."""
    if isinstance(error, RefusedError):
        metrics.rejected(error.reason)
        return JSONResponse({"error": str(error)}, error.status, headers=error.headers)
    return JSONResponse({"error": str(error)}, 500)


FACTS = "mobilenets"
"""Key of the facts in a request's scope."""

HEALTH = ("/v2/health/live", "/v2/health/ready")
"""The health checks, which are always answered, for everybody."""


def _answer(future: Future[Answer]) -> Answer | MobileNetsError:
    """A worker's result or error; an error of our own is raised here."""
    error = future.exception()
    if error is None:
        return future.result()
    if not isinstance(error, MobileNetsError):
        raise error
    return error
