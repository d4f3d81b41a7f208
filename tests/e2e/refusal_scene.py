"""People on a running stack: what they send past our services, and all that may not move by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.policy.v1 import policy_pb2
from bithedge.policy.v1 import policy_service_pb2 as policy_service
from bithedge.pool.v1 import pool_service_pb2 as pool_pb2
from bithedge.type.v1 import transaction_pb2

from deploy.demo.invariants import TokenBooks, check_books, read_books
from deploy.demo.market import eventually
from deploy.demo.people import Person
from deploy.devnet.driver import DevnetClient
from deploy.local.stack import Stack
from deploy.wallet.driver import Wallet
from kernel.errors import BitHedgeError
from kernel.rpc.channels import remote_errors
from services.chain_gateway.stacks.clarity import ClarityValue, parse_principal, serialize
from services.chain_gateway.stacks.messages import sign_structured, structured_domain
from services.chain_gateway.stacks.signer import KeySigner

CHAIN_ID: Final = 0x80000000
FEE_USTX: Final = 20_000


@dataclass(frozen=True)
class Still:
    """What a refusal leaves as it is: vault and ledger, reservations, every policy, wallets, positions."""

    books: dict[str, TokenBooks]
    reserved: dict[int, int]
    policies: list[policy_pb2.Policy]
    sats: dict[str, int]
    positions: list[pool_pb2.Position]


@dataclass(frozen=True)
class Attempt:
    """A call that a wallet sends straight to the node, past all our services."""

    who: Person
    contract: str
    function: str
    arguments: tuple[ClarityValue, ...]
    # As on the wire; None: everything may move.
    post_conditions: tuple[bytes, ...] | None = None


async def refusal(call: Awaitable[Any]) -> BitHedgeError:
    """What a call of ours is refused with."""
    with pytest.raises(BitHedgeError) as caught, remote_errors():
        await call
    return caught.value


class Scene:
    """Four people, the stack's two signing keys as a thief would hold them, and the ways around us."""

    def __init__(self, stack: Stack, devnet: DevnetClient, wallet: Wallet, people: dict[str, Person]) -> None:
        self.stack = stack
        self.devnet = devnet
        self.wallet = wallet
        self.people = people
        self.holder, self.stranger = people["holder"], people["stranger"]
        self.provider, self.operator = people["provider"], people["operator"]
        self.backend = KeySigner.from_file(stack.keys.backend_key)
        self.oracle = KeySigner.from_file(stack.keys.oracle_key)
        # Whoever deployed the contracts; known from the first transaction that the gateway prepares.
        self.deployer = ""

    async def mined(self, txid: str) -> None:
        """Returns when the transaction has succeeded."""
        assert await self.outcome(txid) == "success"

    async def outcome(self, txid: str) -> str:
        """`success`, the contract's `(err uN)`, or the node's own word, when the services have seen the block."""
        transaction = await self.devnet.wait_for(f"0x{txid.removeprefix('0x')}")

        async def followed() -> bool:
            return await read_tip(self.operator) >= int(transaction["block_height"])

        await eventually(followed, "the gateway follows the block")
        status = str(transaction["tx_status"])
        return str(transaction["tx_result"]["repr"]) if status == "abort_by_response" else status

    async def signed(self, who: Person, prepared: transaction_pb2.PreparedTransaction, **changes: Any) -> bytes:
        """What was prepared, signed by that wallet, with some of it changed."""
        arguments = changes.pop("arguments", prepared.arguments)
        fields = {"post_conditions": [one.hex() for one in prepared.post_conditions], "fee": FEE_USTX, **changes}
        signed = await self.wallet.call(
            who.account.seed, prepared.contract, prepared.function, [one.hex() for one in arguments], **fields
        )
        return bytes.fromhex(signed.raw)

    async def send(self, *attempts: Attempt) -> list[str]:
        """Signs and sends each straight to the node, and answers their outcomes."""
        txids = []
        for attempt in attempts:
            signed = await self.wallet.call(
                attempt.who.account.seed,
                f"{self.deployer}.{attempt.contract}",
                attempt.function,
                [serialize(argument).hex() for argument in attempt.arguments],
                post_conditions=[condition.hex() for condition in attempt.post_conditions or ()],
                post_condition_mode="allow" if attempt.post_conditions is None else "deny",
                fee=FEE_USTX,
            )
            txids.append(await self.wallet.broadcast(signed.raw))
        return list(await asyncio.gather(*map(self.outcome, txids)))

    def sign(
        self, signer: KeySigner, kind: str, contract: str, message: ClarityValue, chain_id: int = CHAIN_ID
    ) -> bytes:
        """As a thief of that key would sign for a contract."""
        domain = structured_domain(kind, chain_id, parse_principal(f"{self.deployer}.{contract}"))
        return sign_structured(signer, domain, message)

    # What may not move

    async def still(self) -> Still:
        """All of it, with the invariants asserted."""
        books = await read_books(self.operator.services)
        check_books(books)
        with remote_errors():
            statement = await self.operator.services.pool.GetPoolStatement(pool_pb2.GetPoolStatementRequest())
            everyone = policy_service.ListPoliciesRequest(page_size=200)
            policies = list((await self.operator.services.policy.ListPolicies(everyone)).policies)
        positions = await read_positions(self.provider)
        reserved = {int(total.token): total.reserved_base_units for total in statement.totals}
        sats = {name: await self._sats(person.principal) for name, person in self.people.items()}
        return Still(books, reserved, policies, sats, positions)

    async def _sats(self, principal: str) -> int:
        balances = await self.devnet.get(f"/extended/v1/address/{principal}/balances")
        return sum(int(held["balance"]) for held in balances["fungible_tokens"].values())

    @asynccontextmanager
    async def nothing_moves(self) -> AsyncIterator[None]:
        """Vault, ledger, reservations, policies, wallets and positions are the same after as before."""
        before = await self.still()
        yield
        assert await self.still() == before


async def read_tip(person: Person) -> int:
    """Height of the Stacks block that the gateway has followed to."""
    with remote_errors():
        answer = await person.services.gateway.GetTip(gateway_pb2.GetTipRequest())
    return int(answer.tip.stacks_height)


async def read_positions(provider: Person) -> list[pool_pb2.Position]:
    """What a provider holds."""
    with remote_errors():
        return list((await provider.services.pool.ListPositions(pool_pb2.ListPositionsRequest())).positions)
