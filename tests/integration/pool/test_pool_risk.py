"""What the pool tells of its risk, and when a tier takes no more policies."""

from __future__ import annotations

from bithedge.oracle.v1 import oracle_service_pb2 as oracle_pb2
from bithedge.pool.v1 import pool_service_pb2 as pb
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from kernel.units import Tier, Token
from services.pool import store_book
from services.pool.risk import RiskWatch
from tests.integration.pool.pool_service import RunningPool, collateral_of

AMOUNT = 10_000_000


async def _health(pool: RunningPool) -> pb.TierHealth:
    answer = await pool.stub.GetPoolHealth(pb.GetPoolHealthRequest())
    return next(tier for tier in answer.tiers if (tier.capital.tier, tier.capital.token) == (2, 1))


async def _fill(pool: RunningPool) -> int:
    """A tier of which one policy pledges all that may be pledged; its collateral."""
    terms = pool.terms(AMOUNT)
    collateral = collateral_of(terms)
    bound = (await pool.capital()).utilization_max_bps
    await pool.invest("SP-ALICE", -(-collateral * 10_000 // bound))
    await pool.reserve(terms)
    await pool.final(pool.created(terms, 1))
    return collateral


async def test_a_tier_closes_by_itself_at_its_bound_and_says_so(pool: RunningPool) -> None:
    """Availability, health and the next reservation all say it; more capital opens the tier again."""
    assert not (await pool.capital()).closed
    await _fill(pool)
    assert (await pool.capital()).closed
    assert pb.RISK_ALERT_TIER_CLOSED in (await _health(pool)).alerts
    assert (await pool.reserve(pool.terms(AMOUNT))).reason == "TIER_CLOSED"
    await pool.invest("SP-BOB", 10_000_000_000)
    assert not (await pool.capital()).closed
    assert (await pool.reserve(pool.terms(1_000))).state == pb.RESERVATION_STATE_HELD


async def test_health_shows_what_the_open_policies_are_exposed_to(pool: RunningPool) -> None:
    """The model value is at most their collateral, and delta at most their size; without a price neither is said."""
    collateral = await _fill(pool)
    exposure = (await _health(pool)).exposure
    assert 0 < exposure.model_value_base_units <= collateral
    assert -AMOUNT <= exposure.spot_delta_sats <= 0
    pool.oracle.status = oracle_pb2.PRICE_STATUS_DEGRADED
    assert not (await _health(pool)).HasField("exposure")


async def test_a_book_is_read_as_it_is_stored(pool: RunningPool) -> None:
    """The binary columns hold the policies of one tier and token as they were created; none is an empty book."""
    await pool.invest("SP-ALICE", 50_000_000_000)
    created = [pool.terms(AMOUNT + number, premium_base_units=1_000 * number) for number in (1, 2, 3)]
    for number, terms in enumerate(created, 1):
        await pool.final(pool.created(terms, number))
    async with pool.database.transaction() as session:
        book = await store_book.read_book(session, Tier.BALANCED, Token.STX)
        other = await store_book.read_book(session, Tier.BALANCED, Token.SBTC)
    columns = (
        book.amount_sats,
        book.strike_e8,
        book.floor_e8,
        book.max_payout,
        book.premium,
        book.expiration_burn_height,
    )
    assert sorted(zip(*(column.tolist() for column in columns), strict=True)) == [
        (
            terms.protected_amount_sats,
            terms.strike_price_usd_e8,
            terms.floor_price_usd_e8,
            collateral_of(terms),
            terms.premium_base_units,
            terms.expiration_burn_height,
        )
        for terms in created
    ]
    assert all(book.created_burn_height < book.expiration_burn_height)
    assert other.amount_sats.size == 0


async def test_the_watch_measures_and_tells_what_begins_and_ends(pool: RunningPool) -> None:
    """An alert is logged when it begins and when it ends, once each, and stands in the metrics in between."""
    parts = pool.parts
    watch = RiskWatch(pool.database, parts.parameters, parts.valuation, parts.risk)
    labels = {"tier": "BALANCED", "token": "STX", "alert": "TIER_CLOSED"}
    await _fill(pool)
    with capture_logs() as begun:
        await watch.look()
        await watch.look()
    assert [line["alert"] for line in begun if line["event"] == "risk alert begins"].count("TIER_CLOSED") == 1
    assert REGISTRY.get_sample_value("bithedge_pool_risk_alert", labels) == 1.0
    stress = {"tier": "BALANCED", "token": "STX", "fall_bps": "3000"}
    assert (REGISTRY.get_sample_value("bithedge_pool_stress_base_units", stress) or 0) > 0
    await pool.invest("SP-BOB", 100_000_000_000)
    with capture_logs() as ended:
        await watch.look()
    assert {"TIER_CLOSED"} <= {line["alert"] for line in ended if line["event"] == "risk alert ends"}
    assert REGISTRY.get_sample_value("bithedge_pool_risk_alert", labels) == 0.0
