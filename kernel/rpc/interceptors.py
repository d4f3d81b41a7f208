"""What every call passes through: request id, caller, access, metrics, one place where errors become statuses.

Handlers are wrapped once, when they are added to a server. gRPC's own interceptors would have the chain of handlers
built anew at each call, which costs more than all that is done here.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import grpc

from kernel.errors import BitHedgeError
from kernel.log import CallLabels, get_logger, name_caller, set_call_labels
from kernel.rpc import status
from kernel.rpc.access import AccessRules
from kernel.rpc.call_metrics import CALLS
from kernel.rpc.caller import Caller, set_caller
from kernel.rpc.deadline import set_deadline
from kernel.rpc.tokens import TokenVerifier

REQUEST_ID_KEY: Final = "x-request-id"
_AUTHORIZATION: Final = "authorization"
_BEARER: Final = "Bearer "

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Any


class GuardedServer:
    """Stands before a server while services add their handlers to it."""

    def __init__(self, server: grpc.aio.Server, rules: AccessRules, verifier: TokenVerifier) -> None:
        self._server = server
        self._rules = rules
        self._verifier = verifier

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[object]) -> None:
        """Nothing: the same handlers come by name too, and those take precedence."""

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Handler]) -> None:
        """Adds them wrapped; those of bidirectional streams, which only reflection has, as they are."""
        wrapped = {name: self._wrapped(f"/{service_name}/{name}", one) for name, one in method_handlers.items()}
        self._server.add_registered_method_handlers(service_name, wrapped)

    def _wrapped(self, method: str, handler: Handler) -> Handler:
        if handler.request_streaming:
            return handler
        deserialize, serialize = handler.request_deserializer, _unless_serialized(handler.response_serializer)
        if handler.response_streaming:
            behaviour: Any = self._stream(method, handler.unary_stream)
            return grpc.unary_stream_rpc_method_handler(behaviour, deserialize, serialize)
        behaviour = self._unary(method, handler.unary_unary)
        return grpc.unary_unary_rpc_method_handler(behaviour, deserialize, serialize)

    def _unary(self, method: str, behaviour: Any) -> Callable[[Any, Context], Awaitable[Any]]:
        guard = _Guard(method, self._rules, self._verifier)

        async def serve(request: Any, context: Context) -> Any:
            async with _Observed(guard, context):
                token = guard.admit(context)
                guard.let_in(await guard.verify(token) if token else None)
                return await behaviour(request, context)

        return serve

    def _stream(self, method: str, behaviour: Any) -> Callable[[Any, Context], AsyncIterator[Any]]:
        guard = _Guard(method, self._rules, self._verifier)

        async def serve(request: Any, context: Context) -> AsyncIterator[Any]:
            async with _Observed(guard, context):
                token = guard.admit(context)
                guard.let_in(await guard.verify(token) if token else None)
                answers = behaviour(request, context)
                if inspect.isawaitable(answers):
                    # A handler in grpcio's other style, such as its own health: it writes its answers itself.
                    await answers
                else:
                    async for response in answers:
                        yield response

        return serve


def _unless_serialized(serialize: Callable[[Any], bytes] | None) -> Callable[[Any], Any]:
    """Bytes pass as they are: what goes to many callers is serialized once."""

    def serialized(response: Any) -> Any:
        return response if serialize is None or type(response) is bytes else serialize(response)

    return serialized


class _Guard:
    """Of one method: lets a call in, and tells how it ended, to the caller, the metrics and the log."""

    def __init__(self, method: str, rules: AccessRules, verifier: TokenVerifier) -> None:
        self._method = method
        self._rules = rules
        self.verify = verifier.verify
        self._calls = CALLS.of(method)

    def admit(self, context: Context) -> str:
        """Sets what the call is served with, its deadline and its labels in the log; its token, empty for none."""
        set_deadline(context.time_remaining())
        request_id = token = ""
        for key, value in context.invocation_metadata() or ():
            if key == _AUTHORIZATION and isinstance(value, str) and value.startswith(_BEARER):
                token = token or value.removeprefix(_BEARER)
            elif key == REQUEST_ID_KEY:
                request_id = str(value)
        set_call_labels(CallLabels(self._method, request_id))
        return token

    def let_in(self, caller: Caller | None) -> None:
        """Says who calls, None for nobody in particular; raises if that one may not."""
        set_caller(caller)
        if caller is not None:
            name_caller(caller.principal)
        self._rules.check(self._method, caller)

    def served(self, start: float) -> None:
        """Counts a call that was answered, before the caller has the answer: whoever has it finds it counted."""
        self._calls.add("OK", time.perf_counter() - start)

    async def failed(self, start: float, context: Context, error: BaseException) -> None:
        """Counts a call that failed, and answers it as the error says; returns when nobody waits for an answer."""
        self._calls.add(_code(error), time.perf_counter() - start)
        if isinstance(error, BitHedgeError):
            get_logger().info("refused", code=error.code, reason=error.reason, message=error.message)
            await status.abort(context, error)
        elif isinstance(error, Exception) and not isinstance(error, grpc.aio.AbortError):
            get_logger().error("failed", exc_info=error)
            await context.abort(grpc.StatusCode.INTERNAL, "internal error")


class _Observed:
    """One call, from its start to how it ended."""

    __slots__ = ("_context", "_guard", "_start")

    def __init__(self, guard: _Guard, context: Context) -> None:
        self._guard = guard
        self._context = context

    async def __aenter__(self) -> None:
        self._start = time.perf_counter()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            self._guard.served(self._start)
        else:
            await self._guard.failed(self._start, self._context, error)


def _code(error: BaseException) -> str:
    if isinstance(error, BitHedgeError):
        return error.code
    return "CANCELLED" if isinstance(error, asyncio.CancelledError | GeneratorExit) else "INTERNAL"
