"""What the pool tells of itself: tiers, health, positions, statements."""

from __future__ import annotations

import base64

import pytest
from bithedge.oracle.v1 import oracle_service_pb2 as oracle_pb2
from bithedge.pool.v1 import pool_service_pb2 as pb

from kernel.errors import InvalidArgument, NotFound, PermissionDenied, Unavailable
from kernel.pricing import PolicyTerms, value_policy, years_from_blocks
from kernel.rpc.channels import remote_errors
from kernel.units import Tier, Token, payout
from tests.integration.pool.pool_service import E8, OPERATOR, RunningPool, collateral_of, provider


async def test_health_shows_utilization_coverage_and_stress(pool: RunningPool) -> None:
    """Stress is what the open policies would take after each fall, STX falling alike; without a price there is none."""
    await pool.invest("SP-ALICE", 20_000_000_000)
    terms = pool.terms(10_000_000)
    await pool.reserve(terms)
    await pool.final(pool.created(terms, 1))
    collateral = collateral_of(terms)
    health = await pool.stub.GetPoolHealth(pb.GetPoolHealthRequest())
    assert len(health.tiers) == 6
    tier = next(tier for tier in health.tiers if tier.capital.locked_base_units)
    total = 20_000_000_000 + 1_000
    assert tier.capital.total_base_units == total
    assert tier.capital.utilization_bps == -(-collateral * 10_000 // total)
    assert tier.coverage_bps == total * 10_000 // collateral
    expected = [
        payout(Token.STX, 10_000_000, 100_000 * E8, 80_000 * E8, left * 1_000 * E8, left * E8 // 50, collateral)
        for left in (90, 80, 70, 50)
    ]
    assert [stress.payouts_base_units for stress in tier.stresses] == expected
    assert [stress.net_assets_base_units for stress in tier.stresses] == [total - cost for cost in expected]
    assert all(expected[0] <= stress.model_value_base_units <= collateral for stress in tier.stresses)
    pool.oracle.status = oracle_pb2.PRICE_STATUS_DEGRADED
    dark = await pool.stub.GetPoolHealth(pb.GetPoolHealthRequest())
    assert not any(tier.stresses for tier in dark.tiers)
    assert (await pool.capital()).share_price_e6 == 0


async def test_positions_are_worth_what_a_withdrawal_would_pay(pool: RunningPool) -> None:
    """Shares, value and unpriced deposits; of the caller alone, or of anybody for operators."""
    await pool.invest("SP-ALICE", 1_000_000)
    await pool.invest("SP-BOB", 3_000_000)
    await pool.final(pool.deposited("SP-ALICE", 50, Tier.AGGRESSIVE, Token.SBTC))
    own = await pool.stub.ListPositions(pb.ListPositionsRequest(), metadata=provider("SP-ALICE"))
    assert [(p.tier, p.token, p.shares, p.value_base_units, p.unpriced_base_units) for p in own.positions] == [
        (2, 1, 1_000_000, 1_000_000, 0),
        (3, 2, 0, 0, 50),
    ]
    others = pb.ListPositionsRequest(provider_principal="SP-BOB")
    assert len((await pool.stub.ListPositions(others, metadata=OPERATOR)).positions) == 1
    with pytest.raises(PermissionDenied), remote_errors():
        await pool.stub.ListPositions(others, metadata=provider("SP-ALICE"))
    terms = pool.terms(1_000)
    await pool.final(pool.created(terms, 1))
    pool.oracle.reachable = False
    with pytest.raises(Unavailable), remote_errors():
        await pool.stub.ListPositions(pb.ListPositionsRequest(), metadata=provider("SP-ALICE"))


async def test_a_statement_comes_in_pages_newest_first(pool: RunningPool) -> None:
    """Every line once over all pages; a token that is not ours is refused."""
    for amount in (100, 200, 300):
        await pool.invest("SP-ALICE", amount)
    lines: list[pb.StatementLine] = []
    token = ""
    while True:
        request = pb.ListStatementLinesRequest(page_size=4, page_token=token)
        page = await pool.stub.ListStatementLines(request, metadata=provider("SP-ALICE"))
        lines.extend(page.lines)
        token = page.next_page_token
        if not token:
            break
    assert [(line.kind, line.amount.base_units, line.shares_delta) for line in lines] == [
        ("shares issued", 300, 300),
        ("deposit", 300, 0),
        ("shares issued", 200, 200),
        ("deposit", 200, 0),
        ("shares issued", 100, 100),
        ("deposit", 100, 0),
    ]
    assert all(line.txid for line in lines if line.kind == "deposit")
    beyond = base64.urlsafe_b64encode(f"line:{1 << 63}".encode()).decode()
    for broken in ("x", "bGluZTp4", beyond):
        with pytest.raises(InvalidArgument), remote_errors():
            await pool.stub.ListStatementLines(
                pb.ListStatementLinesRequest(page_token=broken), metadata=provider("SP-ALICE")
            )


async def test_a_deposit_is_seen_by_its_owner_and_by_operators(pool: RunningPool) -> None:
    """For anybody else it does not exist."""
    deposit = await pool.invest("SP-ALICE", 100)
    request = pb.GetDepositRequest(name=deposit.name)
    assert (await pool.stub.GetDeposit(request, metadata=provider("SP-ALICE"))).deposit == deposit
    assert (await pool.stub.GetDeposit(request, metadata=OPERATOR)).deposit == deposit
    with pytest.raises(NotFound), remote_errors():
        await pool.stub.GetDeposit(request, metadata=provider("SP-BOB"))


async def test_the_share_price_follows_premiums_and_losses(pool: RunningPool) -> None:
    """Joining beside an open policy pays for its premium less what the policy is worth by the model, at any price."""
    await pool.invest("SP-ALICE", 10_000_000_000)
    terms = pool.terms(1_000_000, premium_base_units=50_000_000)
    await pool.reserve(terms)
    await pool.final(pool.created(terms, 1))
    left = years_from_blocks(terms.expiration_burn_height - (pool.gateway.burn_height - 1))
    for spot in (100_000, 90_000, 70_000):
        pool.oracle.btc_e8 = spot * E8
        value = value_policy(PolicyTerms(Token.STX, 100_000.0, 80_000.0), float(spot), 0.5, 0.0, left).american
        claim = min(int(value * E8) * 1_000_000 // (100 * 2 * E8), collateral_of(terms))
        expected = 1_000_000 * (10_050_000_000 - claim + 1_000) // (10_000_000_000 + 1_000)
        assert (await pool.capital()).share_price_e6 == expected
    pool.oracle.volatility = 0.0
    assert (await pool.capital()).share_price_e6 == 0
