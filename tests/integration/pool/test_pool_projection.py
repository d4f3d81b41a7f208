"""The chain's final events in the pool's books."""

from __future__ import annotations

import pytest
from bithedge.pool.v1 import pool_service_pb2 as pb

from kernel.errors import Unavailable
from kernel.rpc.channels import remote_errors
from tests.integration.pool.pool_service import WORKFLOWS, RunningPool, collateral_of


async def test_a_deposit_gets_its_shares_at_the_first_good_price(pool: RunningPool) -> None:
    """A final deposit starts its workflow and is priced only by a good price observed since then."""
    event = pool.deposited("SP-ALICE", 5_000_000)
    pool.oracle.observe_time = pool.gateway.now()
    await pool.final(event)
    with pytest.raises(Unavailable) as early, remote_errors():
        await pool.price(event)
    pool.oracle.observe_time = None
    pool.oracle.reachable = False
    with pytest.raises(Unavailable), remote_errors():
        await pool.price(event)
    pool.oracle.reachable = True
    deposit = await pool.price(event)
    starts = await pool.outbox("start")
    assert early.value.reason == "NO_PRICE_YET"
    assert (deposit.state, deposit.shares) == (pb.DEPOSIT_STATE_PRICED, 5_000_000)
    assert await pool.price(event) == deposit
    assert [start["workflow_id"] for start in starts] == [f"deposit/{event.txid}-1"]
    assert await pool.accounts() == {
        "deposits_unpriced/BALANCED/STX": 0,
        "free_capital/BALANCED/STX": -5_000_000,
        "vault_cash/STX": 5_000_000,
    }


async def test_a_policy_commits_its_reservation_and_its_end_frees_the_collateral(pool: RunningPool) -> None:
    """Creation locks, settlement pays and releases, expiry releases; every account is as the chain's."""
    await pool.invest("SP-ALICE", 100_000_000_000)
    first, second = pool.terms(1_000_000), pool.terms(2_000_000)
    for terms in (first, second):
        assert (await pool.reserve(terms)).state == pb.RESERVATION_STATE_HELD
    await pool.final(pool.created(first, 1), pool.created(second, 2))
    locked = await pool.capital()
    assert locked.locked_base_units == collateral_of(first) + collateral_of(second)
    assert locked.reserved_base_units == 0
    await pool.final(pool.settled(first, 1, 40_000_000), pool.expired(second, 2))
    accounts = await pool.accounts()
    assert accounts["vault_cash/STX"] == 100_000_000_000 + 2 * 1_010 - 40_000_000
    assert accounts["locked_collateral/BALANCED/STX"] == 0
    assert accounts["platform_fees/STX"] == -20
    assert sum(accounts.values()) == 0
    again = await pool.stub.CreateReservation(
        pb.CreateReservationRequest(terms=first, max_payout_base_units=collateral_of(first)), metadata=WORKFLOWS
    )
    assert again.reservation.state == pb.RESERVATION_STATE_COMMITTED
