"""What providers are told: each step once, with its cause, in an order that no cursor passes over."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa
from bithedge.chain_gateway.v1 import chain_event_pb2 as event_pb2
from bithedge.pool.v1 import notification_service_pb2 as feed_pb
from bithedge.pool.v1 import pool_service_pb2 as pb

from kernel.errors import InvalidArgument, PermissionDenied, Unavailable
from kernel.rpc.channels import remote_errors
from services.pool import watch
from tests.integration.pool.pool_service import (
    E8,
    OPERATOR,
    WORKFLOWS,
    RunningPool,
    collateral_of,
    eventually,
    provider,
    running_pool,
)
from tests.integration.pool.withdrawal_words import paid, price, record, request

ALICE = provider("SP-ALICE")
SECONDS = 60


async def numbered(pool: RunningPool) -> None:
    """Returns when every line has its number."""

    async def none_waits() -> bool:
        return int(await pool.scalar("SELECT count(*) FROM pool.feed WHERE number IS NULL")) == 0

    await eventually(none_waits)


async def told(pool: RunningPool, cursor: str = "", size: int = 0) -> feed_pb.ListNotificationsResponse:
    """What SP-ALICE is told after a cursor."""
    await numbered(pool)
    asked = feed_pb.ListNotificationsRequest(cursor=cursor, page_size=size)
    return await pool.notifications.ListNotifications(asked, metadata=ALICE)


def kinds(answer: feed_pb.ListNotificationsResponse) -> list[str]:
    """Their kinds without the prefix."""
    names = [feed_pb.NotificationKind.Name(one.kind) for one in answer.notifications]
    return [name.removeprefix("NOTIFICATION_KIND_") for name in names]


def taken_back(event: event_pb2.ChainEvent) -> event_pb2.ChainEvent:
    """The same event as a reorganisation beyond finality withdraws it."""
    copy = event_pb2.ChainEvent()
    copy.CopyFrom(event)
    copy.withdrawn = True
    return copy


async def cancel(pool: RunningPool, withdrawal: pb.Withdrawal) -> None:
    """SP-ALICE gives up what waits."""
    asked = pb.CancelWithdrawalRequest(request_id="c1", name=withdrawal.name)
    await pool.stub.CancelWithdrawal(asked, metadata=ALICE)


async def test_a_deposit_and_its_withdrawal_are_told_once_in_order(pool: RunningPool) -> None:
    """Final, priced, requested, ready, paid: with names, amounts, shares, heights and transactions of their causes."""
    await pool.invest("SP-ALICE", 1_000_000)
    asked = await request(pool, 400_000)
    for _ in range(2):
        await price(pool, asked)
        await record(pool, asked)
    payment = paid(pool, asked, 400_000)
    await pool.final(payment, blocks=3)
    await pool.final(payment)
    answer = await told(pool)
    assert kinds(answer) == [
        "DEPOSIT_FINAL",
        "DEPOSIT_PRICED",
        "WITHDRAWAL_REQUESTED",
        "WITHDRAWAL_READY",
        "WITHDRAWAL_PAID",
    ]
    final, priced, requested, ready, done = answer.notifications
    assert (final.deposit, final.amount.base_units, final.shares) == (priced.deposit, 1_000_000, 0)
    assert (priced.shares, final.txid) == (1_000_000, priced.txid)
    assert {requested.withdrawal, ready.withdrawal, done.withdrawal} == {asked.name}
    assert (requested.shares, requested.HasField("amount"), ready.amount.base_units) == (400_000, False, 400_000)
    assert (done.txid, done.burn_height) == (payment.txid, payment.burn_height)


async def test_every_way_in_which_a_voucher_ends_is_told(pool: RunningPool) -> None:
    """A lapse; a delay and a veto: each names the withdrawal, and what re-enters is told when it has its shares."""
    await pool.invest("SP-ALICE", 1_000_000)
    lapsing = await request(pool, 200_000, "w1")
    await price(pool, lapsing)
    await pool.final(blocks=40)
    vetoed = await request(pool, 200_000, "w2")
    await price(pool, vetoed)
    ready_height = pool.gateway.burn_height + 144
    delayed = event_pb2.WithdrawalDelayed(withdrawal=vetoed.name, ready_burn_height=ready_height)
    await pool.final(pool.gateway.event(withdrawal_delayed=delayed))
    veto = pool.gateway.event(voucher_vetoed=event_pb2.VoucherVetoed(withdrawal=vetoed.name))
    await pool.final(veto)
    name = f"deposits/{vetoed.name.rpartition('/')[2]}-0"
    await pool.gateway.pass_seconds(1)
    await pool.gateway.pass_seconds(1)
    await pool.stub.PriceDeposit(pb.PriceDepositRequest(name=name), metadata=WORKFLOWS)
    answer = await told(pool)
    subjects = [one.withdrawal or one.deposit for one in answer.notifications]
    assert list(zip(kinds(answer), subjects, strict=True))[2:] == [
        ("WITHDRAWAL_REQUESTED", lapsing.name),
        ("WITHDRAWAL_LAPSED", lapsing.name),
        ("WITHDRAWAL_REQUESTED", vetoed.name),
        ("WITHDRAWAL_DELAYED", vetoed.name),
        ("WITHDRAWAL_VETOED", vetoed.name),
        ("DEPOSIT_PRICED", name),
    ]
    assert (answer.notifications[6].txid, answer.notifications[6].burn_height) == (veto.txid, veto.burn_height)


async def test_a_part_a_cancellation_and_a_refusal_are_told(pool: RunningPool) -> None:
    """A part says of what it is one; what was given up and why something was refused is there."""
    await pool.invest("SP-ALICE", 1_000_000_000)
    terms = pool.terms(5_600_000, premium_base_units=0, fee_base_units=0)
    await pool.reserve(terms)
    await pool.final(pool.created(terms, 1))
    asked = await request(pool, 1_000_000_000)
    pool.oracle.btc_e8 = 1_000_000 * E8
    with pytest.raises(Unavailable), remote_errors():
        await price(pool, asked)
    await cancel(pool, asked)
    await pool.final(pool.settled(terms, 1, collateral_of(terms)))
    refused = await request(pool, 1, "w2")
    await price(pool, refused)
    answer = await told(pool)
    assert kinds(answer)[2:] == [
        "WITHDRAWAL_REQUESTED",
        "WITHDRAWAL_PARTLY_FILLED",
        "WITHDRAWAL_CANCELLED",
        "WITHDRAWAL_REQUESTED",
        "WITHDRAWAL_REFUSED",
    ]
    part, rest, _, last = answer.notifications[3:]
    assert (part.part_of, part.shares + rest.shares) == (asked.name, 1_000_000_000)
    assert part.amount.base_units > 0
    assert last.reason == "WORTH_NOTHING"


async def test_what_a_reorganisation_takes_back_is_told(pool: RunningPool) -> None:
    """A payment, a delay and a deposit that the chain withdrew after they were final."""
    event = pool.deposited("SP-ALICE", 1_000_000)
    await pool.final(event)
    await pool.price(event)
    asked = await request(pool, 400_000)
    await price(pool, asked)
    await record(pool, asked)
    delayed = event_pb2.WithdrawalDelayed(withdrawal=asked.name, ready_burn_height=pool.gateway.burn_height + 144)
    delay, payment = pool.gateway.event(withdrawal_delayed=delayed), paid(pool, asked, 400_000)
    await pool.final(delay, payment)
    other = pool.deposited("SP-ALICE", 7)
    await pool.final(other)
    await pool.final(taken_back(other), taken_back(payment), taken_back(delay))
    answer = await told(pool)
    assert kinds(answer)[4:] == [
        "WITHDRAWAL_DELAYED",
        "WITHDRAWAL_PAID",
        "DEPOSIT_FINAL",
        "DEPOSIT_REVERSED",
        "WITHDRAWAL_PAYMENT_REVERSED",
        "WITHDRAWAL_DELAY_REVERSED",
    ]
    assert answer.notifications[8].txid == payment.txid


async def test_a_line_that_is_committed_late_is_not_passed_over(pool: RunningPool) -> None:
    """Of two deposits priced side by side the first to be written commits last, and is read after the other."""
    slow, quick = pool.deposited("SP-ALICE", 1), pool.deposited("SP-ALICE", 2)
    await pool.final(slow, quick)
    before = (await told(pool)).next_cursor
    name = {one.txid: f"{one.txid}-{one.event_index}" for one in (slow, quick)}
    change = sa.text("UPDATE pool.deposit SET state = 'PRICED' WHERE id = :id")
    async with pool.database.engine.begin() as late:
        await late.execute(change, {"id": name[slow.txid]})
        async with pool.database.engine.begin() as early:
            await early.execute(change, {"id": name[quick.txid]})
        first = await told_something(pool, before)
    later = await told_something(pool, first.next_cursor)
    assert [one.txid for answer in (first, later) for one in answer.notifications] == [quick.txid, slow.txid]


async def told_something(pool: RunningPool, cursor: str) -> feed_pb.ListNotificationsResponse:
    """The next that SP-ALICE is told after a cursor, though other lines wait for their commit."""
    asked = feed_pb.ListNotificationsRequest(cursor=cursor)
    async with asyncio.timeout(SECONDS):
        while True:
            answer = await pool.notifications.ListNotifications(asked, metadata=ALICE)
            if answer.notifications:
                return answer
            await asyncio.sleep(0.02)


async def test_a_cursor_goes_on_where_it_was_given(pool: RunningPool) -> None:
    """Pages and a stream from any cursor tell the same, and a stream goes on with what comes."""
    await pool.invest("SP-ALICE", 1_000_000)
    first = await told(pool, size=1)
    rest = await told(pool, first.next_cursor)
    assert (kinds(first), kinds(rest)) == (["DEPOSIT_FINAL"], ["DEPOSIT_PRICED"])
    assert not (await told(pool, rest.next_cursor)).notifications
    stream: Any = pool.notifications.WatchNotifications(
        feed_pb.WatchNotificationsRequest(cursor=first.next_cursor), metadata=ALICE
    )
    assert (await asyncio.wait_for(stream.read(), SECONDS)).notification == rest.notifications[0]
    asked = await request(pool, 1)
    answer = await asyncio.wait_for(stream.read(), SECONDS)
    assert answer.notification.withdrawal == asked.name
    assert not (await told(pool, answer.next_cursor)).notifications
    stream.cancel()


async def test_a_feed_is_of_one_provider_and_its_cursors_are_ours(pool: RunningPool) -> None:
    """Others see nothing and may name nobody; an operator may. A cursor never given starts over or is refused."""
    await pool.invest("SP-ALICE", 1_000_000)
    beyond = str(int((await told(pool)).next_cursor) + 1_000)
    assert kinds(await told(pool, beyond)) == ["DEPOSIT_FINAL", "DEPOSIT_PRICED"]
    stream: Any = pool.notifications.WatchNotifications(
        feed_pb.WatchNotificationsRequest(cursor=beyond), metadata=ALICE
    )
    assert (await asyncio.wait_for(stream.read(), SECONDS)).notification.shares == 0
    stream.cancel()
    named = feed_pb.ListNotificationsRequest(provider_principal="SP-ALICE")
    listing = pool.notifications.ListNotifications
    assert len((await listing(named, metadata=OPERATOR)).notifications) == 2
    assert not (await listing(feed_pb.ListNotificationsRequest(), metadata=provider("SP-BOB"))).notifications
    with pytest.raises(PermissionDenied), remote_errors():
        await listing(named, metadata=provider("SP-BOB"))
    for cursor in ("x", "1.2", "-1", "9" * 19):
        with pytest.raises(InvalidArgument) as refused, remote_errors():
            await told(pool, cursor)
        assert refused.value.reason == "INVALID_RESUME_TOKEN"


async def test_a_reader_that_does_not_read_is_cut_off(pool: RunningPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that leaves what it is told untaken for too long is ended; the reader of the feed goes on."""
    monkeypatch.setattr(watch, "_SLOW_READER_SECONDS", 0.0)
    watchers, opened = watch.Watchers(pool.database), asyncio.Event()

    async def slow_reader() -> None:
        with watchers.watching("SP-ALICE"):
            opened.set()
            await asyncio.Event().wait()

    reader, listener = asyncio.ensure_future(slow_reader()), asyncio.ensure_future(watchers.run())
    await opened.wait()
    await pool.invest("SP-ALICE", 1_000_000)
    await asyncio.wait([reader], timeout=SECONDS)
    assert reader.cancelled()
    assert not listener.done()
    listener.cancel()
    await asyncio.gather(listener, return_exceptions=True)


async def test_after_a_rebuild_everything_is_told_once_more(database_url: str) -> None:
    """A cursor of a schema that was dropped is below every number of the one that is made again."""
    async with running_pool(database_url) as pool:
        await pool.invest("SP-ALICE", 1_000_000)
        cursor = (await told(pool)).next_cursor
        async with pool.database.engine.begin() as connection:
            await connection.execute(sa.text("DROP SCHEMA pool CASCADE"))
    async with running_pool(database_url) as pool:
        await pool.final(pool.deposited("SP-ALICE", 1_000_000))
        assert kinds(await told(pool, cursor)) == ["DEPOSIT_FINAL"]
