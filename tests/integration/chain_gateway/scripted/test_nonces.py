"""Nonces: given, lost to others, lied about, missing; never a gap, never two effects."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb

from kernel.ids import new_id
from services.chain_gateway.config import Settings
from services.chain_gateway.stacks.payload import TokenTransfer
from services.chain_gateway.tables import ChainTransaction
from tests.integration.chain_gateway.scripted_gateway import (
    ADDRESS,
    all_confirmed,
    publish_call,
    refusal,
    sent,
    until,
)
from tests.integration.chain_gateway.scripted_node import ScriptedNode, ScriptedTransaction, digest
from tests.integration.chain_gateway.world import RunningGateway, running_gateway


async def test_nothing_is_signed_behind_what_may_not_have_arrived(node: ScriptedNode, gateway: RunningGateway) -> None:
    """While the fate of one transaction is unknown the next intent waits, so that no gap of nonces can arise."""
    node.refusals = [503] * 6
    first = await gateway.create_intent(new_id(), publish_call(1))
    second = await gateway.create_intent(new_id(), publish_call(2))
    await until(lambda: len(node.mempool) == 2)
    assert len({one.nonce for one in sent(node)[:7]}) == 1
    for intent, nonce in ((first, 0), (second, 1)):
        found = await gateway.intent_where(intent.name, lambda one: len(one.transactions) == 1)
        assert found.transactions[0].nonce == nonce


@pytest.mark.parametrize("reason", ["ConflictingNonceInMempool", "BadNonce"])
async def test_a_nonce_lost_to_others_is_lost_only_when_final(
    node: ScriptedNode, gateway: RunningGateway, reason: str
) -> None:
    """Somebody else's transaction has the nonce: only when it is final is the intent sent again under the next one."""
    node.refusals = [refusal(reason)] * 1_000
    intent = await gateway.create_intent(new_id(), publish_call(1))
    await until(lambda: len(node.broadcasts) >= 2)
    foreign = ScriptedTransaction(digest("foreign"), sender=ADDRESS, nonce=0, kind="token_transfer")
    node.add(2, foreign)
    node.refusals.clear()
    await gateway.tip(2)
    seen = await gateway.intent_where(intent.name, lambda one: True)
    assert [(tx.nonce, tx.state) for tx in seen.transactions] == [(0, pb.TRANSACTION_STATE_UNKNOWN)]
    node.add(3)
    await until(lambda: node.mempool)
    done = await all_confirmed(node, gateway, intent, 4)
    assert done.state == pb.INTENT_STATE_CONFIRMED
    assert [(tx.nonce, tx.state) for tx in done.transactions] == [
        (0, pb.TRANSACTION_STATE_REPLACED),
        (1, pb.TRANSACTION_STATE_CONFIRMED),
    ]


async def test_a_foreign_transaction_that_is_withdrawn_takes_no_nonce(
    node: ScriptedNode, gateway: RunningGateway
) -> None:
    """The block with somebody else's transaction is withdrawn: ours is handed in again, the same bytes, and counts."""
    node.refusals = [503, 503]
    intent = await gateway.create_intent(new_id(), publish_call(1))
    await until(lambda: len(node.broadcasts) >= 3)
    node.mempool.clear()
    foreign = ScriptedTransaction(digest("foreign"), sender=ADDRESS, nonce=0, kind="token_transfer")
    node.add(1, foreign)
    await gateway.tip(stacks_height=2)
    node.add(1, on_height=1, fork="x")
    node.add(1, fork="x")
    await until(lambda: node.mempool)
    done = await all_confirmed(node, gateway, intent)
    assert (done.state, len(done.transactions)) == (pb.INTENT_STATE_CONFIRMED, 1)
    assert len(set(node.broadcasts)) == 1


@pytest.mark.parametrize("lie", [0, 7, 1_000])
async def test_a_node_that_lies_about_nonces_is_not_believed(
    node: ScriptedNode, gateway: RunningGateway, lie: int
) -> None:
    """Whatever the node says of the account, nonces go on from the blocks: no gap, and nothing twice."""
    node.nonce = lie
    first = await gateway.create_intent(new_id(), publish_call(1))
    await until(lambda: node.mempool)
    await all_confirmed(node, gateway, first)
    node.nonce = lie
    second = await gateway.create_intent(new_id(), publish_call(2))
    await until(lambda: node.mempool)
    done = await all_confirmed(node, gateway, second, 4)
    assert done.state == pb.INTENT_STATE_CONFIRMED
    assert sorted({one.nonce for one in sent(node)}) == [0, 1]


async def test_a_nonce_that_nobody_has_is_filled(node: ScriptedNode, gateway: RunningGateway) -> None:
    """Our first nonce turns out never to have been used, as after another's transaction was withdrawn: what waits
    above it gets on because a transfer that does nothing takes it."""
    node.add(1, ScriptedTransaction(digest("foreign"), sender=ADDRESS, nonce=0, kind="token_transfer"))
    await gateway.tip(stacks_height=2)
    intent = await gateway.create_intent(new_id(), publish_call(1))
    await until(lambda: node.mempool)
    assert sent(node)[0].nonce == 1
    node.add(1, on_height=1, fork="x")
    node.add(1, fork="x")
    await until(lambda: len(node.mempool) == 2)
    filler = next(one for one in sent(node) if one.nonce == 0)
    assert isinstance(filler.payload, TokenTransfer)
    done = await all_confirmed(node, gateway, intent)
    assert (done.state, done.transactions[0].nonce) == (pb.INTENT_STATE_CONFIRMED, 1)


async def test_what_another_replica_has_handed_in_is_not_taken_back(node: ScriptedNode, settings: Settings) -> None:
    """A dispatcher suspended after signing finds its first refused: what may have left meanwhile stays as it is."""
    async with running_gateway(settings, only=("state", "pulse", "ingest")) as running:
        gateway = running.gateway
        await running.tip(1)
        names = [(await running.create_intent(new_id(), publish_call(number))).name for number in range(2)]
        rows = await gateway.dispatcher.allocation.sign_next(ADDRESS)
        async with gateway.database.transaction() as session:
            await session.exec(sa.update(ChainTransaction).values(sends=ChainTransaction.sends + 1))
        node.refusals = [refusal("BadFunctionArgument")]
        assert not await gateway.dispatcher.broadcaster.send_all(rows)
        found = [await running.intent_where(name, lambda one: True) for name in names]
    assert {one.state for one in found} == {pb.INTENT_STATE_SUBMITTED}
    assert [one.transactions[0].nonce for one in found] == [0, 1]
