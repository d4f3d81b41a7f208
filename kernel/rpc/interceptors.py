"""What every call passes through: request id, caller, access, metrics, one place where errors become statuses."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
import structlog
from prometheus_client import Counter, Histogram

from kernel.errors import BitHedgeError
from kernel.ids import new_id
from kernel.log import get_logger
from kernel.rpc import status
from kernel.rpc.access import AccessRules
from kernel.rpc.caller import Caller, set_caller
from kernel.rpc.deadline import set_deadline
from kernel.rpc.tokens import TokenVerifier

REQUEST_ID_KEY: Final = "x-request-id"
_BEARER: Final = "Bearer "

CALLS = Counter("bithedge_grpc_calls_total", "Calls served", ["method", "code"])
LATENCY = Histogram(
    "bithedge_grpc_call_seconds",
    "Time to serve a call; for streams, until it ended",
    ["method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)

Context = grpc.aio.ServicerContext[Any, Any]


class ServerInterceptor(grpc.aio.ServerInterceptor):
    """One interceptor for unary and server-streaming calls, so that a call is wrapped only once."""

    def __init__(self, rules: AccessRules, verifier: TokenVerifier) -> None:
        self._rules = rules
        self._verifier = verifier

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wraps the handler of our methods; leaves unknown methods and bidirectional reflection alone."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or handler.request_streaming:
            return handler
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._stream(method, handler.unary_stream),
                handler.request_deserializer,
                _unless_serialized(handler.response_serializer),
            )
        return grpc.unary_unary_rpc_method_handler(
            self._unary(method, handler.unary_unary),
            handler.request_deserializer,
            handler.response_serializer,
        )

    def _unary(self, method: str, behaviour: Any) -> Callable[[Any, Context], Awaitable[Any]]:
        async def serve(request: Any, context: Context) -> Any:
            async with _Observed(method, context) as observed:
                await self._admit(method, context)
                response = await behaviour(request, context)
                observed.code = "OK"
                return response

        return serve

    def _stream(self, method: str, behaviour: Any) -> Callable[[Any, Context], AsyncIterator[Any]]:
        async def serve(request: Any, context: Context) -> AsyncIterator[Any]:
            async with _Observed(method, context) as observed:
                await self._admit(method, context)
                answers = behaviour(request, context)
                if inspect.isawaitable(answers):
                    # A handler in grpcio's other style, such as its own health: it writes its answers itself.
                    await answers
                else:
                    async for response in answers:
                        yield response
                observed.code = "OK"

        return serve

    async def _admit(self, method: str, context: Context) -> None:
        caller = await self._caller(context)
        set_caller(caller)
        if caller is not None:
            structlog.contextvars.bind_contextvars(principal=caller.principal)
        self._rules.check(method, caller)

    async def _caller(self, context: Context) -> Caller | None:
        for key, value in context.invocation_metadata() or ():
            if key == "authorization" and isinstance(value, str) and value.startswith(_BEARER):
                return await self._verifier.verify(value.removeprefix(_BEARER))
        return None


def _unless_serialized(serialize: Callable[[Any], bytes] | None) -> Callable[[Any], Any]:
    """Bytes pass as they are: what goes to many streams is serialized once."""

    def serialized(response: Any) -> Any:
        return response if serialize is None or type(response) is bytes else serialize(response)

    return serialized


class _Observed:
    """Binds the request id to the logs, turns errors into statuses, counts and times the call."""

    def __init__(self, method: str, context: Context) -> None:
        self._method = method
        self._context = context
        self.code = "INTERNAL"

    async def __aenter__(self) -> _Observed:
        self._start = time.perf_counter()
        set_deadline(self._context.time_remaining())
        metadata = dict(self._context.invocation_metadata() or ())
        request_id = str(metadata.get(REQUEST_ID_KEY, "")) or new_id()
        structlog.contextvars.bind_contextvars(request_id=request_id, method=self._method)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, BitHedgeError):
            self.code = error.code
        elif isinstance(error, asyncio.CancelledError | GeneratorExit):
            self.code = "CANCELLED"
        # Before the caller has the answer, so that whoever has it finds it counted.
        CALLS.labels(self._method, self.code).inc()
        LATENCY.labels(self._method).observe(time.perf_counter() - self._start)
        if isinstance(error, BitHedgeError):
            get_logger().info("refused", code=error.code, reason=error.reason, message=error.message)
            await status.abort(self._context, error)
        elif isinstance(error, Exception) and not isinstance(error, grpc.aio.AbortError):
            get_logger().error("failed", exc_info=error)
            await self._context.abort(grpc.StatusCode.INTERNAL, "internal error")
