"""The chain's final events in the pool's books."""

from __future__ import annotations

import pytest
from bithedge.chain_gateway.v1 import chain_event_pb2 as event_pb2
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


async def test_policies_that_end_together_leave_the_books_of_those_that_end_one_by_one(pool: RunningPool) -> None:
    """Twenty ends in one answer, of two transactions of ours: the same balances, each policy's own entry, gas once;
    one among them that no book explains is recorded, and the others end all the same."""
    await pool.invest("SP-ALICE", 10**12)
    terms = [pool.terms(1_000_000 + number) for number in range(40)]
    await pool.final(*(pool.created(one, 1 + number) for number, one in enumerate(terms)))

    def ends(of: int) -> list[event_pb2.ChainEvent]:
        return [
            pool.settled(one, 1 + of + number, 7) if number % 2 else pool.expired(one, 1 + of + number)
            for number, one in enumerate(terms[of : of + 20])
        ]

    before = await pool.accounts()
    for event in ends(0):
        await pool.final(event)
    between = await pool.accounts()
    together = ends(20)
    for index, event in enumerate(together):
        event.txid, event.event_index, event.backend_fee_ustx = f"{'ab' if index % 2 else 'cd'}" * 32, index, 50
    await pool.final(*together[:10])
    await pool.final(*together[10:15], pool.expired(pool.terms(5), 99), *together[15:], together[0])
    after = await pool.accounts()
    cash = "vault_cash/STX"
    assert after[cash] - between[cash] == between[cash] - before[cash] == -10 * 7
    assert after["locked_collateral/BALANCED/STX"] == 0
    assert after["gas_spent/STX"] == 100
    assert await pool.scalar("SELECT count(*) FROM pool.journal_entry WHERE kind LIKE 'POLICY_E%'") == 20
    assert await pool.scalar("SELECT count(*) FROM pool.coverage WHERE status = 'SETTLED' AND payout = 7") == 20
    assert await pool.scalar(
        "SELECT string_agg(reason, ',') FROM pool.unknown_event WHERE reason NOT LIKE 'POLICY_W%'"
    ) == ("POLICY_NOT_COVERED")
