"""Tiers that have lost what stood behind their shares: who joins, who waits, and what those who lost keep."""

from __future__ import annotations

import pytest
from bithedge.pool.v1 import pool_service_pb2 as pb

from tests.integration.pool.pool_service import E8, OPERATOR, RunningPool, collateral_of, provider
from tests.integration.pool.test_pool_feed import kinds, told
from tests.integration.pool.withdrawal_words import get, request
from tests.integration.pool.worthless_tiers import (
    CAPITAL,
    all_pledged,
    crashed,
    deposit,
    name_of,
    nothing_differs,
    waits,
    wiped,
)


async def _positions(pool: RunningPool, who: str) -> list[tuple[int, int, int]]:
    answer = await pool.stub.ListPositions(pb.ListPositionsRequest(), metadata=provider(who))
    return [(one.shares, one.value_base_units, one.unpriced_base_units) for one in answer.positions]


async def test_shares_of_a_lost_tier_end_and_the_next_deposit_is_a_first_one(pool: RunningPool) -> None:
    """With no policy open nothing can come back: the shares are gone by an entry of their own, their holder is told,
    what waits to leave is refused, and who joins gets a share per base unit."""
    lost = await wiped(pool)
    queued = await request(pool, lost, "late")
    joined = await pool.invest("SP-BOB", CAPITAL // 2)
    assert (joined.state, joined.shares) == (pb.DEPOSIT_STATE_PRICED, CAPITAL // 2)
    assert await _positions(pool, "SP-ALICE") == []
    assert await _positions(pool, "SP-BOB") == [(CAPITAL // 2, CAPITAL // 2, 0)]
    refused = await get(pool, queued)
    assert (refused.state, refused.reason) == (pb.WITHDRAWAL_STATE_REFUSED, "SHARES_CONSOLIDATED")
    asked = pb.ListJournalEntriesRequest(subject=joined.name)
    issued, consolidated, _ = (await pool.stub.ListJournalEntries(asked, metadata=OPERATOR)).entries
    assert (issued.kind, consolidated.kind) == ("SHARES_ISSUED", "SHARES_CONSOLIDATED")
    assert (consolidated.reason, list(consolidated.postings)) == ("WORTH_LESS_THAN_A_THOUSANDTH", [])
    assert [(line.provider_principal, line.shares_delta) for line in consolidated.lines] == [("SP-ALICE", -lost)]
    answer = await told(pool)
    # At one commit the order is that of the changes.
    assert sorted(kinds(answer)[-2:]) == ["SHARES_CONSOLIDATED", "WITHDRAWAL_REFUSED"]
    assert next(one.shares for one in answer.notifications if one.reason == "WORTH_LESS_THAN_A_THOUSANDTH") == lost
    await nothing_differs(pool)


async def test_dust_that_is_left_stays_with_those_who_lost(pool: RunningPool) -> None:
    """Each of their shares is worth a base unit again, and their statement says so; who joins takes none of it."""
    lost = await wiped(pool, left=700)
    before = pool.gateway.burn_height - 1
    await pool.final(blocks=2)
    joined = await pool.invest("SP-BOB", CAPITAL)
    assert joined.shares == CAPITAL
    assert await _positions(pool, "SP-ALICE") == [(700, 700, 0)]
    asked = pb.GetPeriodStatementRequest(tier=joined.tier, token=joined.amount.token, start_burn_height=before)
    statement = await pool.stub.GetPeriodStatement(asked, metadata=provider("SP-ALICE"))
    assert (statement.opening_shares, statement.closing_shares) == (lost, 700)
    assert (statement.opening_base_units, statement.closing_base_units) == (700, 700)
    derived = "SELECT string_agg(t::text, ';' ORDER BY tier, token, burn_height) FROM pool.tier_height t"
    kept = await pool.scalar(derived)
    async with pool.database.transaction() as session:
        await (await session.connection()).exec_driver_sql("SELECT pool.rebuild_derived()")
    assert await pool.scalar(derived) == kept
    await nothing_differs(pool)


async def test_who_lost_little_keeps_shares_beside_who_joins(pool: RunningPool) -> None:
    """Shares that could still be given a price are left as they are."""
    await pool.invest("SP-ALICE", 900_000)
    terms = pool.terms(7_000, premium_base_units=0, fee_base_units=0)
    await pool.reserve(terms)
    await pool.final(pool.created(terms, 1), pool.settled(terms, 1, collateral_of(terms)))
    await pool.invest("SP-BOB", CAPITAL)
    assert await pool.scalar("SELECT count(*) FROM pool.journal_entry WHERE kind = 'SHARES_CONSOLIDATED'") == 0
    ((shares, _, _),) = await _positions(pool, "SP-ALICE")
    assert shares == 900_000


async def test_a_deposit_waits_while_open_policies_claim_everything(pool: RunningPool) -> None:
    """What they leave belongs to those who stayed: the deposit says why it waits, and joins by the first price after
    somebody has seen that there is one, however high the tier stands by then."""
    terms = await all_pledged(pool)
    crashed(pool)
    event = pool.deposited("SP-ALICE", CAPITAL)
    await pool.final(event)
    assert [await waits(pool, event) for _ in range(2)] == ["TIER_WORTHLESS"] * 2
    waiting = await deposit(pool, name_of(event))
    assert (waiting.state, waiting.wait_reason) == (pb.DEPOSIT_STATE_FINAL, "TIER_WORTHLESS")
    answer = await told(pool)
    assert (kinds(answer)[-1], answer.notifications[-1].reason) == ("DEPOSIT_WAITING", "TIER_WORTHLESS")
    assert kinds(answer).count("DEPOSIT_WAITING") == 1
    await nothing_differs(pool)
    await pool.final(pool.expired(terms, 1))
    pool.oracle.btc_e8 = 100_000 * E8
    assert await waits(pool, event) == "NO_PRICE_YET"
    priced = await pool.price(event)
    assert (priced.shares, priced.wait_reason) == (CAPITAL, "")
    await nothing_differs(pool)


async def test_what_waits_is_judged_by_the_market_of_now(pool: RunningPool) -> None:
    """When it recovers while policies are open, the deposit joins though the first price after it gave nothing."""
    await all_pledged(pool)
    crashed(pool)
    event = pool.deposited("SP-BOB", CAPITAL)
    await pool.final(event)
    assert await waits(pool, event) == "TIER_WORTHLESS"
    pool.oracle.keep_rounds()
    pool.oracle.btc_e8 = 1_000_000 * E8
    assert await waits(pool, event) == "NO_PRICE_YET"
    assert (await pool.price(event)).shares == CAPITAL


async def test_a_deposit_that_pays_for_no_share_is_not_taken_for_nothing(pool: RunningPool) -> None:
    """Where one share costs more, a deposit of dust waits."""
    await pool.invest("SP-ALICE", 10_000)
    terms = pool.terms(10, premium_base_units=10**9, fee_base_units=0)
    await pool.reserve(terms)
    await pool.final(pool.created(terms, 1), pool.expired(terms, 1))
    event = pool.deposited("SP-BOB", 10_000)
    await pool.final(event)
    assert await waits(pool, event) == "DEPOSIT_BELOW_A_SHARE"
    assert (await pool.accounts())["deposits_unpriced/BALANCED/STX"] == -10_000
    await nothing_differs(pool)


@pytest.mark.parametrize("left", [0, 1])
async def test_a_deposit_that_was_never_there_gives_no_lost_share_back(pool: RunningPool, left: int) -> None:
    """The chain takes back the deposit for which shares were made fewer: whoever has joined since loses nothing."""
    await wiped(pool, left)
    event = pool.deposited("SP-BOB", CAPITAL)
    await pool.final(event)
    await pool.price(event)
    await pool.invest("SP-CAROL", CAPITAL)
    withdrawn = type(event)()
    withdrawn.CopyFrom(event)
    withdrawn.withdrawn = True
    await pool.final(withdrawn)
    assert (await pool.capital()).shares == CAPITAL + left
    assert await _positions(pool, "SP-CAROL") == [(CAPITAL, CAPITAL, 0)]
    await nothing_differs(pool)
