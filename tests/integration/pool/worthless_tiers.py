"""Tiers that lose what stands behind their shares, and deposits that meet them."""

from __future__ import annotations

import pytest
from bithedge.chain_gateway.v1 import chain_event_pb2 as event_pb2
from bithedge.pool.v1 import pool_service_pb2 as pb
from bithedge.type.v1 import transaction_pb2

from kernel.errors import Unavailable
from kernel.rpc.channels import remote_errors
from tests.integration.pool.chain_snapshot import honest_request
from tests.integration.pool.pool_service import E8, WORKFLOWS, RunningPool, collateral_of
from tests.integration.pool.withdrawal_words import price, request

CAPITAL = 10**12


async def all_pledged(pool: RunningPool) -> transaction_pb2.QuoteTerms:
    """A policy on all that SP-ALICE has left in the tier: she has withdrawn what was free. At the money it is worth
    nothing."""
    await pool.invest("SP-ALICE", CAPITAL)
    terms = pool.terms(5_000_000_000, premium_base_units=0, fee_base_units=0)
    assert (await pool.reserve(terms)).state == pb.RESERVATION_STATE_HELD
    await pool.final(pool.created(terms, 1))
    pool.oracle.btc_e8 = 1_000_000 * E8
    await price(pool, await request(pool, CAPITAL - collateral_of(terms), "free"))
    capital = await pool.capital()
    assert capital.total_base_units == capital.locked_base_units == capital.shares == collateral_of(terms)
    return terms


async def wiped(pool: RunningPool, left: int = 0) -> int:
    """The policy takes it all, but `left` base units; how many shares are there."""
    terms = await all_pledged(pool)
    await pool.final(pool.settled(terms, 1, collateral_of(terms) - left))
    return collateral_of(terms)


def crashed(pool: RunningPool) -> None:
    """Prices at which the policy takes all its collateral: BTC at the floor, and STX below what the haircut allows."""
    pool.oracle.btc_e8, pool.oracle.stx_e8 = 80_000 * E8, E8


def name_of(event: event_pb2.ChainEvent) -> str:
    """The deposit of an event."""
    return f"deposits/{event.txid}-{event.event_index}"


async def waits(pool: RunningPool, event: event_pb2.ChainEvent) -> str:
    """Why the deposit of an event has no price a second later."""
    with pytest.raises(Unavailable) as waiting, remote_errors():
        await pool.price(event)
    return waiting.value.reason


async def deposit(pool: RunningPool, name: str) -> pb.Deposit:
    """Reads a deposit."""
    return (await pool.stub.GetDeposit(pb.GetDepositRequest(name=name), metadata=WORKFLOWS)).deposit


async def nothing_differs(pool: RunningPool) -> None:
    """A reconciliation finds no difference, the journal no fault."""
    report = (await pool.stub.CreateReconciliation(honest_request(pool), metadata=WORKFLOWS)).reconciliation
    assert list(report.differences) == []
    faults = await pool.stub.ListLedgerFaults(pb.ListLedgerFaultsRequest(), metadata=WORKFLOWS)
    assert list(faults.faults) == []
