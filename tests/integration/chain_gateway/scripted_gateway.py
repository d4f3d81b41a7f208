"""A gateway on a scripted node: its settings, what tests ask it to do, and how they mine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.type.v1 import price_pb2

from services.chain_gateway.config import Settings
from services.chain_gateway.stacks.c32 import AddressVersion
from services.chain_gateway.stacks.signer import KeySigner
from services.chain_gateway.stacks.transaction import Transaction, deserialize_transaction
from tests.integration.chain_gateway.scripted_node import ScriptedNode
from tests.integration.chain_gateway.world import RunningGateway, write_key

DEPLOYER: Final = "ST000000000000000000002AMW42H"
ADDRESS: Final = KeySigner(bytes([5]) * 32 + b"\x01").address(AddressVersion.TESTNET_SINGLE_SIG).text
"""The account of the gateway's key."""
_SECONDS: Final = 60


def scripted_settings(node: ScriptedNode, database_url: str, folder: Path) -> Settings:
    """Settings of a gateway on a scripted node."""
    return Settings(
        listen="127.0.0.1:0",
        database_url=database_url,
        identity_address="127.0.0.1:1",
        node_urls=(node.url,),
        contract_deployer=DEPLOYER,
        backend_signers=(f"file:{write_key(folder / 'key', 5)}",),
        poll_interval_ms=10,
    )


def publish_call(number: int) -> pb.ContractCall:
    """Publishes a round of a number that the signing policy allows."""
    message = price_pb2.PriceRound(
        feed=price_pb2.FEED_BTC_USD,
        round=number,
        price_usd_e8=50_000 * 10**8,
        burn_height=1,
        signature=bytes([1]) * 64 + b"\0",
    )
    message.observe_time.FromSeconds(1_600_000_000)
    return pb.ContractCall(publish_price=pb.PublishPriceCall(round=message))


async def until(holds: Callable[[], Any]) -> None:
    """Waits for what a test expects of the node."""
    async with asyncio.timeout(_SECONDS):
        while not holds():
            await asyncio.sleep(0.01)


def sent(node: ScriptedNode) -> list[Transaction]:
    """All that was handed in, in order."""
    return [deserialize_transaction(raw) for raw in node.broadcasts]


def refusal(reason: str, **data: object) -> dict[str, Any]:
    """A node's refusal of a broadcast."""
    return {"reason": reason, "reason_data": data}


async def confirmed(node: ScriptedNode, gateway: RunningGateway, intent: pb.Intent) -> pb.Intent:
    """Mines what waits, and the burn block on top."""
    await until(lambda: node.mempool)
    return await all_confirmed(node, gateway, intent)


async def all_confirmed(
    node: ScriptedNode, gateway: RunningGateway, intent: pb.Intent, burn_height: int = 2
) -> pb.Intent:
    """Mines all that waits, by nonce, and the burn block on top; the intent once it has ended."""
    for txid in sorted(node.mempool, key=lambda txid: deserialize_transaction(node.mempool[txid]).nonce):
        node.mine(txid, burn_height)
    node.add(burn_height + 1)
    return await gateway.intent_where(intent.name, lambda one: one.end_time.seconds)
