"""Every method of every service as its description declares it, to be called by who may not."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from typing import Any

import grpc
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.identity.v1 import identity_service_pb2 as identity_pb2
from bithedge.identity.v1 import identity_service_pb2_grpc as identity_grpc
from bithedge.oracle.v1 import oracle_service_pb2 as oracle_pb2
from bithedge.policy.v1 import policy_service_pb2 as policy_pb2
from bithedge.pool.v1 import pool_service_pb2 as pool_pb2
from bithedge.type.v1 import access_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from deploy.demo.people import SessionToken
from deploy.local.stack import Stack
from deploy.wallet.driver import Wallet
from kernel.errors import BitHedgeError
from kernel.rpc.channels import TokenSource, open_channel, remote_errors
from kernel.rpc.tokens import ServiceTokens

_FILES = {
    "identity": identity_pb2,
    "chain_gateway": gateway_pb2,
    "oracle": oracle_pb2,
    "policy": policy_pb2,
    "pool": pool_pb2,
}
_NAMES = ("policies", "withdrawals", "preparedTransactions", "expiryBatches", "intents", "reconciliations")
_LONG_TOKEN = base64.urlsafe_b64encode(b"line:" + b"9" * 30).decode()
_HUGE_TOKEN = base64.urlsafe_b64encode(b'[99999999999999999999999,"\\u0000"]').decode()
_TEXT_TOKEN = base64.urlsafe_b64encode(b'["\\u0000"]').decode()
_BYTES = (b"\0", b"\x02" + bytes(32), b"\xff" * 65)
_TEXTS = (
    "\0",
    "x" * 5_000,
    "9" * 30,
    _LONG_TOKEN,
    _HUGE_TOKEN,
    _TEXT_TOKEN,
    *(f"{name}/{'f' * 32}" for name in _NAMES),
)
# By the type as C++ has it, which folds all the ways of writing one on the wire.
_EXTREMES: dict[int, tuple[Any, ...]] = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), -1, 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), -1, 1, 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (2**32 - 1,),
    FieldDescriptor.CPPTYPE_UINT64: (2**64 - 1,),
    FieldDescriptor.CPPTYPE_DOUBLE: (float("nan"), float("inf")),
    FieldDescriptor.CPPTYPE_BOOL: (True,),
    FieldDescriptor.CPPTYPE_ENUM: (-1, 1, 99),
    FieldDescriptor.CPPTYPE_STRING: _TEXTS,
}
# How a failure of the service arrives, as kernel.rpc.status has it.
_FAILURES = ("UNAVAILABLE INTERNAL", "UNAVAILABLE UNKNOWN", "UNAVAILABLE DEADLINE_EXCEEDED")
_OF_WALLETS = {access_pb2.ROLE_HOLDER, access_pb2.ROLE_PROVIDER}


def closed_methods(*, to_wallets: bool) -> Iterator[tuple[str, MethodDescriptor]]:
    """Service and method, of those that need a token; `to_wallets`: of those that no holder or provider may call."""
    for name, module in _FILES.items():
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                access = method.GetOptions().Extensions[access_pb2.access]
                if not access.anyone and not (to_wallets and _OF_WALLETS & set(access.roles)):
                    yield name, method


def unary_methods() -> Iterator[tuple[str, MethodDescriptor]]:
    """Service and method, of all that answer once."""
    for name, module in _FILES.items():
        for service in module.DESCRIPTOR.services_by_name.values():
            yield from ((name, method) for method in service.methods if not method.server_streaming)


def extreme_requests(message: Descriptor) -> Iterator[Message]:
    """Requests with one field at an extreme of its type and every other one empty."""
    for field in message.fields:
        if field.message_type is not None:
            values: list[Any] = list(extreme_requests(field.message_type))
        else:
            values = list(_BYTES if field.type == FieldDescriptor.TYPE_BYTES else _EXTREMES[field.cpp_type])
        for value in values:
            yield _with(message, field, value)


def _with(message: Descriptor, field: FieldDescriptor, value: Any) -> Message:
    request = GetMessageClass(message)()
    if field.is_repeated:
        getattr(request, field.name).append(value)
    elif field.message_type is not None:
        getattr(request, field.name).CopyFrom(value)
    else:
        setattr(request, field.name, value)
    return request


async def called(channel: grpc.aio.Channel, method: MethodDescriptor, request: bytes = b"") -> str:
    """The code and reason that a request is answered with."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    kind: Any = channel.unary_stream if method.server_streaming else channel.unary_unary
    call = kind(path)(request)
    try:
        with remote_errors():
            await (call.read() if method.server_streaming else call)
    except BitHedgeError as error:
        return f"{error.code} {error.reason}"
    return "OK"


async def session_token(stack: Stack, wallet: Wallet, name: str) -> SessionToken:
    """A token of a new session of that wallet."""
    account = await wallet.address(stack.keys.seed(name))
    async with open_channel(stack.layout.address("identity")) as channel:
        stub: Any = identity_grpc.IdentityServiceStub(channel)
        challenge = await stub.CreateChallenge(identity_pb2.CreateChallengeRequest(principal=account.address))
        signed = await wallet.sign_message(account.seed, challenge.message)
        signature = bytes.fromhex(signed.signature)
        request = identity_pb2.CreateSessionRequest(challenge=challenge.challenge, signature=signature)
        return SessionToken((await stub.CreateSession(request)).access_token)


async def failures(stack: Stack, tokens: TokenSource) -> list[str]:
    """Every answer to an extreme request that is neither an answer nor a refusal, with its method."""
    failed = []
    for name, method in unary_methods():
        async with open_channel(stack.layout.address(name), tokens) as channel:
            for request in extreme_requests(method.input_type):
                answer = await called(channel, method, request.SerializeToString())
                if answer in _FAILURES:
                    failed.append(f"{method.full_name} {answer}: {str(request)[:80]}")
    return failed


async def service_tokens(stack: Stack, identity: grpc.aio.Channel) -> ServiceTokens:
    """The tokens of the workflows' worker, which may call most."""
    secret = await asyncio.to_thread(stack.keys.secret("workflows").read_text)
    return ServiceTokens(identity, "workflows", secret)
