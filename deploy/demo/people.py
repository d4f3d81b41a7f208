"""The people of the demo: wallets that are not ours, signed in with their own signatures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import grpc
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as gateway_grpc
from bithedge.identity.v1 import identity_service_pb2 as identity_pb2
from bithedge.identity.v1 import identity_service_pb2_grpc as identity_grpc
from bithedge.policy.v1 import policy_service_pb2_grpc as policy_grpc
from bithedge.pool.v1 import pool_service_pb2_grpc as pool_grpc
from bithedge.type.v1 import transaction_pb2

from deploy.demo.repeating import Repeating
from deploy.local.layout import Layout
from deploy.wallet.driver import Account, Wallet
from kernel.rpc.channels import open_channel, remote_errors

_FEE_USTX: Final = 20_000


class SessionToken:
    """A person's access token, as ServiceTokens is a process's."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self) -> str:
        """The token."""
        return self._token


@dataclass(frozen=True)
class Services:
    """The stubs of one caller."""

    gateway: Any
    policy: Any
    pool: Any
    channels: tuple[grpc.aio.Channel, ...]

    @classmethod
    def open(cls, layout: Layout, token: str, repeat_seconds: float = 0.0) -> Services:
        """Channels that carry the caller's token, and repeat for so long what nobody answered."""
        names = ("chain_gateway", "policy", "pool")
        repeating = [Repeating(repeat_seconds)] if repeat_seconds else []
        channels = tuple(open_channel(layout.address(name), SessionToken(token), repeating) for name in names)
        return cls(
            gateway_grpc.ChainGatewayServiceStub(channels[0]),
            policy_grpc.PolicyServiceStub(channels[1]),
            pool_grpc.PoolServiceStub(channels[2]),
            channels,
        )


class Person:
    """A holder, a provider or the operator: an account in the outside wallet and a session with us."""

    def __init__(self, name: str, account: Account, wallet: Wallet, services: Services) -> None:
        self.name = name
        self.account = account
        self.services = services
        self._wallet = wallet

    @property
    def principal(self) -> str:
        """The Stacks address."""
        return self.account.address

    @property
    def public_key(self) -> bytes:
        """Compressed."""
        return bytes.fromhex(self.account.public_key)

    async def sign(self, prepared: transaction_pb2.PreparedTransaction) -> bytes:
        """Signs what was prepared, built anew by the outside wallet from contract, function and arguments."""
        signed = await self._wallet.call(
            self.account.seed,
            prepared.contract,
            prepared.function,
            [argument.hex() for argument in prepared.arguments],
            post_conditions=[condition.hex() for condition in prepared.post_conditions],
            post_condition_mode="deny",
            fee=_FEE_USTX,
        )
        return bytes.fromhex(signed.raw)

    async def submit_through_us(self, prepared: transaction_pb2.PreparedTransaction) -> str:
        """Signs, and hands the bytes to our gateway; the txid."""
        request = gateway_pb2.SubmitSignedTransactionRequest(
            prepared_transaction=prepared.name, signed_transaction=await self.sign(prepared)
        )
        with remote_errors():
            answer = await self.services.gateway.SubmitSignedTransaction(request)
        return str(answer.transaction.txid)

    async def submit_to_node(self, prepared: transaction_pb2.PreparedTransaction) -> str:
        """Signs, and sends to the node without us; the txid."""
        txid = await self._wallet.broadcast((await self.sign(prepared)).hex())
        return txid.removeprefix("0x")

    async def prepare_deposit(self, call: gateway_pb2.DepositCall) -> transaction_pb2.PreparedTransaction:
        """Has the gateway prepare a deposit of this person."""
        request = gateway_pb2.PrepareTransactionRequest(
            request_id=f"deposit/{self.name}/{call.amount.token}", public_key=self.public_key, deposit=call
        )
        with remote_errors():
            answer = await self.services.gateway.PrepareTransaction(request)
        prepared: transaction_pb2.PreparedTransaction = answer.prepared_transaction
        return prepared


async def sign_in(name: str, seed: str, wallet: Wallet, layout: Layout, repeat_seconds: float = 0.0) -> Person:
    """Signs in with a challenge that the outside wallet signs; later calls are repeated for `repeat_seconds`."""
    account = await wallet.address(seed)
    async with open_channel(layout.address("identity")) as channel:
        stub = identity_grpc.IdentityServiceStub(channel)
        with remote_errors():
            challenge = await stub.CreateChallenge(identity_pb2.CreateChallengeRequest(principal=account.address))
            signature = await wallet.sign_message(seed, challenge.message)
            session = await stub.CreateSession(
                identity_pb2.CreateSessionRequest(
                    challenge=challenge.challenge, signature=bytes.fromhex(signature.signature)
                )
            )
    return Person(name, account, wallet, Services.open(layout, session.access_token, repeat_seconds))
