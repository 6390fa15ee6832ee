"""`Service`: what the routes of the server share, and how a request becomes an answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mobilenets.errors import MobileNetsError
from mobilenets.serve.bodies import received
from mobilenets.serve.refusal import RefusedError
from mobilenets.serve.work import Answer, Work

if TYPE_CHECKING:
    from starlette.types import Receive

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
        deadline: of the answer, as `time.monotonic` counts.
        share: counts what the request has in memory.
        hung_up: waits until the client hangs up.
    """

    data: bytes
    deadline: float
    share: Share
    hung_up: Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Service:
    """What the routes share.

    Args:
        models: that are served.
        limits: of requests.
        held: counts the bytes in memory.
        metrics: what is counted and timed.
        places: where images are fetched from.
    """

    models: Models
    limits: Limits
    held: Held
    metrics: Metrics
    places: Sequence[Place]

    @asynccontextmanager
    async def body(self, request: Request, model: ServedModel) -> AsyncIterator[Body]:
        """The body of a request to a model, which stays open until the block ends.

        Raises:
            RefusedError: the model has too much to do, which is said before the body is read, or the body is not accepted.
        """
        note(request, model=model.name)
        model.batcher.check()
        start = time.monotonic()
        deadline = start + self.limits.seconds
        with self.models.using(model), self.held.share() as share:
            data = await received(request, self.limits, share, deadline=deadline)
            self.metrics.of_model(model.name).stage("receive", time.monotonic() - start)
            yield Body(data, deadline, share, partial(_hung_up, request.receive))

    async def answers(self, model: ServedModel, works: Sequence[Work], body: Body) -> list[Answer | MobileNetsError]:
        """What a model answers to each of several works, or why it does not.

        Raises:
            RefusedError: they are not accepted, not all are answered in time, or the client hangs up, who needs no answer.
        """
        futures = [asyncio.wrap_future(future) for future in model.batcher.submit(works, deadline=body.deadline)]
        gone = asyncio.ensure_future(body.hung_up())
        left = max(0.0, body.deadline - time.monotonic())
        try:
            async with asyncio.timeout(left):
                for future in futures:
                    await asyncio.wait((future, gone), return_when=asyncio.FIRST_COMPLETED)
                    if not future.done():
                        raise RefusedError("gone", "the client hung up")
        except TimeoutError as error:
            raise RefusedError("late", f"there was no answer within {self.limits.seconds:g} s") from error
        finally:
            gone.cancel()
            for future in futures:
                future.cancel()  # what has not begun will not run
        return [_answer(future) for future in futures]

    async def answer(self, model: ServedModel, work: Work, body: Body) -> Response:
        """The response to a request that is one work.

        Raises:
            MobileNetsError: there is no answer.
        """
        (found,) = await self.answers(model, [work], body)
        if isinstance(found, MobileNetsError):
            raise found
        return Response(found.body, media_type=found.media, headers=dict(found.headers))


def note(request: Request, **facts: object) -> None:
    """Facts of a request for the log and the metrics."""
    request.scope.setdefault(FACTS, {}).update(facts)


def refusal(error: MobileNetsError, metrics: Metrics) -> JSONResponse:
    """The response to a request that has no answer; it is counted."""
    if isinstance(error, RefusedError):
        metrics.rejected(error.reason)
        return JSONResponse({"error": str(error)}, error.status, headers=error.headers)
    return JSONResponse({"error": str(error)}, 500)


FACTS = "mobilenets"
"""Where a request's scope holds the facts."""

HEALTH = ("/v2/health/live", "/v2/health/ready")
"""What says that the server lives: always, and to everybody."""


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _answer(future: asyncio.Future[Answer]) -> Answer | MobileNetsError:
    """What a worker returned or raised; a mistake of ours is raised here."""
    error = future.exception()
    if error is None:
        return future.result()
    if not isinstance(error, MobileNetsError):
        raise error
    return error
