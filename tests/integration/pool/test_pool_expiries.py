"""What has expired counts by the average that will be signed, from the burn block of the expiration on."""

from __future__ import annotations

import asyncpg
import grpc
import pytest
from bithedge.type.v1 import price_pb2, transaction_pb2

from kernel.units import Tier, Token, payout
from services.pool import store_book, store_decisions
from tests.integration.policy.plans import noting, scanned
from tests.integration.pool.pool_service import E8, RunningPool, collateral_of
from tests.integration.pool.withdrawal_words import price, request

INVESTED = 10_000_000_000
SHARES = 2_000_000_000
STRIKE, BELOW, ABOVE = 100_000, 90_000, 110_000
MANY, HEIGHTS = 20_000, 400
_MANY_POLICIES = f"""
INSERT INTO pool.coverage (policy_id, onchain_id, tier, token, amount_sats, strike_e8, floor_e8, max_payout, premium,
    created_burn_height, expiration_burn_height, status, payout, ended_burn_height)
SELECT lpad(n::text, 32, '0'), n, 2, 1, 1, 2, 1, 1, 0, 1, 1000 + n % {HEIGHTS},
    CASE WHEN n % {HEIGHTS} < 10 THEN 'EXPIRED' ELSE 'ACTIVE' END, 0, CASE WHEN n % {HEIGHTS} < 10 THEN 1020 END
FROM generate_series(1, {MANY}) n;
INSERT INTO pool.decision (expiration_burn_height, btc_price_e8, stx_price_e8)
SELECT CASE WHEN n < 1012 THEN n ELSE 10000 + n END, 1, 1 FROM generate_series(1000, {MANY}) n;
ANALYZE pool.coverage, pool.decision
"""


async def _expired(pool: RunningPool, average: int, **changes: object) -> transaction_pb2.QuoteTerms:
    """Alice and Bob invest the same; a policy has reached its expiration, where an average in whole dollars decides."""
    for who in ("SP-ALICE", "SP-BOB"):
        await pool.invest(who, INVESTED)
    terms = pool.terms(1_000_000, premium_base_units=0, fee_base_units=0, **changes)
    await pool.reserve(terms)
    await pool.final(pool.created(terms, 1))
    stx_e8 = pool.oracle.stx_e8 if average else 0
    pool.oracle.averages[terms.expiration_burn_height] = average * E8, stx_e8
    await _reach(pool, terms.expiration_burn_height)
    return terms


async def _reach(pool: RunningPool, burn_height: int) -> None:
    """The tip stands at a height, which is not final; the service knows."""
    await pool.final(blocks=burn_height - pool.gateway.burn_height)
    while pool.tip.tip.burn_height < burn_height:
        await pool.tip.changed(1)


def _taken(pool: RunningPool, terms: transaction_pb2.QuoteTerms, btc: int) -> int:
    """What a policy takes at a BTC price in whole dollars, far below its collateral."""
    of = terms.protected_amount_sats, terms.strike_price_usd_e8, terms.floor_price_usd_e8
    return payout(Token.STX, *of, btc * E8, pool.oracle.stx_e8, 2**60)


def _fair(amount: int, loss: int) -> int:
    """Shares for joining where the policy takes `loss`."""
    return amount * (2 * INVESTED + 1_000) // (2 * INVESTED - loss + 1_000)


@pytest.mark.parametrize("recovers_to", [BELOW, ABOVE, 400_000])
async def test_who_leaves_before_the_receipt_bears_what_it_will_say(pool: RunningPool, recovers_to: int) -> None:
    """The average is in the money and the market is not any more: the loss is borne as if it was signed."""
    terms = await _expired(pool, BELOW)
    pool.oracle.btc_e8 = recovers_to * E8
    paid = (await price(pool, await request(pool, SHARES))).withdrawal.amount_base_units
    loss = _taken(pool, terms, BELOW)
    fair = SHARES * (2 * INVESTED - loss) // (2 * INVESTED)
    assert loss > 0
    assert fair - 1 <= paid <= fair


@pytest.mark.parametrize(("average", "settles"), [(ABOVE, True), (BELOW, True), (BELOW, False), (0, True)])
async def test_who_joins_before_the_receipt_gains_nothing_by_the_market(
    pool: RunningPool, average: int, settles: bool
) -> None:
    """Wherever the market is, as many shares as after the receipt: of an average out of the money, in it, and in it
    with a holder who opted out; where a person must decide as if nothing would be paid."""
    terms = await _expired(pool, average, auto_settle=settles)
    loss = _taken(pool, terms, average) if average and settles else 0
    for number, btc in enumerate((85_000, BELOW, 120_000)):
        pool.oracle.btc_e8 = btc * E8
        joined = await pool.invest(f"SP-{number}", SHARES)
        assert _fair(SHARES, loss) - 1 <= joined.shares <= _fair(SHARES, loss)
    if average:
        purpose = price_pb2.ExpiryPurpose(expiration_burn_height=terms.expiration_burn_height)
        stx_e8 = pool.oracle.stx_e8
        receipt = price_pb2.SettlementReceipt(expiry=purpose, btc_price_usd_e8=average * E8, stx_price_usd_e8=stx_e8)
        pool.oracle.receipts.append(receipt)
        joined = await pool.invest("SP-AFTER", SHARES)
        assert _fair(SHARES, loss) - 1 <= joined.shares <= _fair(SHARES, loss)


async def test_who_leaves_before_a_person_decides_leaves_all_that_may_be_paid(pool: RunningPool) -> None:
    """The average is not known: the whole collateral stays with those who stay."""
    terms = await _expired(pool, 0)
    pool.oracle.btc_e8 = ABOVE * E8
    paid = (await price(pool, await request(pool, SHARES))).withdrawal.amount_base_units
    assert paid == SHARES * (2 * INVESTED - collateral_of(terms)) // (2 * INVESTED)


async def test_an_average_that_is_not_known_yet_is_no_price(pool: RunningPool) -> None:
    """UNAVAILABLE until the oracle can say what would decide; before the expiration nobody asks."""
    terms = await _expired(pool, BELOW)
    asked = await request(pool, SHARES)
    pool.oracle.windows_complete = False
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await price(pool, asked)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert (await pool.capital()).share_price_e6 == 0
    await pool.final(pool.expired(terms, 1))
    assert (await price(pool, asked)).withdrawal.amount_base_units == SHARES


async def test_a_block_of_another_time_has_another_average(pool: RunningPool) -> None:
    """As long as the height's burn block may be replaced, what was said of it holds for one tip only."""
    terms = await _expired(pool, ABOVE)
    first = (await pool.capital()).share_price_e6
    pool.oracle.averages[terms.expiration_burn_height] = BELOW * E8, pool.oracle.stx_e8
    assert (await pool.capital()).share_price_e6 == first
    await _reach(pool, pool.gateway.burn_height + 1)
    assert (await pool.capital()).share_price_e6 < first


async def test_what_has_expired_is_found_by_an_index(pool: RunningPool, database_url: str) -> None:
    """Among 20,000 policies at 400 heights: those of open policies, reached, without a receipt, and no table is read
    from end to end."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(_MANY_POLICIES)
    finally:
        await connection.close()
    async with pool.database.transaction() as session:
        with noting(pool.database) as statements:
            found = await store_decisions.undecided_heights(session, 1_015)
            none = await store_decisions.undecided_heights(session, 999)
        book = await store_book.read_book(session, Tier.BALANCED, Token.STX)
    assert (list(found), list(none)) == ([1_012, 1_013, 1_014, 1_015], [])
    assert book.auto_settle.all()
    assert len(statements.issued) == 2
    assert await scanned(database_url, statements) == {}
