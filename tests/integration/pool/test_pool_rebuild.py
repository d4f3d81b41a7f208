"""The pool's books, lost and made again from the chain's events alone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.pool.v1 import pool_service_pb2 as pb
from bithedge.type.v1 import money_pb2

from kernel.database import migrate
from kernel.units import Tier
from services.pool.__main__ import MIGRATIONS
from services.pool.projector import Projector
from services.pool.rebuild.rules import RULES
from services.pool.rebuild.vouchers import restore_vouchers
from tests.integration.pool import planted, withdrawal_words
from tests.integration.pool.chain_snapshot import honest_request
from tests.integration.pool.pool_service import WORKFLOWS, RunningPool, provider

_COVERAGE = "SELECT * FROM pool.coverage ORDER BY policy_id"
_CHAIN_ENTRIES = (
    "SELECT cause, event, kind, burn_height, time, txid, subject FROM pool.journal_entry"
    " WHERE kind IN ('DEPOSIT', 'POLICY_CREATED', 'POLICY_SETTLED', 'POLICY_EXPIRED', 'GAS') ORDER BY cause"
)
# Each of these the chain knows; and of what it owes providers, the sum.
_CHAIN_BALANCES = (
    "SELECT CASE WHEN account ~ '^(vault_cash|platform_fees|locked_collateral)' THEN account ELSE 'owed' END,"
    " token, sum(balance) FROM pool.account_balance GROUP BY 1, 2 ORDER BY 1, 2"
)

_POSTING_RULE = next(rule for rule in RULES if rule.name == "posting")
_CASH_POSTINGS = f"SELECT cause, account, amount FROM ({_POSTING_RULE.select}) ruled ORDER BY 1, 2"


async def _rows(pool: RunningPool, statement: str) -> list[tuple[Any, ...]]:
    async with pool.database.engine.connect() as connection:
        return [tuple(row) for row in await connection.execute(sa.text(statement))]


async def _rebuild(pool: RunningPool, database_url: str) -> None:
    """Drops the schema, expects signed vouchers and follows the chain from its first event to where the books stood."""
    stood = int(await pool.scalar("SELECT cursor FROM pool.cursor"))
    async with pool.database.engine.begin() as connection:
        await connection.execute(sa.text("DROP SCHEMA pool CASCADE"))
    await pool.database.engine.dispose()
    await migrate(database_url, "pool", Path(MIGRATIONS))
    for _ in range(2):
        await restore_vouchers(pool.database, pool.gateway_channel)
    following = asyncio.ensure_future(Projector(pool.database, pool.gateway_channel).run())
    await pool.projected(stood)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def _play(pool: RunningPool) -> None:
    """Two tiers, an open, a settled and an expired policy."""
    await planted.prepare(pool)
    await pool.invest("SP-BOB", 10**12, Tier.AGGRESSIVE)
    settled, expired = pool.terms(2_000_000), pool.terms(3_000_000, tier=int(Tier.AGGRESSIVE))
    await pool.final(pool.created(settled, 2), pool.created(expired, 3))
    await pool.final(pool.settled(settled, 2, 500), pool.expired(expired, 3))


async def test_books_made_again_from_the_chain_say_the_same(pool: RunningPool, database_url: str) -> None:
    """Cash, fees, collateral by tier, what is owed in sum, every policy and every entry of an event; no difference."""
    await _play(pool)
    before = [await _rows(pool, statement) for statement in (_COVERAGE, _CHAIN_ENTRIES, _CHAIN_BALANCES)]
    assert all(before)
    await _rebuild(pool, database_url)
    assert [await _rows(pool, statement) for statement in (_COVERAGE, _CHAIN_ENTRIES, _CHAIN_BALANCES)] == before
    report = (await pool.stub.CreateReconciliation(honest_request(pool), metadata=WORKFLOWS)).reconciliation
    assert list(report.differences) == []


async def _signed(pool: RunningPool, shares: int, request_id: str, tier: money_pb2.Tier.ValueType) -> pb.Withdrawal:
    """A withdrawal whose voucher the gateway has signed and keeps, with a tier or without."""
    return await _keep_signed(pool, await withdrawal_words.request(pool, shares, request_id), tier)


async def _keep_signed(pool: RunningPool, asked: pb.Withdrawal, tier: money_pb2.Tier.ValueType) -> pb.Withdrawal:
    terms = (await withdrawal_words.price(pool, asked)).voucher_terms
    assert terms.tier == money_pb2.TIER_BALANCED
    terms.tier = tier
    pool.gateway.signed_vouchers.append(gateway_pb2.SignedVoucher(terms=terms, signature=b"s" * 65))
    return await withdrawal_words.record(pool, asked)


async def test_vouchers_that_were_signed_explain_their_payments(pool: RunningPool, database_url: str) -> None:
    """One was paid, one lapsed unused, one is paid after the rebuild: no difference, what is owed the same in sum."""
    await _play(pool)
    paid, unused, late = [
        await _signed(pool, 10**6, request_id, money_pb2.TIER_BALANCED) for request_id in ("w1", "w2", "w3")
    ]
    await pool.final(withdrawal_words.paid(pool, paid, paid.amount_base_units))
    before = [await _rows(pool, statement) for statement in (_CHAIN_BALANCES, _CASH_POSTINGS)]
    assert ("vault_cash/STX", -paid.amount_base_units) in [row[1:] for row in before[1]]
    await _rebuild(pool, database_url)
    assert [await _rows(pool, statement) for statement in (_CHAIN_BALANCES, _CASH_POSTINGS)] == before
    assert (await pool.accounts())["payments_unpriced/BALANCED/STX"] == paid.amount_base_units
    report = (await pool.stub.CreateReconciliation(honest_request(pool), metadata=WORKFLOWS)).reconciliation
    assert list(report.differences) == []
    await pool.final(withdrawal_words.paid(pool, late, late.amount_base_units), blocks=40)
    states = [(await withdrawal_words.get(pool, one)).state for one in (paid, unused, late)]
    assert states == [
        pb.WITHDRAWAL_STATE_PAID,
        pb.WITHDRAWAL_STATE_LAPSED,
        pb.WITHDRAWAL_STATE_PAID,
    ]
    accounts = await pool.accounts()
    assert accounts["payments_unpriced/BALANCED/STX"] == paid.amount_base_units + late.amount_base_units
    assert accounts["deposits_unpriced/BALANCED/STX"] == -(10**12)
    report = (await pool.stub.CreateReconciliation(honest_request(pool), metadata=WORKFLOWS)).reconciliation
    assert list(report.differences) == []


async def test_a_deposit_that_was_given_back_is_explained_by_its_voucher(pool: RunningPool, database_url: str) -> None:
    """Paid for its voucher as for any other: no difference, what is owed the same in sum."""
    await _play(pool)
    event = pool.deposited("SP-ALICE", 12_345)
    await pool.final(event)
    asked = pb.CancelDepositRequest(request_id="c1", name=f"deposits/{event.txid}-{event.event_index}")
    back = (await pool.stub.CancelDeposit(asked, metadata=provider("SP-ALICE"))).withdrawal
    await _keep_signed(pool, back, money_pb2.TIER_BALANCED)
    await pool.final(withdrawal_words.paid(pool, back, 12_345))
    before = [await _rows(pool, statement) for statement in (_CHAIN_BALANCES, _CASH_POSTINGS)]
    await _rebuild(pool, database_url)
    assert [await _rows(pool, statement) for statement in (_CHAIN_BALANCES, _CASH_POSTINGS)] == before
    report = (await pool.stub.CreateReconciliation(honest_request(pool), metadata=WORKFLOWS)).reconciliation
    assert list(report.differences) == []


async def test_what_the_chain_does_not_know_is_asked_for(pool: RunningPool, database_url: str) -> None:
    """A paid voucher of which no tier was kept is in suspense until a person says whose it was; deposits wait for their
    shares."""
    await _play(pool)
    ready = await _signed(pool, 10**6, "w1", money_pb2.TIER_UNSPECIFIED)
    await pool.final(withdrawal_words.paid(pool, ready, ready.amount_base_units))
    cash = (await pool.accounts())["vault_cash/STX"]
    await _rebuild(pool, database_url)
    accounts = await pool.accounts()
    assert accounts["vault_cash/STX"] == cash
    assert accounts["deposits_unpriced/BALANCED/STX"] == -(10**12)
    assert accounts["suspense/STX"] == ready.amount_base_units
    report = (await pool.stub.CreateReconciliation(honest_request(pool), metadata=WORKFLOWS)).reconciliation
    assert [(one.kind, one.cause, one.resolution) for one in report.differences] == [
        ("SUSPENSE_LEFT", "UNEXPLAINED_PAYMENT", pb.DIFFERENCE_RESOLUTION_PERSON)
    ]
