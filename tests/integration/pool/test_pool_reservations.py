"""Reservations over gRPC: exact under concurrency, once per policy, ended by the chain."""

from __future__ import annotations

import asyncio

import pytest
from bithedge.pool.v1 import pool_service_pb2 as pb

from kernel.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from kernel.rpc.channels import remote_errors
from kernel.units import Tier
from tests.integration.pool.pool_service import WORKFLOWS, RunningPool, collateral_of, provider


async def test_the_last_unit_is_given_out_once(pool: RunningPool) -> None:
    """Five hundred reservations at once where one fits: exactly one is HELD, the others are refused for capacity."""
    collateral = collateral_of(pool.terms(1_000_000))
    await pool.invest("SP-ALICE", -(-collateral * 10_000 // 8_000))
    answers = await asyncio.gather(*(pool.reserve(pool.terms(1_000_000)) for _ in range(500)))
    states = [answer.state for answer in answers]
    assert states.count(pb.RESERVATION_STATE_HELD) == 1
    assert states.count(pb.RESERVATION_STATE_REFUSED) == 499
    assert {answer.reason for answer in answers} == {"", "TIER_CLOSED"}
    capital = await pool.capital()
    assert (capital.reserved_base_units, capital.available_base_units) == (collateral, 0)


async def test_a_policy_is_reserved_for_once(pool: RunningPool) -> None:
    """The same call answers the same reservation; other terms for the policy are refused."""
    await pool.invest("SP-ALICE", 10**12)
    terms = pool.terms(1_000_000)
    first, second = await asyncio.gather(pool.reserve(terms), pool.reserve(terms))
    assert first == second
    terms.premium_base_units += 1
    with pytest.raises(AlreadyExists), remote_errors():
        await pool.reserve(terms)
    assert (await pool.capital()).reserved_base_units == collateral_of(terms)


async def test_a_refusal_is_stored_with_its_reason(pool: RunningPool) -> None:
    """A wrong collateral is REFUSED, and stays so although the parameter that explains it changes later."""
    await pool.invest("SP-ALICE", 10**12)
    terms = pool.terms(1_000_000)
    refused = await pool.reserve(terms, collateral_of(terms) + 1)
    assert (refused.state, refused.reason) == (pb.RESERVATION_STATE_REFUSED, "MAX_PAYOUT_MISMATCH")
    pool.gateway.parameters["balanced.stx-haircut-bps"] = 0
    await pool.final()
    assert await pool.reserve(terms, collateral_of(terms) + 1) == refused
    with pytest.raises(InvalidArgument), remote_errors():
        await pool.reserve(terms, 0)


async def test_unpaid_quotes_are_limited_per_principal(pool: RunningPool) -> None:
    """The fourth unpaid quote of a holder is refused, also when they come at once and in different tiers."""
    for tier in (Tier.BALANCED, Tier.AGGRESSIVE):
        await pool.invest("SP-ALICE", 10**12, tier)
    terms = [
        pool.terms(1_000_000, holder_principal="SP-BOB", tier=int(tier))
        for tier in (Tier.BALANCED, Tier.AGGRESSIVE)
        for _ in range(3)
    ]
    answers = await asyncio.gather(*map(pool.reserve, terms))
    assert sorted(answer.reason for answer in answers) == ["", "", ""] + ["TOO_MANY_UNPAID_QUOTES"] * 3


async def test_an_unpaid_quote_holds_capacity_until_its_last_height_is_final(pool: RunningPool) -> None:
    """Not one block earlier; and a creation in the last block still meets its capacity."""
    await pool.invest("SP-ALICE", 10**12)
    unpaid, late = pool.terms(1_000_000), pool.terms(2_000_000)
    for terms in (unpaid, late):
        await pool.reserve(terms)
    await pool.final(blocks=6)
    assert (await pool.reserve(unpaid)).state == pb.RESERVATION_STATE_HELD
    await pool.final(pool.created(late, 1))
    assert (await pool.reserve(unpaid)).state == pb.RESERVATION_STATE_RELEASED
    assert (await pool.reserve(late)).state == pb.RESERVATION_STATE_COMMITTED
    expired = pool.terms(3_000_000, quote_expiration_burn_height=pool.gateway.burn_height - 1)
    assert (await pool.reserve(expired)).reason == "QUOTE_EXPIRED"


async def test_a_creation_without_reservation_is_covered_and_reported(pool: RunningPool) -> None:
    """The chain decides: its collateral is locked whatever the reservations say, and a person is told."""
    await pool.invest("SP-ALICE", 10**12)
    terms = pool.terms(1_000_000)
    await pool.final(pool.created(terms, 1))
    assert (await pool.capital()).locked_base_units == collateral_of(terms)
    assert await pool.scalar("SELECT reason FROM pool.unknown_event") == "POLICY_WITHOUT_RESERVATION: none"


async def test_a_cancelled_reservation_frees_its_capacity_once(pool: RunningPool) -> None:
    """HELD becomes RELEASED, again and again; what is on chain cannot be cancelled; providers may not call it."""
    await pool.invest("SP-ALICE", 10**12)
    held, committed = pool.terms(1_000_000), pool.terms(2_000_000)
    for terms in (held, committed):
        await pool.reserve(terms)
    await pool.final(pool.created(committed, 1))
    for _ in range(2):
        answer = await pool.stub.CancelReservation(pb.CancelReservationRequest(policy=held.policy), metadata=WORKFLOWS)
        assert answer.reservation.state == pb.RESERVATION_STATE_RELEASED
    with pytest.raises(FailedPrecondition), remote_errors():
        await pool.stub.CancelReservation(pb.CancelReservationRequest(policy=committed.policy), metadata=WORKFLOWS)
    with pytest.raises(NotFound), remote_errors():
        await pool.stub.CancelReservation(pb.CancelReservationRequest(policy=pool.terms(1).policy), metadata=WORKFLOWS)
    with pytest.raises(PermissionDenied), remote_errors():
        await pool.stub.CancelReservation(
            pb.CancelReservationRequest(policy=held.policy), metadata=provider("SP-ALICE")
        )
