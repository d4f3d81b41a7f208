"""GetContractSnapshot on the real contracts, and reconciliation over it: all pages are of one block, however far
the chain has gone meanwhile."""

from __future__ import annotations

import grpc
import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.type.v1 import money_pb2, price_pb2, transaction_pb2
from temporalio.exceptions import ApplicationError

from deploy.devnet.faults import FaultDriver
from kernel.ids import new_id
from services.chain_gateway import snapshot
from tests.integration.chain_gateway.carried_pages import carrying
from tests.integration.chain_gateway.wallets import created_policy, reason
from tests.integration.chain_gateway.world import SERVICE, USD, RunningGateway, World, running_gateway
from workflows.activities import reconciliation

Page = pb.GetContractSnapshotResponse


async def page(gateway: RunningGateway, after: int = 0, block_hash: str = "", size: int = 1) -> Page:
    """One page."""
    request = pb.GetContractSnapshotRequest(after_onchain_id=after, page_size=size, block_hash=block_hash)
    return await gateway.stub.GetContractSnapshot(request, metadata=SERVICE)


async def pages_after(gateway: RunningGateway, first: Page) -> list[Page]:
    """The pages that follow one, each asked for as reconciliation does."""
    found = [first]
    while found[-1].next_after_onchain_id:
        found.append(await page(gateway, found[-1].next_after_onchain_id, first.block_hash))
    return found[1:]


async def refused(gateway: RunningGateway, after: int, block_hash: str) -> tuple[grpc.StatusCode, str]:
    """Code and reason of a page that cannot be had."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await page(gateway, after, block_hash)
    return error.value.code(), reason(error.value)


async def at_least(world: World, gateway: RunningGateway, count: int) -> int:
    """How many policies there are, once there are as many as that."""
    while (found := len((await page(gateway, size=200)).policies)) < count:
        await created_policy(world, gateway, money_pb2.TOKEN_STX)
        await gateway.caught_up(world)
    return found


async def _settle(world: World, gateway: RunningGateway, terms: transaction_pb2.QuoteTerms) -> None:
    """Settles the first policy at BTC 46,000, and waits until that is mined."""
    await gateway.publish(world, price_pb2.FEED_BTC_USD, 46_000 * USD)
    await gateway.publish(world, price_pb2.FEED_STX_USD, USD)
    height = (await gateway.caught_up(world)).burn_height
    call = pb.SettlePolicyCall(
        onchain_id=1,
        receipt=world.receipt(terms.policy, height, 46_000 * USD, USD),
        btc_round=world.rounds[price_pb2.FEED_BTC_USD],
        stx_round=world.rounds[price_pb2.FEED_STX_USD],
        max_payout=(await page(gateway)).policies[0].max_payout,
    )
    intent = await gateway.create_intent(f"settle/{new_id()}", pb.ContractCall(settle_policy=call))
    mined = await gateway.intent_where(intent.name, lambda one: any(tx.stacks_height for tx in one.transactions))
    assert await world.mined(mined.transactions[-1].txid) == "success"


async def test_pages_agree_with_the_first_pages_block(
    world: World, gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Policies are created and settled, deposits and burn blocks come in between: every page, its balances and pending
    events are what they were when its block was the tip; a new first page has the new state."""
    monkeypatch.setattr(snapshot, "_POLICIES_PER_CALL", 2)
    terms, _ = await created_policy(world, gateway, money_pb2.TOKEN_STX)
    await created_policy(world, gateway, money_pb2.TOKEN_SBTC)
    await created_policy(world, gateway, money_pb2.TOKEN_STX)
    await gateway.caught_up(world)
    first = await page(gateway)
    at_the_tip = await pages_after(gateway, first)
    assert [one.policies[0].onchain_id for one in (first, *at_the_tip)] == [1, 2, 3]
    assert {one.block_hash for one in at_the_tip} == {first.block_hash}
    assert [len(one.pending_events) > 0 for one in (first, *at_the_tip)] == [False, False, True]
    await created_policy(world, gateway, money_pb2.TOKEN_SBTC)
    assert await pages_after(gateway, first) == at_the_tip
    await _settle(world, gateway, terms)
    await world.devnet.mine_burn_blocks(3)
    await gateway.caught_up(world)
    assert await pages_after(gateway, first) == at_the_tip
    assert await page(gateway, 0, first.block_hash) == first
    now = await page(gateway, size=200)
    assert [(one.onchain_id, one.status) for one in now.policies] == [(1, 1), (2, 0), (3, 0), (4, 0)]
    assert first.policies[0].status == 0
    assert (now.balances != first.balances, now.sequence > first.sequence, len(now.pending_events)) == (True, True, 0)
    assert await page(gateway, 0, now.block_hash, size=200) == now


async def test_a_block_that_is_none_of_the_chain_is_refused(world: World, gateway: RunningGateway) -> None:
    """What is no hash can never be a block; a hash that our chain does not hold begins anew."""
    invalid = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    for text in ("zz", "AB" * 32, "0x" + "ab" * 32, "ab" * 31):
        assert await refused(gateway, 0, text) == invalid
    assert await refused(gateway, -1, "") == invalid
    for after in (0, 7):
        assert await refused(gateway, after, "ab" * 32) == (grpc.StatusCode.ABORTED, "SNAPSHOT_PASSED")


async def test_a_reorganisation_of_the_first_block_begins_anew(world: World, gateway: RunningGateway) -> None:
    """The pages of a withdrawn block are refused from then on; those of the block below it go on."""
    await created_policy(world, gateway, money_pb2.TOKEN_STX)
    await world.devnet.mine_block()
    await gateway.caught_up(world)
    below = await page(gateway)
    await world.devnet.mine_block()
    await gateway.caught_up(world)
    withdrawn = await page(gateway)
    await FaultDriver(world.devnet).fork(1)
    await world.devnet.mine_block()
    passed = (grpc.StatusCode.ABORTED, "SNAPSHOT_PASSED")
    assert await refused(gateway, 1, withdrawn.block_hash) == passed
    await gateway.caught_up(world)
    assert await refused(gateway, 1, withdrawn.block_hash) == passed
    assert (await page(gateway, 1, below.block_hash)).balances == below.balances
    assert (await page(gateway)).block_hash not in (below.block_hash, withdrawn.block_hash)


async def test_a_block_that_no_node_can_read_begins_anew(world: World, database_url: str) -> None:
    """Where we hold a block and the nodes have it no more, a later page begins anew, and a first one waits."""
    async with running_gateway(world.settings(database_url)) as gateway:
        await created_policy(world, gateway, money_pb2.TOKEN_STX)
        await world.devnet.mine_block()
        tip = await gateway.caught_up(world)
    async with running_gateway(world.settings(database_url), only=("state",)) as blind:
        await FaultDriver(world.devnet).fork(1)
        assert (await blind.tip()).block_hash == tip.block_hash
        assert await refused(blind, 1, tip.block_hash) == (grpc.StatusCode.ABORTED, "SNAPSHOT_PASSED")
        assert await refused(blind, 0, "") == (grpc.StatusCode.UNAVAILABLE, "BLOCK_UNREADABLE")


async def test_reconciliation_goes_on_across_blocks(
    world: World, gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After every page another policy comes, with Stacks and burn blocks: each page is read once, all of one block."""

    async def happens() -> None:
        await created_policy(world, gateway, money_pb2.TOKEN_STX)

    counted = await at_least(world, gateway, 3)
    monkeypatch.setattr(reconciliation, "_PAGE", (counted + 2) // 3)
    before = await gateway.caught_up(world)
    async with carrying(gateway, happens) as carried:
        await carried.attempt()
    read = [one.onchain_id for page in carried.pages for one in page.policies]
    assert read == list(range(1, counted + 1))
    [compared] = carried.compared
    assert len(carried.pages) > 1
    assert {one.block_hash for one in (*carried.pages, compared)} == {before.block_hash}
    assert {one.burn_height for one in (*carried.pages, compared)} == {before.burn_height}
    assert all(one.balances == compared.balances for one in carried.pages)
    assert (await gateway.caught_up(world)).burn_height >= before.burn_height + len(carried.pages)


async def test_a_retry_begins_anew_after_a_reorganisation(
    world: World, gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first page's block is withdrawn after it was handed on: the attempt ends, the next has pages of another."""
    monkeypatch.setattr(reconciliation, "_PAGE", 1)
    await at_least(world, gateway, 2)
    await world.devnet.mine_block()
    withdrawn = await gateway.caught_up(world)

    async def happens() -> None:
        if len(carried.pages) == 1:
            await FaultDriver(world.devnet).fork(1)
            # With another block on it the new branch is longer, and the gateway follows it.
            await world.devnet.mine_block()

    async with carrying(gateway, happens) as carried:
        with pytest.raises(ApplicationError) as ended:
            await carried.attempt()
        assert (ended.value.type, ended.value.non_retryable) == ("SNAPSHOT_PASSED", False)
        await gateway.caught_up(world)
        await carried.attempt()
    hashes = [one.block_hash for one in carried.pages]
    assert hashes[0] == withdrawn.block_hash
    assert set(hashes[1:]) == {carried.compared[0].block_hash}
    assert withdrawn.block_hash not in hashes[1:]
    assert [one.policies[0].onchain_id for one in carried.pages[1:]] == list(range(1, len(hashes)))
