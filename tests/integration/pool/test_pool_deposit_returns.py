"""Deposits that are taken back before they have a price: exactly what was deposited, once, or not at all."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from bithedge.chain_gateway.v1 import chain_event_pb2 as event_pb2
from bithedge.oracle.v1 import oracle_service_pb2 as oracle_pb2
from bithedge.pool.v1 import pool_service_pb2 as pb

from kernel.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, Unavailable
from kernel.rpc.channels import remote_errors
from services.pool.store_rebuild import hand_over
from tests.integration.pool.pool_service import E8, OPERATOR, WORKFLOWS, RunningPool, provider
from tests.integration.pool.test_pool_feed import kinds, told
from tests.integration.pool.withdrawal_words import get, paid, price, record
from tests.integration.pool.worthless_tiers import (
    CAPITAL,
    all_pledged,
    crashed,
    deposit,
    name_of,
    nothing_differs,
    waits,
    wiped,
)

ALICE = provider("SP-ALICE")
_AMOUNT = 12_345


async def _take_back(
    pool: RunningPool, name: str, request_id: str = "back", who: Any = ALICE, key: bytes = b"\x02" * 33
) -> pb.CancelDepositResponse:
    asked = pb.CancelDepositRequest(request_id=request_id, name=name, public_key=key)
    return await pool.stub.CancelDeposit(asked, metadata=who)


async def _refused(pool: RunningPool, name: str, request_id: str = "back") -> str:
    with pytest.raises((FailedPrecondition, Unavailable)) as refused, remote_errors():
        await _take_back(pool, name, request_id)
    return refused.value.reason


async def _waiting(pool: RunningPool) -> event_pb2.ChainEvent:
    """A deposit of SP-ALICE in a tier all of which open policies claim."""
    await all_pledged(pool)
    crashed(pool)
    event = pool.deposited("SP-ALICE", _AMOUNT)
    await pool.final(event)
    assert await waits(pool, event) == "TIER_WORTHLESS"
    return event


async def test_what_waits_is_given_back_in_full_by_a_voucher(pool: RunningPool) -> None:
    """Books, statement, feed and journal have each step; a repeat answers the first, and nothing goes back twice."""
    event = await _waiting(pool)
    name, cash = name_of(event), (await pool.accounts())["vault_cash/STX"]
    back = await _take_back(pool, name)
    assert (back.deposit.state, back.deposit.shares) == (pb.DEPOSIT_STATE_CANCELLED, 0)
    owed = back.withdrawal
    assert (owed.state, owed.amount_base_units, owed.shares) == (pb.WITHDRAWAL_STATE_PRICED, _AMOUNT, 0)
    assert (owed.deposit, back.deposit.withdrawal) == (name, owed.name)
    assert await _take_back(pool, name) == back
    assert await _refused(pool, name, "again") == "DEPOSIT_NOT_WAITING"
    assert [start["workflow_id"] for start in await pool.outbox("start")][-1] == f"withdraw/{owed.name[12:]}"
    terms = (await price(pool, owed)).voucher_terms
    assert (terms.amount.base_units, terms.provider_principal) == (_AMOUNT, "SP-ALICE")
    await record(pool, owed)
    await nothing_differs(pool)
    await pool.final(paid(pool, owed, _AMOUNT))
    assert (await get(pool, owed)).state == pb.WITHDRAWAL_STATE_PAID
    accounts = await pool.accounts()
    assert accounts["vault_cash/STX"] == cash - _AMOUNT
    assert accounts["deposits_unpriced/BALANCED/STX"] == 0
    assert (await pool.price(event)).state == pb.DEPOSIT_STATE_CANCELLED
    assert await deposit(pool, name) == back.deposit
    told_kinds = ["DEPOSIT_WAITING", "DEPOSIT_CANCELLED", "WITHDRAWAL_READY", "WITHDRAWAL_PAID"]
    assert kinds(await told(pool))[-4:] == told_kinds
    lines = (await pool.stub.ListStatementLines(pb.ListStatementLinesRequest(), metadata=ALICE)).lines
    assert [(line.kind, line.amount.base_units, line.shares_delta) for line in lines[:3]] == [
        ("withdrawal", _AMOUNT, 0),
        ("deposit cancelled", _AMOUNT, 0),
        ("deposit", _AMOUNT, 0),
    ]
    story = await pool.stub.ListJournalEntries(pb.ListJournalEntriesRequest(subject=name), metadata=OPERATOR)
    assert [entry.kind for entry in story.entries] == ["DEPOSIT_CANCELLED", "DEPOSIT"]
    await nothing_differs(pool)


async def test_a_voucher_that_is_not_used_is_a_deposit_again(pool: RunningPool) -> None:
    """It waits as before, and can be taken back once more; when the tier recovers it joins."""
    event = await _waiting(pool)
    owed = (await _take_back(pool, name_of(event))).withdrawal
    await record(pool, owed)
    await pool.final(blocks=37)
    assert (await get(pool, owed)).state == pb.WITHDRAWAL_STATE_LAPSED
    name = f"deposits/{owed.name[12:]}-0"
    again = (await _take_back(pool, name, "again")).withdrawal
    assert (again.deposit, again.amount_base_units) == (name, _AMOUNT)
    await pool.final(blocks=37)
    await nothing_differs(pool)
    pool.oracle.btc_e8 = 1_000_000 * E8
    await pool.gateway.pass_seconds(1)
    asked = pb.PriceDepositRequest(name=f"deposits/{again.name[12:]}-0")
    joined = (await pool.stub.PriceDeposit(asked, metadata=WORKFLOWS)).deposit
    assert (joined.state, joined.shares) == (pb.DEPOSIT_STATE_PRICED, _AMOUNT)
    await nothing_differs(pool)


async def test_who_knows_a_price_takes_it(pool: RunningPool) -> None:
    """A deposit whose price is known has it, also where nobody had asked; nobody can tell while the oracle is away."""
    event = pool.deposited("SP-ALICE", CAPITAL)
    await pool.final(event)
    await pool.gateway.pass_seconds(1)
    pool.oracle.reachable = False
    assert await _refused(pool, name_of(event)) == "DOWN"
    assert (await deposit(pool, name_of(event))).state == pb.DEPOSIT_STATE_FINAL
    pool.oracle.reachable = True
    assert await _refused(pool, name_of(event)) == "DEPOSIT_NOT_WAITING"
    priced = await deposit(pool, name_of(event))
    assert (priced.state, priced.shares, priced.withdrawal) == (pb.DEPOSIT_STATE_PRICED, CAPITAL, "")


async def test_without_a_good_price_a_deposit_is_not_held(pool: RunningPool) -> None:
    """While no OK round is made the money can go back."""
    pool.oracle.status = oracle_pb2.PRICE_STATUS_DEGRADED
    event = pool.deposited("SP-ALICE", CAPITAL)
    await pool.final(event)
    assert await waits(pool, event) == "NO_PRICE_YET"
    assert (await _take_back(pool, name_of(event))).withdrawal.amount_base_units == CAPITAL
    await nothing_differs(pool)


async def test_what_was_lost_is_not_taken_back(pool: RunningPool) -> None:
    """A deposit that meets a lost tier without open policies joins it instead; shares are no deposit any more."""
    await wiped(pool)
    event = pool.deposited("SP-ALICE", CAPITAL)
    await pool.final(event)
    await pool.gateway.pass_seconds(1)
    assert await _refused(pool, name_of(event)) == "DEPOSIT_NOT_WAITING"
    assert (await deposit(pool, name_of(event))).shares == CAPITAL


async def test_one_of_many_calls_decides(pool: RunningPool) -> None:
    """Pricing and taking back at once: it has shares or a voucher, never both and never two."""
    names = []
    for number in range(6):
        event = pool.deposited("SP-ALICE", _AMOUNT + number)
        await pool.final(event)
        names.append(name_of(event))
    await pool.told_the_time()
    calls: list[Any] = []
    for name in names:
        asked = pb.PriceDepositRequest(name=name)
        calls += [pool.stub.PriceDeposit(asked, metadata=WORKFLOWS), _take_back(pool, name, name + "a")]
        calls += [_take_back(pool, name, name + "b"), pool.stub.PriceDeposit(asked, metadata=WORKFLOWS)]
    racing = asyncio.gather(*calls, return_exceptions=True)
    await pool.gateway.pass_seconds(1)
    await racing
    for name in names:
        found = await deposit(pool, name)
        owed = await pool.scalar(f"SELECT count(*) FROM pool.withdrawal WHERE deposit_id = '{name[9:]}'")
        assert (found.state == pb.DEPOSIT_STATE_PRICED, owed) in ((True, 0), (False, 1))
        assert (found.shares > 0) is (owed == 0)
    await nothing_differs(pool)


async def test_only_its_owner_or_an_operator_takes_a_deposit_back(pool: RunningPool) -> None:
    """A stranger finds none; what an operator gives back goes to its owner. Bad input is refused before."""
    name = name_of(await _waiting(pool))
    with pytest.raises(NotFound), remote_errors():
        await _take_back(pool, name, who=provider("SP-BOB"))
    with pytest.raises(InvalidArgument), remote_errors():
        await _take_back(pool, name, key=b"\x02")
    assert (await deposit(pool, name)).state == pb.DEPOSIT_STATE_FINAL
    assert (await _take_back(pool, name, who=OPERATOR)).withdrawal.provider_principal == "SP-ALICE"
    with pytest.raises(AlreadyExists), remote_errors():
        await _take_back(pool, name, who=OPERATOR, key=b"")


async def test_a_deposit_of_a_rebuild_is_not_given_back(pool: RunningPool) -> None:
    """Whether it has left since is not known: a person decides, and nothing is priced for the question."""
    await pool.invest("SP-ALICE", CAPITAL)
    event = pool.deposited("SP-ALICE", CAPITAL)
    await pool.final(event)
    async with pool.database.transaction() as session:
        await hand_over(session)
    await pool.gateway.pass_seconds(1)
    assert await _refused(pool, name_of(event)) == "DEPOSIT_RESTORED"
    assert (await deposit(pool, name_of(event))).state == pb.DEPOSIT_STATE_FINAL


async def test_a_deposit_that_leaves_the_chain_after_it_was_taken_back_is_for_a_person(pool: RunningPool) -> None:
    """Its voucher may be used yet: the books keep it, and take it as the same where it comes back."""
    event = await _waiting(pool)
    owed = (await _take_back(pool, name_of(event))).withdrawal
    withdrawn = event_pb2.ChainEvent()
    withdrawn.CopyFrom(event)
    withdrawn.withdrawn = True
    await pool.final(withdrawn)
    assert await pool.scalar("SELECT reason FROM pool.unknown_event") == "DEPOSIT_CANCELLED"
    await pool.final(event, paid(pool, owed, _AMOUNT))
    assert (await get(pool, owed)).state == pb.WITHDRAWAL_STATE_PAID
    assert await pool.scalar("SELECT count(*) FROM pool.deposit WHERE amount = 12345") == 1
    await nothing_differs(pool)
