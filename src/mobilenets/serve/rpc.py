"""`Rpc`: the Open Inference Protocol over gRPC, beside the HTTP server, with the same models, limits and queues.

Each method is registered as reading a stream of requests, of which it takes only the first. On the wire this is the same as a
single request. But it allows checking the key, the number of requests and the time before a message is read, as over HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from importlib.metadata import version
from itertools import count
from secrets import token_hex
from typing import Any

import grpc
import grpc.aio

from mobilenets.errors import MobileNetsError
from mobilenets.serve.inference import ProtocolModel
from mobilenets.serve.keys import fits
from mobilenets.serve.limits import Share
from mobilenets.serve.logs import event
from mobilenets.serve.messages import CLASSES, SERVICE
from mobilenets.serve.protocol import VERSION, Signature, check_version
from mobilenets.serve.refusal import CODES, RefusedError
from mobilenets.serve.rpc_messages import Message, answer_raw, answer_typed, decoded, request_of
from mobilenets.serve.service import Body, Service

HEALTH = ("ServerLive", "ServerReady")
"""The health checks, which are always answered, for everybody."""

_TOO_MANY = RefusedError("busy", "the server has too many concurrent requests; try again", retry_s=1)
_KEY = RefusedError("key", "this server requires an API key, as 'authorization: Bearer KEY' or 'x-api-key: KEY'")


class _Call:
    """A request in progress.

    Args:
        context: grpc's context.
        deadline: deadline of the answer, in the time of `time.monotonic`.
        share: counts the request's bytes in memory.
    """

    def __init__(self, context: grpc.aio.ServicerContext, deadline: float, share: Share) -> None:
        self.context, self.deadline, self.share = context, deadline, share
        self.model = ""
        self.started = time.monotonic()


class Rpc:
    """A gRPC server, which answers between `start` and `stop`.

    Args:
        service: answers the requests.
        host, port: the address to listen on.
        key: the API key that requests must carry; "" for none.
    """

    def __init__(self, service: Service, host: str, port: int, key: str) -> None:
        self._service, self._key = service, key.encode()
        self.host, self.port = host, port
        self._active = 0
        self._start, self._count = token_hex(4), count(1)
        self._server: grpc.aio.Server | None = None
        # fmt: off
        self._methods: Mapping[str, Callable[[Message, _Call], Awaitable[Message | bytes]]] = {
            "ServerLive":     self._live,
            "ServerReady":    self._ready,
            "ServerMetadata": self._metadata,
            "ModelReady":     self._model_ready,
            "ModelMetadata":  self._model_metadata,
            "ModelInfer":     self._infer,
        }
        # fmt: on

    @property
    def address(self) -> str:
        """Host and port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    async def start(self) -> None:
        """Start listening.

        Raises:
            MobileNetsError: the address is not available.
        """
        limits = self._service.limits
        options = [
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", limits.size_bytes),
            ("grpc.compression_enabled_algorithms_bitset", 1),  # uncompressed only
        ]
        self._server = grpc.aio.server(options=options)
        handlers = {name: grpc.stream_unary_rpc_method_handler(self._handler(name)) for name in self._methods}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        try:
            self._server.add_insecure_port(self.address)
        except RuntimeError as error:
            raise MobileNetsError(f"cannot listen on {self.address}", hint="choose another: --grpc 8002") from error
        await self._server.start()

    async def stop(self, grace_s: float) -> None:
        """Stop taking requests, and wait for the accepted ones, but for no longer than `grace_s`."""
        if self._server is not None:
            await self._server.stop(grace_s)

    def _handler(self, method: str) -> Callable[[AsyncIterator[bytes], grpc.aio.ServicerContext], Awaitable[bytes]]:
        async def handle(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> bytes:
            seconds = self._service.limits.seconds
            left = context.time_remaining()
            deadline = time.monotonic() + (seconds if left is None else min(seconds, left))
            code, failure, answer = "OK", None, b""
            self._active += 1
            with self._service.held.share() as share:
                call = _Call(context, deadline, share)
                try:
                    answer = await self._answered(method, requests, call)
                except asyncio.CancelledError:
                    code = "CANCELLED"
                    self._service.metrics.rejected("gone")
                    raise
                except RefusedError as error:
                    code = CODES[error.reason]
                    self._service.metrics.rejected(error.reason)
                    trailing = (("retry-after", str(error.retry_s)),) if error.retry_s else ()
                    await context.abort(grpc.StatusCode[code], str(error), trailing)
                except MobileNetsError as error:
                    code = "INTERNAL"
                    await context.abort(grpc.StatusCode.INTERNAL, str(error))
                except Exception as error:  # answered and logged
                    code, failure = "INTERNAL", error
                    await context.abort(grpc.StatusCode.INTERNAL, "internal server error; see the server's log")
                finally:
                    self._active -= 1
                    self._say(method, call, code, failure)
            return answer

        return handle

    async def _answered(self, method: str, requests: AsyncIterator[bytes], call: _Call) -> bytes:
        if method not in HEALTH:
            if self._active > self._service.limits.requests:
                raise _TOO_MANY
            if self._key and not self._fits(call):
                raise _KEY
        data = await self._received(requests, call)
        answer = await self._methods[method](decoded(f"{method}Request", data), call)
        return answer if isinstance(answer, bytes) else bytes(answer.SerializeToString())

    def _fits(self, call: _Call) -> bool:
        given = {name: value for name, value in call.context.invocation_metadata() or () if isinstance(value, str)}
        return fits(self._key, authorization=given.get("authorization", ""), api_key=given.get("x-api-key", ""))

    async def _received(self, requests: AsyncIterator[bytes], call: _Call) -> bytes:
        """The message of a request."""
        try:
            async with asyncio.timeout(max(0.0, call.deadline - time.monotonic())):
                data = await anext(aiter(requests), None)
        except TimeoutError as error:
            raise RefusedError("slow", "the request did not arrive in time") from error
        if data is None:  # grpc has already refused it with its own message, or there was none
            most = self._service.limits.size_bytes
            raise RefusedError("bytes", f"there is no message, or it has more than {most:,} bytes, which is the limit")
        call.share.take(len(data))
        return data

    def _say(self, method: str, call: _Call, code: str, failure: Exception | None) -> None:
        seconds = time.monotonic() - call.started
        self._service.metrics.answered(f"/{SERVICE}/{method}", call.model, code, seconds)
        event(
            "request" if failure is None else "internal error",
            level=logging.INFO if failure is None else logging.ERROR,
            exception=failure,
            request=f"{self._start}-g{next(self._count)}",
            client=call.context.peer(),
            method="gRPC",
            path=f"/{SERVICE}/{method}",
            status=code,
            ms=round(1000 * seconds, 2),
            **({"model": call.model} if call.model else {}),
        )

    async def _live(self, message: Message, call: _Call) -> Message:
        return CLASSES["ServerLiveResponse"](live=True)

    async def _ready(self, message: Message, call: _Call) -> Message:
        return CLASSES["ServerReadyResponse"](ready=True)

    async def _metadata(self, message: Message, call: _Call) -> Message:
        return CLASSES["ServerMetadataResponse"](name="mobilenets", version=version("mobilenets"))

    async def _model_ready(self, message: Message, call: _Call) -> Message:
        try:
            self._model(message.name, message.version, call)
        except RefusedError:  # clients are told that it is not ready, as the protocol says
            return CLASSES["ModelReadyResponse"](ready=False)
        return CLASSES["ModelReadyResponse"](ready=True)

    async def _model_metadata(self, message: Message, call: _Call) -> Message:
        model = self._model(message.name, message.version, call)

        def tensor(signature: Signature) -> dict[str, Any]:  # Any: fields
            return {"name": signature.name, "datatype": signature.datatype, "shape": signature.shape}

        return CLASSES["ModelMetadataResponse"](
            name=model.name,
            versions=[VERSION],
            platform=model.served.platform,
            inputs=[tensor(model.input)],
            outputs=[tensor(output) for output in model.outputs],
            properties=model.properties,
        )

    async def _infer(self, message: Message, call: _Call) -> bytes:
        service, model = self._service, self._model(message.model_name, message.model_version, call)
        served = model.served
        served.batcher.check()
        with service.models.using(served):
            service.metrics.of_model(served.name).stage("receive", time.monotonic() - call.started)
            write = answer_raw if message.raw_input_contents else answer_typed
            work = model.work(lambda: request_of(message), write)
            body = Body(b"", call.deadline, call.share, lambda gone: None)  # if the client disconnects, the task is cancelled
            (found,) = await service.answers(served, [work], body)
        if isinstance(found, MobileNetsError):
            raise found
        return found.body

    def _model(self, name: str, wanted: str, call: _Call) -> ProtocolModel:
        model = self._service.models.of_protocol(check_version(name, wanted or VERSION))
        call.model = model.served.name
        return model
