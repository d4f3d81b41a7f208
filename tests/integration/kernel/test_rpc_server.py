"""What every call passes through, over a real socket: errors, tokens, request id, metrics, health, reflection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.policy.v1 import policy_service_pb2 as policy_pb2
from bithedge.policy.v1 import policy_service_pb2_grpc as policy_grpc
from cryptography.hazmat.primitives.asymmetric import ec
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import REGISTRY

from kernel import errors
from kernel.errors import BitHedgeError, FieldViolation, InvalidArgument, Unavailable
from kernel.log import call_labels
from kernel.rpc.caller import Caller, Role, current_caller
from kernel.rpc.channels import open_channel, remote_errors, remote_stream, wait_until_serving
from kernel.rpc.server import Process, start_server
from services.identity.keys import KeySet
from tests.integration.kernel.rpc_service import KEYS, NAME, Gateway, Running, gateway_service, running, token

_GET, _WATCH = f"/{NAME}/GetTip", f"/{NAME}/WatchTip"
_KINDS = [
    errors.Unauthenticated,
    errors.PermissionDenied,
    errors.NotFound,
    errors.AlreadyExists,
    errors.FailedPrecondition,
    errors.ResourceExhausted,
    errors.Aborted,
    errors.Unavailable,
]


@pytest.fixture
def gateway() -> Gateway:
    """The stand-in of one test."""
    return Gateway()  # type: ignore[abstract]


@pytest.fixture
async def service(gateway: Gateway) -> AsyncIterator[Running]:
    """The stand-in, served."""
    async with running(gateway) as started:
        yield started


def _raising(gateway: Gateway, error: Exception) -> None:
    def tip() -> pb.Tip:
        raise error

    gateway.tip = tip


async def _refused(service: Running) -> BitHedgeError:
    with pytest.raises(BitHedgeError) as refused, remote_errors():
        await service.stub.GetTip(pb.GetTipRequest())
    return refused.value


def _count(method: str, code: str) -> float:
    return REGISTRY.get_sample_value("bithedge_grpc_calls_total", {"method": method, "code": code}) or 0.0


def _timed(method: str, sample: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"bithedge_grpc_call_seconds_{sample}", {"method": method, **labels}) or 0.0


@pytest.mark.parametrize("kind", _KINDS)
async def test_an_error_arrives_as_it_was_raised(gateway: Gateway, service: Running, kind: type[BitHedgeError]) -> None:
    """Kind, reason, message and metadata cross the wire and come back as the same domain error."""
    _raising(gateway, kind("SOME_REASON", "what happened: ü", height=17, policy="p1"))
    error = await _refused(service)
    assert type(error) is kind
    assert (error.reason, error.message) == ("SOME_REASON", "what happened: ü")
    assert error.metadata == {"height": "17", "policy": "p1"}


async def test_field_violations_arrive(gateway: Gateway, service: Running) -> None:
    """INVALID_ARGUMENT names each field."""
    violations = (FieldViolation("a.b", "too small"), FieldViolation("c", "missing"))
    _raising(gateway, InvalidArgument("INVALID_TERMS", "two fields", *violations))
    error = await _refused(service)
    assert isinstance(error, InvalidArgument)
    assert (error.reason, error.violations) == ("INVALID_TERMS", violations)


async def test_a_bug_says_nothing_to_the_caller(gateway: Gateway, service: Running) -> None:
    """An unexpected exception is INTERNAL; its text stays in the log; it is counted."""
    _raising(gateway, ValueError("secret detail"))
    before = _count(_GET, "INTERNAL")
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await service.stub.GetTip(pb.GetTipRequest())
    assert (failed.value.code(), failed.value.details()) == (grpc.StatusCode.INTERNAL, "internal error")
    assert _count(_GET, "INTERNAL") == before + 1


async def test_transport_errors_are_unavailable(service: Running) -> None:
    """A service that is gone, and a deadline that passed, are worth another try."""
    await service.stop()
    assert isinstance(await _refused(service), Unavailable)


async def test_a_missed_deadline_is_unavailable(gateway: Gateway, service: Running) -> None:
    """The reason says which of the two it was."""

    async def silence() -> AsyncIterator[pb.Tip]:
        await asyncio.Event().wait()
        yield pb.Tip()

    gateway.tips = silence
    call = service.stub.WatchTip(pb.WatchTipRequest(), timeout=0.1, metadata=token(Role.SERVICE))
    with pytest.raises(Unavailable) as late:
        async with remote_stream(call) as answers:
            await anext(aiter(answers))
    assert late.value.reason == "DEADLINE_EXCEEDED"


async def test_an_unknown_method_is_refused(service: Running) -> None:
    """A service that this process does not serve is UNIMPLEMENTED."""
    stub = policy_grpc.PolicyServiceStub(service.channel)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.GetPolicy(policy_pb2.GetPolicyRequest(), metadata=token(*Role))
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_tokens_open_what_their_roles_may(gateway: Gateway, service: Running) -> None:
    """No token, expired, foreign, malformed, wrong role: each refused with its reason, before the servicer runs."""

    async def one() -> AsyncIterator[pb.Tip]:
        yield pb.Tip(stacks_height=2)

    gateway.tips = one
    foreign = KeySet(ec.generate_private_key(ec.SECP256R1()))
    refusals = {
        "NO_TOKEN": (),
        "TOKEN_EXPIRED": token(Role.SERVICE, minutes=-1),
        "UNKNOWN_KEY": token(Role.SERVICE, keys=foreign),
        "INVALID_TOKEN": (("authorization", "Bearer x.y.z"),),
        "ROLE_MISSING": token(Role.HOLDER, Role.PROVIDER),
    }
    for reason, metadata in refusals.items():
        with pytest.raises(BitHedgeError) as refused, remote_errors():
            await anext(aiter(service.stub.WatchTip(pb.WatchTipRequest(), metadata=metadata)))
        assert refused.value.reason == reason
    call = service.stub.WatchTip(pb.WatchTipRequest(), metadata=token(Role.SERVICE))
    assert [answer.tip.stacks_height async for answer in call] == [2]


async def test_a_bad_token_is_refused_where_none_is_needed(service: Running) -> None:
    """Who shows a token means to be somebody: an expired one is not taken for nobody."""
    with pytest.raises(BitHedgeError) as refused, remote_errors():
        await service.stub.GetTip(pb.GetTipRequest(), metadata=token(Role.HOLDER, minutes=-1))
    assert refused.value.reason == "TOKEN_EXPIRED"
    await service.stub.GetTip(pb.GetTipRequest())


async def test_the_caller_is_the_tokens(gateway: Gateway, service: Running) -> None:
    """Concurrent calls each see their own caller."""
    seen: list[Caller] = []

    def tip() -> pb.Tip:
        seen.append(current_caller())
        return pb.Tip()

    gateway.tip = tip
    await asyncio.gather(
        *(service.stub.GetTip(pb.GetTipRequest(), metadata=token(role)) for role in Role for _ in range(3))
    )
    assert sorted(seen, key=lambda caller: sorted(caller.roles)) == [
        Caller("ST1", frozenset({role})) for role in Role for _ in range(3)
    ]


async def test_the_request_id_travels(gateway: Gateway) -> None:
    """A call made while serving another carries its request id; without one each call gets its own."""
    seen: list[str] = []

    def tip() -> pb.Tip:
        labels = call_labels()
        assert labels is not None
        seen.append(labels.request_id)
        return pb.Tip()

    gateway.tip = tip
    async with running(gateway) as inner:

        async def through() -> AsyncIterator[pb.Tip]:
            yield (await inner.stub.GetTip(pb.GetTipRequest())).tip

        async with running(Gateway(tips=through)) as outer:  # type: ignore[abstract]
            metadata = (*token(Role.SERVICE), ("x-request-id", "from-outside"))
            async for _ in outer.stub.WatchTip(pb.WatchTipRequest(), metadata=metadata):
                pass
            async for _ in outer.stub.WatchTip(pb.WatchTipRequest(), metadata=token(Role.SERVICE)):
                pass
        await inner.stub.GetTip(pb.GetTipRequest())
    assert seen[0] == "from-outside"
    assert len(set(seen)) == 3
    assert all(seen)


async def test_calls_are_counted_by_their_code(gateway: Gateway, service: Running) -> None:
    """Answered, refused by the servicer and refused at the door; each is timed once."""
    before = [_count(_GET, "OK"), _count(_GET, "NOT_FOUND"), _count(_WATCH, "UNAUTHENTICATED")]
    timed = [_timed(_GET, "sum"), _timed(_GET, "count"), _timed(_GET, "bucket", le="+Inf")]
    await service.stub.GetTip(pb.GetTipRequest())
    _raising(gateway, errors.NotFound("NOTHING", "nothing"))
    await _refused(service)
    with pytest.raises(grpc.aio.AioRpcError):
        await anext(aiter(service.stub.WatchTip(pb.WatchTipRequest())))
    after = [_count(_GET, "OK"), _count(_GET, "NOT_FOUND"), _count(_WATCH, "UNAUTHENTICATED")]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1, 1]
    assert _timed(_GET, "sum") > timed[0]
    assert [_timed(_GET, "count"), _timed(_GET, "bucket", le="+Inf")] == [timed[1] + 2, timed[2] + 2]


async def test_a_stream_that_fails_midway_says_why(gateway: Gateway, service: Running) -> None:
    """What was sent has arrived; then comes the error."""

    async def broken() -> AsyncIterator[pb.Tip]:
        yield pb.Tip(stacks_height=1)
        raise errors.Aborted("OVERTAKEN", "start again")

    gateway.tips = broken
    answers = aiter(service.stub.WatchTip(pb.WatchTipRequest(), metadata=token(Role.SERVICE)))
    assert (await anext(answers)).tip.stacks_height == 1
    with pytest.raises(errors.Aborted), remote_errors():
        await anext(answers)


async def test_a_stream_that_is_left_ends_on_the_server(gateway: Gateway, service: Running) -> None:
    """The servicer is cancelled and cleans up; the call counts as cancelled."""
    ended = asyncio.Event()

    async def endless() -> AsyncIterator[pb.Tip]:
        try:
            yield pb.Tip()
            await asyncio.Event().wait()
        finally:
            ended.set()

    gateway.tips = endless
    before = _count(_WATCH, "CANCELLED")
    async with remote_stream(service.stub.WatchTip(pb.WatchTipRequest(), metadata=token(Role.SERVICE))) as answers:
        await anext(aiter(answers))
    async with asyncio.timeout(60):
        await ended.wait()
        while _count(_WATCH, "CANCELLED") == before:
            await asyncio.sleep(0.01)


async def test_health_and_reflection_answer_without_a_token(service: Running) -> None:
    """Health says SERVING for the service; reflection lists it."""
    await wait_until_serving(service.address, NAME, 5)
    with pytest.raises(Unavailable):
        await wait_until_serving(service.address, "no.such.Service", 0.2)
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(service.channel)  # type: ignore[arg-type]

    async def ask() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")

    async for answer in stub.ServerReflectionInfo(ask()):
        assert NAME in {listed.name for listed in answer.list_services_response.service}
        break


async def test_a_port_in_use_is_said_in_one_line(gateway: Gateway, service: Running) -> None:
    """Two processes never share a port silently."""
    with pytest.raises(OSError, match=f"cannot listen on {service.address}"):
        await start_server(Process(service.address, 0, (gateway_service(gateway),), KEYS))


async def test_a_channel_carries_its_token(gateway: Gateway, service: Running) -> None:
    """A source of tokens is asked for each call."""
    asked: list[int] = []

    class Source:
        async def token(self) -> str:
            asked.append(1)
            return token(Role.OPERATOR)[0][1].removeprefix("Bearer ")

    seen: list[Caller] = []

    def tip() -> pb.Tip:
        seen.append(current_caller())
        return pb.Tip()

    gateway.tip = tip
    async with open_channel(service.address, Source()) as channel:
        stub = type(service.stub)(channel)
        for _ in range(2):
            await stub.GetTip(pb.GetTipRequest())
    assert len(asked) == 2
    assert seen == [Caller("ST1", frozenset({Role.OPERATOR}))] * 2
