"""What a node tells is believed only as far as it must be: forks, namesakes, aborted transactions, lag."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from bithedge.chain_gateway.v1 import chain_event_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb

from services.chain_gateway.config import Settings
from services.chain_gateway.stacks.clarity import (
    Buffer,
    ClarityValue,
    StringAscii,
    TupleValue,
    UInt,
    parse_principal,
)
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


@pytest.fixture
async def node() -> AsyncIterator[ScriptedNode]:
    """A node with one empty block."""
    async with scripted_node() as node:
        node.add(1)
        yield node


@pytest.fixture
def settings(node: ScriptedNode, database_url: str, tmp_path: Path) -> Settings:
    """Settings of a gateway on the scripted node."""
    return scripted_settings(database_url, write_key(tmp_path / "key", 5), node.url)


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[RunningGateway]:
    """A gateway on the scripted node."""
    async with running_gateway(settings) as running:
        yield running


def _deposit(name: str, amount: int, contract: str = VAULT, **changes: str) -> ScriptedTransaction:
    return ScriptedTransaction(digest(name), [deposit_print(amount, contract)], **changes)  # type: ignore[arg-type]


def _told(pages: list[pb.WatchEventsResponse]) -> list[int]:
    """Amounts in the order told, negative for withdrawals."""
    return [_signed(event) for page in pages for event in page.events]


def _signed(event: chain_event_pb2.ChainEvent) -> int:
    amount = event.deposited.amount.base_units
    return -amount if event.withdrawn else amount


async def test_a_fork_withdraws_and_applies_again(node: ScriptedNode, gateway: RunningGateway) -> None:
    """Events above the common ancestor are withdrawn newest first, then the new branch's come in its order."""
    node.add(2, _deposit("a", 1))
    node.add(2, _deposit("b", 2), _deposit("c", 3))
    node.add(2, _deposit("d", 4))
    await gateway.tip(stacks_height=4)
    first = await gateway.events(pb.EVENT_FINALITY_TIP, lambda pages: len(_told(pages)) == 4)
    assert _told(first) == [1, 2, 3, 4]
    node.add(2, _deposit("c", 3), on_height=2, fork="x")
    node.add(2, _deposit("b", 2), fork="x")
    node.add(2, _deposit("e", 5), fork="x")
    after = await gateway.events(pb.EVENT_FINALITY_TIP, lambda pages: len(_told(pages)) == 6, cursor=first[-1].cursor)
    assert _told(after) == [-4, -3, -2, 3, 2, 5]
    node.add(3)
    await gateway.tip(burn_height=3)
    final = await gateway.events(pb.EVENT_FINALITY_FINAL, lambda pages: pages[-1].delivered_burn_height == 2)
    assert _told(final) == [1, 3, 2, 5]
    sequences = [event.sequence for page in final for event in page.events]
    assert sequences == sorted(sequences)


async def test_blocks_below_one_that_cannot_be_read_are_taken(node: ScriptedNode, gateway: RunningGateway) -> None:
    """What was read before a failure is kept, or a node that fails now and then would keep a long way from its end."""
    node.add(2, _deposit("a", 1))
    hidden = node.add(2, _deposit("b", 2))
    node.untold.add(hidden.hash)
    node.add(2, _deposit("c", 3))
    await gateway.events(pb.EVENT_FINALITY_TIP, lambda pages: _told(pages) == [1])
    node.untold.clear()
    await gateway.events(pb.EVENT_FINALITY_TIP, lambda pages: _told(pages) == [1, 2, 3])


async def test_a_long_way_is_taken_in_parts_up_to_what_cannot_be_read(
    node: ScriptedNode, gateway: RunningGateway
) -> None:
    """Of 300 blocks that came at once, those below the one that cannot be read are taken, each event once, in order."""
    hidden = 217
    for number in range(1, 301):
        block = node.add(2, _deposit(f"of {number}", number))
        if number == hidden:
            node.untold.add(block.hash)
    told = list(range(1, 301))
    await gateway.events(pb.EVENT_FINALITY_TIP, lambda pages: _told(pages) == told[: hidden - 1])
    node.untold.clear()
    await gateway.events(pb.EVENT_FINALITY_TIP, lambda pages: _told(pages) == told)


async def test_a_branch_that_returns_is_told_again(node: ScriptedNode, gateway: RunningGateway) -> None:
    """Away and back: the first branch's event is told, withdrawn, and told again, once each."""
    node.add(2, _deposit("a", 1), fork="x")
    await gateway.events(pb.EVENT_FINALITY_TIP, lambda pages: _told(pages) == [1])
    node.add(2, on_height=1, fork="y")
    node.add(2, fork="y")
    await gateway.events(pb.EVENT_FINALITY_TIP, lambda pages: _told(pages) == [1, -1])
    node.add(2, _deposit("a", 1), on_height=1, fork="x")
    node.add(2, fork="x")
    node.add(2, fork="x")
    await gateway.events(pb.EVENT_FINALITY_TIP, lambda pages: _told(pages) == [1, -1, 1])


async def test_final_events_that_are_withdrawn_are_told_as_such(node: ScriptedNode, gateway: RunningGateway) -> None:
    """A reorganisation deeper than finality: consumers of final events see the withdrawal and what came instead."""
    node.add(2, _deposit("a", 1))
    node.add(3, _deposit("b", 2))
    first = await gateway.events(pb.EVENT_FINALITY_FINAL, lambda pages: _told(pages) == [1])
    node.add(2, _deposit("c", 3), on_height=1, fork="x")
    node.add(3, fork="x")
    node.add(4, fork="x")
    after = await gateway.events(pb.EVENT_FINALITY_FINAL, lambda pages: len(_told(pages)) == 2, cursor=first[-1].cursor)
    assert _told(after) == [-1, 3]
    late = await gateway.events(pb.EVENT_FINALITY_FINAL, lambda pages: len(_told(pages)) == 3)
    assert _told(late) == [1, -1, 3]


async def test_unknown_topics_are_passed_on_as_they_are(node: ScriptedNode, gateway: RunningGateway) -> None:
    """A print of ours that no projector acts on comes as its topic and value."""
    value = TupleValue({"topic": StringAscii("excess-skimmed"), "amount": UInt(7)})
    node.add(2, ScriptedTransaction(digest("a"), [print_of(value, VAULT)]))
    pages = await gateway.events(pb.EVENT_FINALITY_TIP, lambda pages: any(page.events for page in pages))
    event = next(event for page in pages for event in page.events)
    assert event.other.topic == "excess-skimmed"


async def test_the_admins_events_come_typed(node: ScriptedNode, gateway: RunningGateway) -> None:
    """Delays, vetoes and withdrawn fees; a veto of what can be no voucher of ours is passed on raw."""
    money = {"token": UInt(2), "amount": UInt(7)}
    values: list[dict[str, ClarityValue]] = [
        {
            "topic": StringAscii("withdrawal-delayed"),
            "voucher-id": Buffer(bytes(16)),
            "provider": parse_principal(PROVIDER),
            "ready-burn-height": UInt(9),
            **money,
        },
        {"topic": StringAscii("voucher-vetoed"), "voucher-id": Buffer(bytes(16))},
        {"topic": StringAscii("voucher-vetoed"), "voucher-id": Buffer(bytes(3))},
        {"topic": StringAscii("fees-withdrawn"), "recipient": parse_principal(VAULT), **money},
    ]
    node.add(2, ScriptedTransaction(digest("a"), [print_of(TupleValue(value), VAULT) for value in values]))
    pages = await gateway.events(pb.EVENT_FINALITY_TIP, lambda pages: any(page.events for page in pages))
    delayed, vetoed, other, fees = [event for page in pages for event in page.events]
    assert delayed.withdrawal_delayed.ready_burn_height == 9
    assert vetoed.voucher_vetoed.withdrawal == f"withdrawals/{bytes(16).hex()}"
    assert other.other.topic == "voucher-vetoed"
    assert (fees.fees_withdrawn.recipient_principal, fees.fees_withdrawn.amount.base_units) == (VAULT, 7)


async def test_a_refusal_of_a_senseless_id_stops_nothing(node: ScriptedNode, gateway: RunningGateway) -> None:
    """Anyone can have an id beyond 64 bits refused on chain: it is passed on raw, and events go on."""
    prints = [
        print_of(
            TupleValue({"topic": StringAscii("policy-refused"), "id": UInt(number), "error": UInt(3013)}),
            f"{SCRIPTED_DEPLOYER}.policy-registry",
        )
        for number in (2**127, 7)
    ]
    node.add(2, ScriptedTransaction(digest("a"), prints))
    pages = await gateway.events(pb.EVENT_FINALITY_TIP, lambda pages: any(page.events for page in pages))
    events = [event for page in pages for event in page.events]
    assert [event.WhichOneof("payload") for event in events] == ["other", "policy_refused"]
    assert events[1].policy_refused.onchain_id == 7


async def test_a_node_that_lags_withdraws_nothing(node: ScriptedNode, gateway: RunningGateway) -> None:
    """A node that is behind on the same chain is not a reorganisation."""
    node.add(2, _deposit("a", 1))
    node.add(3)
    await gateway.tip(stacks_height=3)
    ahead = node.blocks.pop()
    await gateway.tip(stacks_height=3)
    pages = await gateway.events(pb.EVENT_FINALITY_TIP, lambda pages: _told(pages) == [1])
    node.blocks.append(ahead)
    node.add(4, _deposit("b", 2))
    after = await gateway.events(pb.EVENT_FINALITY_TIP, lambda pages: bool(_told(pages)), cursor=pages[-1].cursor)
    assert _told(after) == [2]


async def test_a_restart_goes_on_where_it_was(node: ScriptedNode, settings: Settings) -> None:
    """A gateway that was down during a fork finds it, and its consumers' cursors stay good."""
    node.add(2, _deposit("a", 1))
    node.add(2, _deposit("b", 2))
    async with running_gateway(settings) as running:
        first = await running.events(pb.EVENT_FINALITY_TIP, lambda pages: _told(pages) == [1, 2])
    node.add(2, _deposit("c", 3), on_height=2, fork="x")
    node.add(2, fork="x")
    async with running_gateway(settings) as running:
        after = await running.events(
            pb.EVENT_FINALITY_TIP, lambda pages: len(_told(pages)) == 2, cursor=first[-1].cursor
        )
    assert _told(after) == [-2, 3]
