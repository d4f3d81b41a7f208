"""Whatever a node tells besides, only what our contracts printed in a canonical, successful transaction is an event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from bithedge.chain_gateway.v1 import chain_event_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb

from services.chain_gateway import metrics
from services.chain_gateway.reindex.comparison import Reindex
from services.chain_gateway.stacks.c32 import AddressVersion
from services.chain_gateway.stacks.clarity import StringAscii, TupleValue, UInt
from services.chain_gateway.stacks.signer import KeySigner
from tests.integration.chain_gateway.scripted_node import (
    PROVIDER,
    ScriptedNode,
    ScriptedTransaction,
    deposit_print,
    digest,
    print_of,
    scripted_node,
)
from tests.integration.chain_gateway.world import (
    SCRIPTED_DEPLOYER,
    RunningGateway,
    running_gateway,
    scripted_settings,
    write_key,
)

VAULT: Final = f"{SCRIPTED_DEPLOYER}.liquidity-pool-vault"
OTHER_TOPIC: Final = print_of(TupleValue({"topic": StringAscii("deposit")}), VAULT, topic="other")


@pytest.fixture
async def node() -> AsyncIterator[ScriptedNode]:
    """A node with one empty block."""
    async with scripted_node() as node:
        node.add(1)
        yield node


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The file of our key."""
    return write_key(tmp_path / "key", 5)


@pytest.fixture
async def gateway(node: ScriptedNode, database_url: str, key: Path) -> AsyncIterator[RunningGateway]:
    """A gateway on the scripted node."""
    settings = scripted_settings(database_url, key, node.url)
    async with running_gateway(settings) as running:
        yield running


def _deposit(name: str, amount: int, contract: str = VAULT, **changes: str) -> ScriptedTransaction:
    return ScriptedTransaction(digest(name), [deposit_print(amount, contract)], **changes)  # type: ignore[arg-type]


async def _events(gateway: RunningGateway, stacks_height: int) -> list[chain_event_pb2.ChainEvent]:
    """All events up to a height."""
    await gateway.tip(stacks_height=stacks_height)
    pages = await gateway.events(pb.EVENT_FINALITY_TIP, lambda pages: pages[-1].tip.stacks_height >= stacks_height)
    return [event for page in pages for event in page.events]


@pytest.mark.parametrize(
    "foreign",
    [
        pytest.param(_deposit("a", 1, contract=f"{SCRIPTED_DEPLOYER}.liquidity-pool-vault-2"), id="other contract"),
        pytest.param(_deposit("a", 1, contract=f"{PROVIDER}.liquidity-pool-vault"), id="namesake of another deployer"),
        pytest.param(_deposit("a", 1, contract=f"{VAULT}.liquidity-pool-vault"), id="name of too many parts"),
        pytest.param(_deposit("a", 1, contract=SCRIPTED_DEPLOYER), id="no contract at all"),
        pytest.param(_deposit("a", 1, status="abort_by_response"), id="aborted by the contract"),
        pytest.param(_deposit("a", 1, status="abort_by_post_condition"), id="aborted by a post-condition"),
        pytest.param(_deposit("a", 1, status="dropped_problematic"), id="dropped"),
        pytest.param(_deposit("a", 1, kind="token_transfer"), id="a transaction that runs no code"),
        pytest.param(ScriptedTransaction(digest("a"), [OTHER_TOPIC]), id="no print"),
    ],
)
async def test_a_foreign_event_is_not_believed(
    node: ScriptedNode, gateway: RunningGateway, foreign: ScriptedTransaction
) -> None:
    """It makes no event, and does not keep the one beside it from being told."""
    node.add(2, foreign, _deposit("b", 2))
    assert [event.deposited.amount.base_units for event in await _events(gateway, 2)] == [2]


async def test_another_senders_fee_is_not_ours(node: ScriptedNode, gateway: RunningGateway, key: Path) -> None:
    """Anybody may cause an event of ours; its fee is noted only where one of our keys sent the transaction."""
    ours = KeySigner.from_file(key).address(AddressVersion.TESTNET_SINGLE_SIG).text
    node.add(2, _deposit("a", 1), _deposit("b", 2, sender=ours))
    events = await _events(gateway, 2)
    assert [(event.sender_principal, event.backend_fee_ustx) for event in events] == [(PROVIDER, 0), (ours, 1000)]


async def test_what_printed_nothing_of_ours_has_its_fee_told(
    node: ScriptedNode, gateway: RunningGateway, key: Path, database_url: str
) -> None:
    """Aborted, of another kind, or of a contract not ours: its fee is an event of its own where one of our keys paid,
    in its place among the others, withdrawn with its block, and the same when the chain is read anew."""
    ours = KeySigner.from_file(key).address(AddressVersion.TESTNET_SINGLE_SIG).text
    transactions = [
        _deposit("aborted", 1, sender=ours, status="abort_by_response"),
        _deposit("ours", 2, sender=ours),
        _deposit("another's", 1, status="abort_by_response"),
        _deposit("sponsored", 1, sponsor=ours, status="abort_by_post_condition"),
        _deposit("of a user", 3),
        ScriptedTransaction(digest("filler"), kind="token_transfer", sender=ours),
        _deposit("sponsored by another", 1, sender=ours, sponsor=PROVIDER, status="abort_by_response"),
        _deposit("foreign", 1, contract=f"{PROVIDER}.liquidity-pool-vault", sender=ours),
    ]
    node.add(2, *(replace(one, nonce=nonce) for nonce, one in enumerate(transactions)))
    events = await _events(gateway, 2)
    fees = [event for event in events if event.HasField("fee_paid")]
    assert [event.txid for event in fees] == [digest(one) for one in ("aborted", "sponsored", "filler", "foreign")]
    assert [event.sender_principal for event in fees] == [ours, PROVIDER, ours, ours]
    assert {(event.fee_paid.payer_principal, event.event_index) for event in fees} == {(ours, 2**31 - 1)}
    assert [(event.transaction_index, event.backend_fee_ustx) for event in events] == [
        *((0, 1000), (1, 1000), (3, 1000), (4, 0), (5, 1000), (7, 1000))
    ]
    contracts = scripted_settings(database_url, key, node.url).contracts()
    report = await Reindex(gateway.gateway.database, gateway.gateway.nodes, contracts, 1).compare()
    assert (report.events, report.differences) == (6, [])
    node.add(3, _deposit("later", 4), on_height=1, fork="x")
    node.add(3, fork="x")
    told = [(event.txid, event.withdrawn) for event in (await _events(gateway, 3))[6:]]
    assert told == [*((event.txid, True) for event in reversed(events)), (digest("later"), False)]


async def test_a_transaction_that_is_in_another_block_waits(node: ScriptedNode, gateway: RunningGateway) -> None:
    """While the API tells of a transaction in a block that is not the one being read, the block is not taken."""
    moving = _deposit("a", 1, told_block=digest("a block that was left"))
    node.add(2, moving)
    asked = "/extended/v1/tx/multiple"
    async with asyncio.timeout(60):
        while node.questions.count(asked) < 3:
            await asyncio.sleep(0.01)
    assert (await gateway.tip()).stacks_height == 1
    moving.told_block = ""
    assert [event.deposited.amount.base_units for event in await _events(gateway, 2)] == [1]


async def test_an_event_in_unknown_form_stops_ingestion(node: ScriptedNode, gateway: RunningGateway) -> None:
    """A deposit without its amount means other contracts than these: nothing goes on, and that is shown, until the
    chain goes another way."""
    await gateway.tip(stacks_height=1)
    broken = TupleValue({"topic": StringAscii("deposit"), "token": UInt(1)})
    node.add(2, ScriptedTransaction(digest("a"), [print_of(broken, VAULT)]))
    async with asyncio.timeout(60):
        while not metrics.INGEST_STOPPED._value.get():
            await asyncio.sleep(0.01)
    node.add(3)
    assert (await gateway.tip()).stacks_height == 1
    node.add(2, _deposit("b", 2), on_height=1, fork="x")
    assert [event.deposited.amount.base_units for event in await _events(gateway, 2)] == [2]
    assert metrics.INGEST_STOPPED._value.get() == 0
