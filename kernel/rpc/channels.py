"""Calls to other services: one channel per service with our token, the request id and a deadline on each call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, Protocol

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from kernel.errors import Unavailable
from kernel.log import call_labels
from kernel.rpc.interceptors import REQUEST_ID_KEY
from kernel.rpc.status import error_from_call

_DEADLINE_SECONDS: Final = 10.0
_OPTIONS: Final = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
)


class TokenSource(Protocol):
    """Whose token a channel carries: tokens.ServiceTokens for our processes."""

    async def token(self) -> str:
        """A valid token."""
        ...


class _Outgoing:
    """Adds the token and the request id."""

    def __init__(self, tokens: TokenSource | None) -> None:
        self._tokens = tokens

    async def details(self, given: grpc.aio.ClientCallDetails, deadline: float | None) -> grpc.aio.ClientCallDetails:
        metadata = grpc.aio.Metadata(*(given.metadata or ()))
        if self._tokens is not None:
            metadata.add("authorization", f"Bearer {await self._tokens.token()}")
        if (labels := call_labels()) is not None:
            metadata.add(REQUEST_ID_KEY, labels.request_id)
        timeout = given.timeout if given.timeout is not None else deadline
        return grpc.aio.ClientCallDetails(given.method, timeout, metadata, given.credentials, given.wait_for_ready)


class _Unary(_Outgoing, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await continuation(await self.details(client_call_details, _DEADLINE_SECONDS), request)


class _Stream(_Outgoing, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self, continuation: Callable[..., Any], client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await continuation(await self.details(client_call_details, None), request)


def open_channel(
    address: str, tokens: TokenSource | None = None, outermost: Sequence[grpc.aio.ClientInterceptor] = ()
) -> grpc.aio.Channel:
    """A channel to `host:port`; every call carries our own token when `tokens` is given."""
    interceptors: list[grpc.aio.ClientInterceptor] = [*outermost, _Unary(tokens), _Stream(tokens)]
    return grpc.aio.insecure_channel(address, options=_OPTIONS, interceptors=interceptors)


@contextmanager
def remote_errors() -> Iterator[None]:
    """Inside: what a called service answers is raised as the domain error it is."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise error_from_call(error) from error


@asynccontextmanager
async def remote_stream(call: Any) -> AsyncIterator[Any]:
    """A server stream that is cancelled on leaving; its errors are domain errors."""
    try:
        with remote_errors():
            yield call
    finally:
        call.cancel()


async def wait_until_serving(address: str, service: str, timeout_seconds: float) -> None:
    """Returns when the service's health is SERVING; Unavailable after the timeout."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            async for answer in stub.Watch(
                health_pb2.HealthCheckRequest(service=service), timeout=timeout_seconds, wait_for_ready=True
            ):
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
        except grpc.aio.AioRpcError as error:
            raise Unavailable("NOT_SERVING", f"{service} at {address}: {error.details()}") from error
    raise Unavailable("NOT_SERVING", f"{service} at {address} is not serving")
