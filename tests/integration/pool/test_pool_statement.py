"""A provider's statement of a period, from the journal."""

from __future__ import annotations

import csv

import pytest
import sqlalchemy as sa
from bithedge.pool.v1 import pool_service_pb2 as pb
from bithedge.type.v1 import money_pb2
from sqlalchemy.exc import DBAPIError

from kernel.clock import wall_now
from kernel.errors import FailedPrecondition, InvalidArgument, PermissionDenied
from kernel.rpc.channels import remote_errors
from kernel.units import Tier, Token
from services.pool import store_journal
from services.pool.domain import ledger
from tests.integration.pool.pool_service import OPERATOR, RunningPool, provider
from tests.integration.pool.withdrawal_words import price, request


async def _statement(pool: RunningPool, start: int, end: int, who: str = "SP-ALICE") -> pb.GetPeriodStatementResponse:
    asked = pb.GetPeriodStatementRequest(
        tier=money_pb2.TIER_BALANCED, token=money_pb2.TOKEN_STX, start_burn_height=start, end_burn_height=end
    )
    return await pool.stub.GetPeriodStatement(asked, metadata=provider(who))


async def test_a_statement_says_what_happened_between_two_heights(pool: RunningPool) -> None:
    """Deposits, premiums and payouts by the shares held then; each period opens with what closed the one before."""
    begin = pool.gateway.burn_height - 1
    await pool.invest("SP-ALICE", 6_000_000_000)
    await pool.invest("SP-BOB", 2_000_000_000)
    terms = pool.terms(1_000_000, premium_base_units=800)
    await pool.reserve(terms)
    await pool.final(pool.created(terms, 1))
    middle = pool.gateway.burn_height - 1
    await pool.final(pool.settled(terms, 1, 40_000))
    await price(pool, await request(pool, 1_000_000_000))
    await pool.final()
    end = pool.gateway.burn_height - 1
    first, second, whole = [
        await _statement(pool, *heights) for heights in ((begin, middle), (middle, end), (begin, 0))
    ]
    assert (first.opening_base_units, first.deposits_base_units) == (0, 6_000_000_000)
    assert (first.premiums_base_units, first.closing_base_units) == (600, 6_000_000_600)
    assert (second.opening_base_units, second.payouts_base_units) == (6_000_000_600, 30_000)
    assert second.withdrawals_base_units == 1_000_000_000 - 1_000_000_000 * 39_200 // 8_000_001_000 - 1
    assert second.closing_shares == whole.closing_shares == 5_000_000_000
    assert (whole.premiums_base_units, whole.payouts_base_units) == (600, 30_000)
    assert whole.closing_base_units == second.closing_base_units
    for one in (first, second, whole):
        lines = list(csv.DictReader(one.csv.splitlines()))
        moved = sum(int(line["amount_base_units"]) for line in lines[:-1])
        assert moved == int(lines[-1]["amount_base_units"]) == one.closing_base_units
        assert abs(one.rest_delta_base_units) <= 2


async def test_what_expires_beside_a_deposit_changes_nothing(pool: RunningPool) -> None:
    """At one height a policy expires, another is bought and the provider adds capital: premium and deposit show."""
    await pool.invest("SP-ALICE", 6_000_000_000)
    terms, others = (pool.terms(1_000_000, premium_base_units=premium) for premium in (800, 500))
    await pool.reserve(terms)
    await pool.reserve(others)
    await pool.final(pool.created(terms, 1))
    start = pool.gateway.burn_height - 1
    added = pool.deposited("SP-ALICE", 1_000_000)
    await pool.final(pool.created(others, 2), pool.expired(terms, 1), added)
    await pool.price(added)
    found = await _statement(pool, start, 0)
    assert (found.opening_base_units, found.deposits_base_units) == (6_000_000_800, 1_000_000)
    assert (found.premiums_base_units, found.payouts_base_units) == (500, 0)
    assert abs(found.rest_delta_base_units) <= 1


async def test_how_tiers_stood_is_the_same_when_it_is_made_anew(pool: RunningPool) -> None:
    """Kept entry by entry, also after one for a height long past, it is what a rebuild finds; nobody else writes it."""
    await pool.invest("SP-ALICE", 6_000_000_000)
    terms = pool.terms(1_000_000, premium_base_units=800)
    await pool.reserve(terms)
    await pool.final(pool.created(terms, 1))
    past = pool.gateway.burn_height - 1
    await pool.invest("SP-BOB", 2_000_000_001)
    await pool.final(pool.settled(terms, 1, 40_000))
    async with pool.database.transaction() as session:
        cause = ledger.Cause("missed/1", past, wall_now())
        entry = ledger.policy_created(cause, Tier.BALANCED, Token.STX, 701, 0, 5_000)
        assert await store_journal.post_entry(session, entry) is not None
    kept = await _heights(pool)
    assert len(kept) > 3
    async with pool.database.engine.begin() as connection:
        await connection.execute(sa.text("SELECT pool.rebuild_derived()"))
    assert await _heights(pool) == kept
    with pytest.raises(DBAPIError, match="is derived"):
        async with pool.database.engine.begin() as connection:
            await connection.execute(sa.text("UPDATE pool.tier_height SET capital = capital + 1"))


async def _heights(pool: RunningPool) -> list[tuple[int, ...]]:
    columns = "tier, token, burn_height, capital, all_shares, premiums_per_share_e36, payouts_per_share_e36"
    async with pool.database.engine.connect() as connection:
        found = await connection.execute(sa.text(f"SELECT {columns} FROM pool.tier_height ORDER BY 1, 2, 3"))
        return [tuple(map(int, row)) for row in found]


async def test_a_statement_of_no_period_is_refused(pool: RunningPool) -> None:
    """Heights that the books have not reached, none at all, too many, another's."""
    await pool.final(blocks=2)
    height = pool.gateway.burn_height - 1
    for start, end in ((-1, height), (height, height), (0, 52_561)):
        with pytest.raises(InvalidArgument), remote_errors():
            await _statement(pool, start, end)
    with pytest.raises(FailedPrecondition), remote_errors():
        await _statement(pool, height, height + 10)
    asked = pb.GetPeriodStatementRequest(
        provider_principal="SP-BOB", tier=money_pb2.TIER_BALANCED, token=money_pb2.TOKEN_STX
    )
    with pytest.raises(PermissionDenied), remote_errors():
        await pool.stub.GetPeriodStatement(asked, metadata=provider("SP-ALICE"))
    assert (await pool.stub.GetPeriodStatement(asked, metadata=OPERATOR)).closing_base_units == 0
