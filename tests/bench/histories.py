"""Chains full of events of our contracts, made by real signed transactions through the node's own door."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import aiohttp
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb

from services.chain_gateway.contract_calls import Call, backend_call
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


@dataclass(frozen=True)
class Account:
    """Sends transactions of one key."""

    world: World
    node: StacksNode
    signer: KeySigner

    async def send(self, calls: Sequence[Call]) -> None:
        """Mines the calls, 25 to a block; AssertionError when one of them fails."""
        address = self.signer.address(26).text
        nonce = (await self.node.account(address)).nonce
        for start in range(0, len(calls), PER_BLOCK):
            for call in calls[start : start + PER_BLOCK]:
                last = await self.node.broadcast(self._signed(call, nonce))
                nonce += 1
            await self.world.devnet.mine_block()
        record = await self.node.transaction(last)
        assert record is not None and record.status == "success", record

    def _signed(self, call: Call, nonce: int) -> bytes:
        condition = single_sig(self.signer.public_key, nonce, _FEE_USTX)
        return serialize_transaction(
            sign_transaction(Transaction(TESTNET, condition, call.payload, call.post_conditions), self.signer)
        )


async def publish_prices(world: World, count: int) -> int:
    """Blocks of 25 published prices, one event each. The height of the block before them."""
    start = await _height(world)
    contracts = world.settings("").contracts()
    rounds = await signed_rounds(world, count)
    calls = [pb.ContractCall(publish_price=pb.PublishPriceCall(round=one)) for one in rounds]
    async with aiohttp.ClientSession() as http:
        node = StacksNode(world.devnet.url, http, _NODE_SECONDS)
        backend = Account(world, node, KeySigner.from_file(world.backend_key))
        await backend.send([backend_call(contracts, call)[1] for call in calls])
    return start


async def _height(world: World) -> int:
    return int((await world.devnet.get("/extended/v2/blocks/latest"))["height"])
