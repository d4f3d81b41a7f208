"""A payout counts from its receipt on: nobody joins or leaves by a price that came after it."""

from __future__ import annotations

import asyncio

import pytest
from bithedge.type.v1 import price_pb2, transaction_pb2

from kernel.units import Token, payout
from tests.integration.pool.pool_service import E8, RunningPool
from tests.integration.pool.withdrawal_words import price, request

INVESTED = 10_000_000_000
SHARES = 2_000_000_000


def _decide(pool: RunningPool, btc: int, **purpose: object) -> None:
    """The oracle signs a receipt at a BTC price in whole dollars and the STX price of now."""
    receipt = price_pb2.SettlementReceipt(
        btc_price_usd_e8=btc * E8,
        stx_price_usd_e8=pool.oracle.stx_e8,
        **purpose,  # type: ignore[arg-type]
    )
    pool.oracle.receipts.append(receipt)


def _taken(pool: RunningPool, terms: transaction_pb2.QuoteTerms, btc: int) -> int:
    """What a policy takes at a BTC price in whole dollars, far below its collateral."""
    prices = btc * E8, pool.oracle.stx_e8
    return payout(
        Token.STX, terms.protected_amount_sats, terms.strike_price_usd_e8, terms.floor_price_usd_e8, *prices, 2**60
    )


async def _cover(pool: RunningPool, **changes: object) -> transaction_pb2.QuoteTerms:
    """Alice and Bob invest the same; a policy is written."""
    for who in ("SP-ALICE", "SP-BOB"):
        await pool.invest(who, INVESTED)
    terms = pool.terms(1_000_000, premium_base_units=0, fee_base_units=0, **changes)
    await pool.reserve(terms)
    await pool.final(pool.created(terms, 1))
    return terms


async def _leave(pool: RunningPool, request_id: str = "w1") -> int:
    """What Alice is paid for some of her shares."""
    return (await price(pool, await request(pool, SHARES, request_id))).withdrawal.amount_base_units


@pytest.mark.parametrize("recovers_to", [100_000, 400_000])
async def test_a_loss_is_borne_from_its_receipt_on(pool: RunningPool, recovers_to: int) -> None:
    """Whoever leaves after the price has recovered, but before the chain has paid, bears their part of the loss."""
    terms = await _cover(pool)
    decided = price_pb2.ActivationPurpose(policy=terms.policy, activation_number=1)
    _decide(pool, 90_000, activation=decided)
    pool.oracle.btc_e8 = recovers_to * E8
    loss = _taken(pool, terms, 90_000)
    paid = await _leave(pool)
    assert loss > 0
    assert paid <= SHARES * (2 * INVESTED - loss) // (2 * INVESTED)


async def test_who_joins_after_a_decision_neither_pays_for_it_nor_gains(pool: RunningPool) -> None:
    """Their shares are worth what they paid when the chain has settled, wherever the price went meanwhile."""
    terms = await _cover(pool)
    _decide(pool, 95_000, activation=price_pb2.ActivationPurpose(policy=terms.policy, activation_number=1))
    loss, paid = _taken(pool, terms, 95_000), 3_000_000_000
    fair = paid * (2 * INVESTED + 1_000) // (2 * INVESTED - loss + 1_000)
    for number, btc in enumerate((80_000, 120_000)):
        pool.oracle.btc_e8 = btc * E8
        joined = await pool.invest(f"SP-{number}", paid)
        assert fair - 1 <= joined.shares <= fair
    await pool.final(pool.settled(terms, 1, loss))
    joined = await pool.invest("SP-AFTER", paid)
    assert fair - 1 <= joined.shares <= fair


async def test_one_receipt_decides_all_that_expire_at_its_height(pool: RunningPool) -> None:
    """Whoever opted out takes nothing; a receipt of the policy's own goes before that of its height."""
    await pool.invest("SP-ALICE", 50_000_000_000)
    kept = [pool.terms(1_000_000, premium_base_units=0, auto_settle=settles) for settles in (True, False, True)]
    for number, terms in enumerate(kept, 1):
        await pool.reserve(terms)
        await pool.final(pool.created(terms, number))
    _decide(pool, 99_000, activation=price_pb2.ActivationPurpose(policy=kept[2].policy, activation_number=1))
    for height in {terms.expiration_burn_height for terms in kept}:
        _decide(pool, 90_000, expiry=price_pb2.ExpiryPurpose(expiration_burn_height=height))
    pool.oracle.btc_e8 = 85_000 * E8
    joined = await pool.invest("SP-BOB", 1_000_000_000)
    loss = _taken(pool, kept[0], 90_000) + _taken(pool, kept[2], 99_000)
    fair = 1_000_000_000 * (50_000_000_000 + 1_000) // (50_000_000_000 - loss + 1_000)
    assert fair - 1 <= joined.shares <= fair


async def test_receipts_are_read_once_whoever_reads_and_however_often(pool: RunningPool) -> None:
    """More than a page of them, by ten at a time, interrupted: each is kept once."""
    for height in range(1, 2_502):
        _decide(pool, 90_000, expiry=price_pb2.ExpiryPurpose(expiration_burn_height=height))
    decisions = pool.parts.valuation.decisions
    first = asyncio.ensure_future(decisions.learn())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, *(decisions.learn() for _ in range(10)), return_exceptions=True)
    await decisions.learn()
    assert await pool.scalar("SELECT count(DISTINCT expiration_burn_height) FROM pool.decision") == 2_501
    assert await pool.scalar("SELECT count(*) FROM pool.decision") == 2_501
    assert await pool.scalar("SELECT cursor FROM pool.decision_cursor") == "2501"


async def test_a_decision_that_never_came_holds_nobody_up(pool: RunningPool) -> None:
    """Without a receipt, and long after the expiration, a withdrawal is priced by the market."""
    terms = await _cover(pool)
    await pool.final(blocks=terms.expiration_burn_height - pool.gateway.burn_height + 500)
    assert await _leave(pool) == SHARES
    assert not pool.oracle.receipts
