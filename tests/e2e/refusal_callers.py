"""Every method of every service as its description declares it, to be called by who may not."""

from __future__ import annotations

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
from google.protobuf.descriptor import MethodDescriptor

from deploy.demo.people import SessionToken
from deploy.local.stack import Stack
from deploy.wallet.driver import Wallet
from kernel.errors import BitHedgeError
from kernel.rpc.channels import open_channel, remote_errors

_FILES = {
    "identity": identity_pb2,
    "chain_gateway": gateway_pb2,
    "oracle": oracle_pb2,
    "policy": policy_pb2,
    "pool": pool_pb2,
}
_OF_WALLETS = {access_pb2.ROLE_HOLDER, access_pb2.ROLE_PROVIDER}


def closed_methods(*, to_wallets: bool) -> Iterator[tuple[str, MethodDescriptor]]:
    """Service and method, of those that need a token; `to_wallets`: of those that no holder or provider may call."""
    for name, module in _FILES.items():
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                access = method.GetOptions().Extensions[access_pb2.access]
                if not access.anyone and not (to_wallets and _OF_WALLETS & set(access.roles)):
                    yield name, method


async def called(channel: grpc.aio.Channel, method: MethodDescriptor) -> str:
    """The code and reason that an empty request is answered with."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    kind: Any = channel.unary_stream if method.server_streaming else channel.unary_unary
    call = kind(path)(b"")
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
