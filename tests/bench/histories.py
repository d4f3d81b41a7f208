"""Chains full of events of our contracts, made by real signed transactions through the node's own door."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import aiohttp
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb

from services.chain_gateway.contract_calls import Call, backend_call
from services.chain_gateway.domain.confirmation import SUCCESS
from services.chain_gateway.stacks.c32 import AddressVersion
from services.chain_gateway.stacks.node import StacksNode
from services.chain_gateway.stacks.signer import KeySigner
from services.chain_gateway.stacks.transaction import TESTNET, Transaction, serialize_transaction, single_sig
from services.chain_gateway.stacks.transaction_signing import sign_transaction
from tests.bench.chain import signed_rounds
from tests.integration.chain_gateway.world import World

# As many as a node keeps waiting for one account.
PER_BLOCK: Final = 25
_FEE_USTX: Final = 10_000
_NODE_SECONDS: Final = 30.0


@dataclass
class Account:
    """Sends transactions of one key, of which nobody else sends any."""

    world: World
    node: StacksNode
    signer: KeySigner
    nonce: int

    async def hand_in(self, call: Call) -> str:
        """The txid of a call that the node now keeps for its next block."""
        nonce, self.nonce = self.nonce, self.nonce + 1
        condition = single_sig(self.signer.public_key, nonce, _FEE_USTX)
        transaction = Transaction(TESTNET, condition, call.payload, call.post_conditions)
        return await self.node.broadcast(serialize_transaction(sign_transaction(transaction, self.signer)))

    async def mine(self, calls: Sequence[Call]) -> None:
        """Mines the calls, 25 to a block; AssertionError when the last of them fails."""
        for start in range(0, len(calls), PER_BLOCK):
            txids = await asyncio.gather(*map(self.hand_in, calls[start : start + PER_BLOCK]))
            await self.world.devnet.mine_block()
        record = await self.node.transaction(txids[-1])
        assert record is not None and record.status == SUCCESS, record


@asynccontextmanager
async def open_account(world: World, signer: KeySigner) -> AsyncIterator[Account]:
    """The account of a key."""
    async with aiohttp.ClientSession() as http:
        node = StacksNode(world.devnet.url, http, _NODE_SECONDS)
        nonce = (await node.account(signer.address(AddressVersion.TESTNET_SINGLE_SIG).text)).nonce
        yield Account(world, node, signer, nonce)


async def price_calls(world: World, count: int) -> list[Call]:
    """Publications of the next rounds of BTC/USD."""
    contracts = world.settings("").contracts()
    rounds = await signed_rounds(world, count)
    calls = [pb.ContractCall(publish_price=pb.PublishPriceCall(round=one)) for one in rounds]
    return [backend_call(contracts, call)[1] for call in calls]


async def publish_prices(world: World, count: int) -> int:
    """Blocks of 25 published prices, one event each. The height of the block before them."""
    before = await stacks_height(world)
    async with open_account(world, KeySigner.from_file(world.backend_key)) as backend:
        await backend.mine(await price_calls(world, count))
    return before


async def stacks_height(world: World) -> int:
    """The height of the node's tip."""
    return int((await world.devnet.get("/extended/v2/blocks/latest"))["height"])
