"""Who joins or leaves is priced by the first good round after the cause, however late somebody asks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bithedge.oracle.v1 import oracle_service_pb2 as oracle_pb2
from bithedge.pool.v1 import pool_service_pb2 as pb

from kernel.errors import FailedPrecondition, Unavailable
from kernel.rpc.channels import remote_errors
from tests.integration.pool.pool_service import E8, RunningPool, eventually, provider
from tests.integration.pool.withdrawal_words import get, price, request

_CAPITAL = 10_000_000_000


async def _round(pool: RunningPool, btc_usd: int, status: oracle_pb2.PriceStatus.ValueType) -> int:
    """The round of a second later; its number."""
    await pool.gateway.pass_seconds(1)
    pool.oracle.btc_e8, pool.oracle.status = btc_usd * E8, status
    pool.oracle.keep_rounds()
    return pool.gateway.late


async def _hours_pass(pool: RunningPool) -> None:
    """At another price, which is OK, and another volatility."""
    pool.oracle.btc_e8, pool.oracle.status = 99_000 * E8, oracle_pb2.PRICE_STATUS_OK
    pool.oracle.volatility = 0.9
    await pool.gateway.pass_seconds(7_200)
    await pool.told_the_time()


async def _written(pool: RunningPool, onchain_id: int) -> None:
    terms = pool.terms(1_000_000, premium_base_units=20_000_000)
    assert (await pool.reserve(terms)).state == pb.RESERVATION_STATE_HELD
    await pool.final(pool.created(terms, onchain_id))


async def _kept(pool: RunningPool, table: str, who: str) -> Any:
    columns = "btc_price_e8, btc_round, stx_round, price_burn_height, volatility_ewma, volatility_30d, volatility_90d"
    rows = f"SELECT {columns}, volatility_parkinson FROM pool.{table} WHERE provider = '{who}'"
    return json.loads(await pool.scalar(f"SELECT row_to_json(r)::text FROM ({rows}) r"))


async def _cancel(pool: RunningPool, withdrawal: pb.Withdrawal) -> pb.Withdrawal:
    asked = pb.CancelWithdrawalRequest(request_id="c1", name=withdrawal.name)
    return (await pool.stub.CancelWithdrawal(asked, metadata=provider("SP-ALICE"))).withdrawal


async def test_a_deposit_is_priced_by_the_round_after_it_whenever_that_is_asked(pool: RunningPool) -> None:
    """Hours and blocks later, at another price and volatility and beside a policy written since: as many shares as at
    once, and the row keeps what they were made of."""
    await pool.invest("SP-ALICE", _CAPITAL)
    await _written(pool, 1)
    early, late = pool.deposited("SP-BOB", _CAPITAL), pool.deposited("SP-CAROL", _CAPITAL)
    await pool.final(early, late)
    await _round(pool, 50_000, oracle_pb2.PRICE_STATUS_DEGRADED)
    number = await _round(pool, 90_000, oracle_pb2.PRICE_STATUS_OK)
    height = pool.gateway.burn_height
    await pool.final()
    at_once = await pool.price(early)
    await _hours_pass(pool)
    await _written(pool, 2)
    await pool.final(blocks=20)
    much_later = await pool.price(late)
    assert at_once.shares > _CAPITAL
    assert abs(much_later.shares - at_once.shares) <= 1
    kept = await _kept(pool, "deposit", "SP-CAROL")
    assert kept == await _kept(pool, "deposit", "SP-BOB")
    volatilities = dict.fromkeys(("volatility_ewma", "volatility_30d", "volatility_90d", "volatility_parkinson"), 0.5)
    rounds = {"btc_price_e8": 90_000 * E8, "btc_round": number, "stx_round": number, "price_burn_height": height}
    assert kept == rounds | volatilities


async def test_whose_price_is_known_does_not_give_up_any_more(pool: RunningPool) -> None:
    """A cancellation hours after the round that decides finds the withdrawal priced by it; with the oracle down it is
    told to come back."""
    await pool.invest("SP-ALICE", _CAPITAL)
    await pool.told_the_time()
    asked = await request(pool, _CAPITAL // 2)
    number = await _round(pool, 90_000, oracle_pb2.PRICE_STATUS_OK)
    await _hours_pass(pool)
    pool.oracle.reachable = False
    with pytest.raises(Unavailable), remote_errors():
        await _cancel(pool, asked)
    assert (await get(pool, asked)).state == pb.WITHDRAWAL_STATE_REQUESTED
    pool.oracle.reachable = True
    with pytest.raises(FailedPrecondition) as late, remote_errors():
        await _cancel(pool, asked)
    assert (late.value.reason, late.value.metadata["state"]) == ("WITHDRAWAL_NOT_WAITING", "PRICED")
    assert (await _kept(pool, "withdrawal", "SP-ALICE"))["btc_round"] == number


async def test_nobody_asks_to_leave_at_a_market_time_that_has_passed(pool: RunningPool) -> None:
    """While the gateway is lost a request, a price and a cancellation are told to come back; then they go through."""
    await pool.invest("SP-ALICE", _CAPITAL)
    asked = await request(pool, 1_000)
    pool.gateway.tells_the_tip = False
    await pool.gateway.pass_seconds(7_200)
    await eventually(lambda: _is_lost(pool, True))
    for call in (request(pool, 1_000, "w2"), _cancel(pool, asked), price(pool, asked)):
        with pytest.raises(Unavailable) as lost, remote_errors():
            await call
        assert lost.value.reason == "MARKET_TIME_LOST"
    pool.gateway.tells_the_tip = True
    await eventually(lambda: _is_lost(pool, False))
    assert (await price(pool, asked)).withdrawal.state == pb.WITHDRAWAL_STATE_PRICED
    assert (await request(pool, 1_000, "w2")).state == pb.WITHDRAWAL_STATE_REQUESTED


async def _is_lost(pool: RunningPool, lost: bool) -> bool:
    return (pool.tip.lost_seconds > 0) is lost
