"""The queue for free capital: first come, filled in parts, cancellable, whatever happens at once or dies on the way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
import sqlalchemy as sa
from bithedge.pool.v1 import pool_service_pb2 as pb
from hypothesis import example, given
from hypothesis import strategies as st

from kernel.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, Unavailable
from kernel.rpc.channels import remote_errors
from kernel.units import Tier, Token
from services.pool import store
from services.pool.domain import shares
from services.pool.domain.collateral import TierBooks
from services.pool.domain.withdrawal import MOST_PARTS, shares_to_fill
from tests.integration.pool.pool_service import E8, OPERATOR, WORKFLOWS, RunningPool, collateral_of, provider
from tests.integration.pool.withdrawal_words import get, price, request

_CAPITAL = 1_000_000_000


async def _locked(pool: RunningPool, amount_sats: int) -> tuple[Any, int]:
    """A policy that locks capital; its terms and collateral."""
    terms = pool.terms(amount_sats, premium_base_units=0, fee_base_units=0)
    assert (await pool.reserve(terms)).state == pb.RESERVATION_STATE_HELD
    await pool.final(pool.created(terms, 1))
    return terms, collateral_of(terms)


async def _waits(pool: RunningPool, withdrawal: pb.Withdrawal) -> Unavailable:
    with pytest.raises(Unavailable) as waiting, remote_errors():
        await price(pool, withdrawal)
    return waiting.value


async def _at_once(pool: RunningPool, withdrawal: pb.Withdrawal) -> Unavailable:
    with pytest.raises(Unavailable) as waiting, remote_errors():
        await pool.stub.PriceWithdrawal(pb.PriceWithdrawalRequest(name=withdrawal.name), metadata=WORKFLOWS)
    return waiting.value


async def _list(pool: RunningPool, who: str) -> list[pb.Withdrawal]:
    answer = await pool.stub.ListWithdrawals(pb.ListWithdrawalsRequest(), metadata=provider(who))
    return list(answer.withdrawals)


async def _cancel(pool: RunningPool, withdrawal: pb.Withdrawal, who: Any, request_id: str = "c1") -> pb.Withdrawal:
    asked = pb.CancelWithdrawalRequest(request_id=request_id, name=withdrawal.name)
    return (await pool.stub.CancelWithdrawal(asked, metadata=who)).withdrawal


async def test_what_is_locked_is_waited_for_and_the_rest_is_paid_at_once(pool: RunningPool) -> None:
    """Free capital fills a part with a voucher of its own; the rest follows at a price after the end of a policy."""
    await pool.invest("SP-ALICE", _CAPITAL)
    terms, collateral = await _locked(pool, 5_600_000)
    asked = await request(pool, _CAPITAL)
    pool.oracle.btc_e8 = 1_000_000 * E8
    locked = await _waits(pool, asked)
    free = _CAPITAL - collateral
    assert (locked.reason, locked.metadata["filled_shares"]) == ("CAPITAL_LOCKED", str(free))
    part, rest = await _list(pool, "SP-ALICE")
    assert (part.part_of, part.shares, part.amount_base_units) == (asked.name, free, free)
    assert (part.state, rest.state) == (pb.WITHDRAWAL_STATE_PRICED, pb.WITHDRAWAL_STATE_REQUESTED)
    assert [start["workflow_id"] for start in await pool.outbox("start")][-1] == f"withdraw/{part.name[12:]}"
    again = await price(pool, part)
    assert (again.withdrawal, again.voucher_terms.amount.base_units) == (part, free)
    await pool.final(pool.expired(terms, 1))
    pool.oracle.observe_time = pool.gateway.now().replace(year=2025)
    assert (await _waits(pool, asked)).reason == "NO_PRICE_YET"
    pool.oracle.observe_time = None
    priced = await price(pool, asked)
    assert priced.withdrawal.amount_base_units == collateral
    assert (await pool.accounts())["withdrawals_payable/BALANCED/STX"] == -_CAPITAL
    assert (await pool.capital()).shares == 0


async def test_who_asks_while_nothing_is_new_waits_for_nobody(pool: RunningPool) -> None:
    """Before there is a price, the first of the queue asks while somebody else holds the tier, and is answered. What
    has become free meanwhile is noticed by who asks after that."""
    await pool.invest("SP-ALICE", _CAPITAL)
    terms, _ = await _locked(pool, 10_000)
    asked = await request(pool, _CAPITAL)
    pool.oracle.observe_time = pool.gateway.now()
    before = await pool.scalar("SELECT free_at_turn FROM pool.withdrawal")
    async with pool.database.transaction() as session:
        await store.lock_tiers(session, Tier.BALANCED, Token.STX)
        early = pb.PriceWithdrawalRequest(name=asked.name)
        with pytest.raises(Unavailable) as waiting, remote_errors():
            await pool.stub.PriceWithdrawal(early, metadata=WORKFLOWS, timeout=60)
    assert waiting.value.reason == "NO_PRICE_YET"
    assert await pool.scalar("SELECT free_at_turn FROM pool.withdrawal") == before
    await pool.final(pool.expired(terms, 1))
    assert (await _at_once(pool, asked)).reason == "NO_PRICE_YET"
    assert await pool.scalar("SELECT free_at_turn FROM pool.withdrawal") > before


async def test_capital_is_given_to_who_asked_first(pool: RunningPool) -> None:
    """A small withdrawal that free capital could pay waits behind a large one; both are told where they stand."""
    await pool.invest("SP-ALICE", _CAPITAL)
    await pool.invest("SP-BOB", _CAPITAL // 100)
    terms, _ = await _locked(pool, 5_600_000)
    first = await request(pool, _CAPITAL)
    second = await request(pool, 1_000, who="SP-BOB")
    behind = await _waits(pool, second)
    assert (behind.reason, behind.metadata["ahead"]) == ("WITHDRAWAL_QUEUED", "1")
    assert [(await get(pool, one)).ahead_in_queue for one in (first, second)] == [0, 1]
    await pool.final(pool.expired(terms, 1))
    assert (await _waits(pool, first)).reason == "CAPITAL_LOCKED"
    assert (await price(pool, first)).withdrawal.state == pb.WITHDRAWAL_STATE_PRICED
    assert (await _at_once(pool, second)).reason == "NO_PRICE_YET"
    assert (await price(pool, second)).withdrawal.amount_base_units == 1_000


async def test_who_comes_first_by_a_cancellation_is_not_priced_by_what_was_known(pool: RunningPool) -> None:
    """The one before it gives up when its owner likes: the next is paid by a later price, whoever cancels behind."""
    await pool.invest("SP-ALICE", _CAPITAL)
    await _locked(pool, 5_600_000)
    large = await request(pool, _CAPITAL)
    await _waits(pool, large)
    await pool.invest("SP-BOB", _CAPITAL // 100)
    small, behind = [await request(pool, 1_000, f"w{number}", "SP-BOB") for number in (2, 3)]
    await pool.gateway.pass_seconds(3_600)
    await pool.told_the_time()
    await _cancel(pool, large, OPERATOR)
    assert (await _at_once(pool, small)).reason == "NO_PRICE_YET"
    await pool.gateway.pass_seconds(1)
    await pool.told_the_time()
    await _cancel(pool, behind, OPERATOR, "c2")
    answer = await pool.stub.PriceWithdrawal(pb.PriceWithdrawalRequest(name=small.name), metadata=WORKFLOWS)
    assert answer.withdrawal.state == pb.WITHDRAWAL_STATE_PRICED


async def test_capital_that_is_asked_back_backs_no_new_policy(pool: RunningPool) -> None:
    """What waits to leave is not offered to holders, until it is cancelled."""
    await pool.invest("SP-ALICE", _CAPITAL)
    _, collateral = await _locked(pool, 2_000_000)
    before = (await pool.capital()).available_base_units
    assert before == _CAPITAL * 8 // 10 - collateral
    asked = await request(pool, _CAPITAL // 2)
    assert (await pool.capital()).available_base_units == _CAPITAL * 4 // 10 - collateral
    await _cancel(pool, asked, provider("SP-ALICE"))
    assert (await pool.capital()).available_base_units == before


async def test_what_waits_can_be_given_up_once(pool: RunningPool) -> None:
    """By its provider or an operator; the shares are free again, the workflow is told, a filled part stays."""
    await pool.invest("SP-ALICE", _CAPITAL)
    await _locked(pool, 5_600_000)
    asked = await request(pool, _CAPITAL)
    await _waits(pool, asked)
    filled = (await get(pool, asked)).filled_shares
    with pytest.raises(NotFound), remote_errors():
        await _cancel(pool, asked, provider("SP-BOB"))
    cancelled = await _cancel(pool, asked, provider("SP-ALICE"))
    assert cancelled.state == pb.WITHDRAWAL_STATE_CANCELLED
    assert await _cancel(pool, asked, provider("SP-ALICE")) == cancelled
    answer = await price(pool, asked)
    assert (answer.withdrawal.state, answer.HasField("voucher_terms")) == (cancelled.state, False)
    with pytest.raises(FailedPrecondition) as ended, remote_errors():
        await _cancel(pool, asked, OPERATOR)
    assert ended.value.reason == "WITHDRAWAL_NOT_WAITING"
    again = await request(pool, _CAPITAL - filled, "w2")
    with pytest.raises(FailedPrecondition), remote_errors():
        await request(pool, 1, "w3")
    with pytest.raises(AlreadyExists), remote_errors():
        await _cancel(pool, again, provider("SP-ALICE"))
    page = pb.ListWithdrawalsRequest(page_token="x")
    with pytest.raises(InvalidArgument), remote_errors():
        await pool.stub.ListWithdrawals(page, metadata=provider("SP-ALICE"))


async def test_pricing_and_cancelling_at_once_have_one_outcome(pool: RunningPool) -> None:
    """Eight calls of each kind race for four withdrawals: each is priced in order or cancelled, never both."""
    names = [f"SP-{number}" for number in range(4)]
    for who in names:
        await pool.invest(who, 1_000)
    asked = [await request(pool, 1_000, who=who) for who in names]
    await pool.gateway.pass_seconds(1)
    prices = [
        pool.stub.PriceWithdrawal(pb.PriceWithdrawalRequest(name=one.name), metadata=WORKFLOWS)
        for one in asked
        for _ in range(2)
    ]
    cancels = [_cancel(pool, one, OPERATOR, f"c{number}{one.name}") for one in asked[1:] for number in range(2)]
    await asyncio.gather(*prices, *cancels, return_exceptions=True)
    states = [(await get(pool, one)).state for one in asked]
    burned = 1_000 * states.count(pb.WITHDRAWAL_STATE_PRICED)
    assert (await pool.capital()).shares == 4_000 - burned
    assert (await pool.accounts()).get("withdrawals_payable/BALANCED/STX", 0) == -burned
    assert set(states[1:]) <= {pb.WITHDRAWAL_STATE_PRICED, pb.WITHDRAWAL_STATE_CANCELLED}


class _Died(Exception):
    """The process ended here."""


@contextlib.contextmanager
def _dying_at(pool: RunningPool, statement: int) -> Iterator[None]:
    """The service's transaction is lost before its `statement`-th statement."""
    seen = 0

    def count(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == statement:
            raise _Died

    sa.event.listen(pool.database.engine.sync_engine, "before_cursor_execute", count)
    try:
        yield
    finally:
        sa.event.remove(pool.database.engine.sync_engine, "before_cursor_execute", count)


async def _books(pool: RunningPool) -> tuple[Any, ...]:
    rows = "SELECT json_agg(w ORDER BY queue_number)::text FROM pool.withdrawal w"
    starts = len(await pool.outbox("start"))
    return await pool.accounts(), (await pool.capital()).shares, await pool.scalar(rows), starts


async def test_a_crash_between_any_two_statements_loses_nothing(pool: RunningPool) -> None:
    """While a part is filled: until the last statement nothing is changed, and trying again does all of it once."""
    await pool.invest("SP-ALICE", _CAPITAL)
    await _locked(pool, 5_600_000)
    asked = await request(pool, _CAPITAL)
    await pool.gateway.pass_seconds(1)
    before, statement = await _books(pool), 0
    while True:
        statement += 1
        try:
            with _dying_at(pool, statement):
                await pool.stub.PriceWithdrawal(pb.PriceWithdrawalRequest(name=asked.name), metadata=WORKFLOWS)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                break
            assert await _books(pool) == before
        else:
            break
    assert statement > 8
    vouchers = "SELECT count(*) FROM pool.withdrawal WHERE state = 'PRICED'"
    assert await pool.scalar(vouchers) == 1
    assert (await pool.capital()).shares < _CAPITAL


@example(requested=131, filled=0, others=0, free=13, reserved=1, locked=0, claimed=0)
@given(
    requested=st.integers(1, 10**12),
    filled=st.integers(0, 10**12),
    others=st.integers(0, 10**12),
    free=st.integers(0, 10**13),
    reserved=st.integers(0, 10**13),
    locked=st.integers(0, 10**13),
    claimed=st.integers(0, 10**13),
)
def test_a_part_is_as_large_as_free_capital_allows(
    requested: int, filled: int, others: int, free: int, reserved: int, locked: int, claimed: int
) -> None:
    """Never more than is free or left, never less than a tenth of the request unless it is the rest, else all of it."""
    filled %= requested
    left = requested - filled
    books = TierBooks(Tier.BALANCED, Token.STX, free, locked, min(reserved, free), left + others)
    assets = max(books.total - min(claimed, locked), 0)
    count = shares_to_fill(requested, filled, books, assets, books.withdrawable)
    tenth = -(-requested // MOST_PARTS)
    assert 0 <= count <= left
    assert shares.amount_for(count, books.shares, assets) <= books.withdrawable
    if shares.amount_for(left, books.shares, assets) <= books.withdrawable:
        assert count == left
    elif count:
        assert count >= tenth
        assert shares.amount_for(count + 1, books.shares, assets) >= books.withdrawable
    else:
        assert tenth > left or shares.amount_for(tenth, books.shares, assets) >= books.withdrawable
