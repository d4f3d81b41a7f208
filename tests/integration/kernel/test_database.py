"""Outbox, lease and idempotency on a real Postgres."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from bithedge.policy.v1 import policy_service_pb2 as pb
from sqlmodel import Field, MetaData, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import Database, driver_connection
from kernel.errors import AlreadyExists, InvalidArgument
from kernel.idempotency import IdempotencyRecord, claim, complete
from kernel.lease import LeaderLease, LeaseLost, LeaseRecord
from kernel.outbox import PENDING, DeliveryError, OutboxRecord, Relay, post

METADATA = MetaData(schema="kernel_test")


class Request(IdempotencyRecord, table=True):
    """Requests of the test's schema."""

    metadata = METADATA
    __tablename__ = "request"


class Outbox(OutboxRecord, table=True):
    """Outbox of the test's schema."""

    metadata = METADATA
    __tablename__ = "outbox"


class Lease(LeaseRecord, table=True):
    """Leases of the test's schema."""

    metadata = METADATA
    __tablename__ = "lease"


class Effect(SQLModel, table=True):
    """What a request did."""

    metadata = METADATA
    __tablename__ = "effect"
    id: int | None = Field(default=None, primary_key=True)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database with the test's tables."""
    database = Database(database_url)
    async with database.engine.begin() as connection:
        await connection.execute(sa.schema.CreateSchema("kernel_test"))
        await connection.run_sync(METADATA.create_all)
    yield database
    await database.close()


async def _driver(session: AsyncSession) -> Any:
    return (await (await session.connection()).get_raw_connection()).driver_connection


async def test_connections_that_the_server_ended_are_replaced(database: Database) -> None:
    """After the server has closed every session of the pool, as a restart does, the next transactions succeed."""
    async with database.transaction() as one, database.transaction() as two:
        ended = [await _driver(one), await _driver(two)]
    observer = await asyncpg.connect(database.url)
    for connection in ended:
        await observer.execute("SELECT pg_terminate_backend($1)", connection.get_server_pid())
    await observer.close()
    async with asyncio.timeout(60):
        while not all(connection.is_closed() for connection in ended):
            await asyncio.sleep(0.01)
    async with database.transaction() as one, database.reading() as two:
        assert await one.scalar(sa.text("SELECT 1")) == await two.scalar(sa.text("SELECT 1")) == 1


async def test_what_goes_past_a_session_is_of_its_transaction(database: Database) -> None:
    """Also as the first thing that is sent: it is rolled back with the rest."""
    async with database.transaction() as session:
        driver = await driver_connection(session)
        await driver.copy_records_to_table("effect", records=[(1,)], columns=["id"], schema_name="kernel_test")
        await session.rollback()
    async with database.reading() as session:
        assert (await session.exec(select(Effect))).all() == []


async def test_reading_sees_what_is_committed_at_each_query(database: Database) -> None:
    """A query outside a transaction sees what another committed since the last one, and holds nothing afterwards."""
    async with database.reading() as session:
        assert (await session.exec(select(Effect))).all() == []
        async with database.transaction() as writer:
            writer.add(Effect())
        assert len((await session.exec(select(Effect))).all()) == 1
        assert not (await _driver(session)).is_in_transaction()
    async with database.transaction() as session:
        await session.exec(select(Effect))
        assert (await _driver(session)).is_in_transaction()


async def _request(database: Database, name: str, request_id: str = "r1") -> pb.GetPolicyResponse:
    request = pb.GetPolicyRequest(name=name)
    async with database.transaction() as session:
        stored = await claim(session, Request, "SP1", request, request_id, pb.GetPolicyResponse)
        if stored is not None:
            return stored
        session.add(Effect())
        response = pb.GetPolicyResponse()
        response.policy.name = name
        await complete(session, Request, "SP1", request, request_id, response)
        return response


async def test_concurrent_repeats_have_one_effect_and_one_answer(database: Database) -> None:
    """Twenty equal requests at once: one effect, twenty equal answers."""
    answers = await asyncio.gather(*(_request(database, "policies/a") for _ in range(20)))
    async with database.transaction() as session:
        effects = (await session.exec(select(Effect))).all()
    assert [answer.policy.name for answer in answers] == ["policies/a"] * 20
    assert len(effects) == 1


async def test_a_request_id_with_another_body_is_refused(database: Database) -> None:
    """The same id for another request is ALREADY_EXISTS, a malformed id INVALID_ARGUMENT."""
    await _request(database, "policies/a")
    with pytest.raises(AlreadyExists) as refused:
        await _request(database, "policies/b")
    assert refused.value.reason == "REQUEST_ID_REUSED"
    with pytest.raises(InvalidArgument):
        await _request(database, "policies/a", request_id="")


async def test_the_outbox_delivers_what_was_committed_and_only_that(database: Database) -> None:
    """A rolled-back row is never delivered; a failed delivery is tried again."""
    delivered: list[str] = []
    failures = {"b": 2}

    async def deliver(row: OutboxRecord) -> None:
        if failures.get(row.key, 0) > 0:
            failures[row.key] -= 1
            raise DeliveryError("not now")
        delivered.append(row.key)

    async with database.transaction() as session:
        await post(session, Outbox, "start", "a", {})
        await post(session, Outbox, "start", "b", {"n": 1})
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with database.transaction() as session:
            await post(session, Outbox, "start", "never", {})
            raise ZeroDivisionError
    relay = asyncio.ensure_future(Relay(database, Outbox, deliver).run())
    waiting = select(sa.func.count()).select_from(Outbox).where(col(Outbox.deliver_time).is_(None))
    async with asyncio.timeout(60), database.reading() as session:
        while (await session.exec(waiting)).one():
            await asyncio.sleep(0.02)
    relay.cancel()
    async with database.transaction() as session:
        attempts = (await session.exec(select(Outbox.attempts).where(col(Outbox.key) == "b"))).one()
    assert sorted(delivered) == ["a", "b"]
    assert attempts == 3


async def test_the_gauge_counts_what_waits_for_its_next_try(database: Database) -> None:
    """Rows that failed and pause are pending too, or an outage would look like an empty outbox."""
    refused = True

    async def deliver(row: OutboxRecord) -> None:
        if refused and row.key != "fine":
            raise DeliveryError("not now")

    async with database.transaction() as session:
        for key in ("a", "b", "fine"):
            await post(session, Outbox, "start", key, {})
    relay = Relay(database, Outbox, deliver)
    tried = [await relay.deliver_due(), await relay.deliver_due()]
    assert tried == [3, 0]
    assert PENDING.labels("kernel_test")._value.get() == 2
    refused = False
    async with asyncio.timeout(60):
        while await relay.deliver_due() < 2:
            await asyncio.sleep(0.05)
    assert PENDING.labels("kernel_test")._value.get() == 0


async def test_locks_of_a_process_that_vanished_are_given_up(database: Database) -> None:
    """A transaction that nobody carries on is ended by the server, so that another replica may take its lease."""
    leader, follower = LeaderLease(database, Lease, "gone"), LeaderLease(database, Lease, "gone")
    assert await leader._acquire()
    async with database.transaction() as session:
        await session.exec(sa.update(Lease).values(expire_time=sa.func.now() - dt.timedelta(seconds=1)))
    with pytest.raises(sa.exc.DBAPIError):  # noqa: PT012
        async with database.transaction() as session:
            connection = await session.connection()
            limit = sa.text("SHOW idle_in_transaction_session_timeout")
            assert (await connection.execute(limit)).scalar_one() == "2min"
            await connection.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = '300ms'"))
            await leader.check(session)
            async with asyncio.timeout(60):
                assert await follower._acquire()
    async with database.transaction() as session:
        await follower.check(session)
        with pytest.raises(LeaseLost):
            await leader.check(session)


async def test_a_lease_is_free_as_soon_as_its_holder_is_dead(database: Database, database_url: str) -> None:
    """When the holder's session ends, as with a killed process, nobody waits for the lease to lapse."""
    killed = Database(database_url)
    leader, follower = LeaderLease(killed, Lease, "dead"), LeaderLease(database, Lease, "dead")
    assert await leader._acquire()
    async with database.transaction() as session:
        await session.exec(sa.update(Lease).values(expire_time=sa.func.now() + dt.timedelta(hours=1)))
    assert not await follower._acquire()
    await killed.presence.close()
    async with asyncio.timeout(60):
        while not await follower._acquire():
            await asyncio.sleep(0.02)
    async with database.transaction() as session:
        await follower.check(session)
        with pytest.raises(LeaseLost):
            await leader.check(session)
    assert not await leader._acquire()
    await killed.close()


async def test_a_process_holds_several_leases_at_once(database: Database) -> None:
    """Leases that are taken at the same time share the session of their process."""
    leases = [LeaderLease(database, Lease, f"work {number}") for number in range(4)]
    async with asyncio.timeout(60):
        assert await asyncio.gather(*(lease._acquire() for lease in leases)) == [True] * 4


async def test_one_replica_leads_and_a_lost_lease_rolls_its_write_back(database: Database) -> None:
    """Of two replicas one works; when its lease lapses the other takes over and fences its writes."""
    working: list[str] = []

    async def work(name: str) -> None:
        working.append(name)
        await asyncio.Event().wait()

    first, second = LeaderLease(database, Lease, "sweep"), LeaderLease(database, Lease, "sweep")
    tasks = [asyncio.ensure_future(first.lead(lambda: work("first")))]
    async with asyncio.timeout(60):
        while not working:
            await asyncio.sleep(0.02)
    tasks.append(asyncio.ensure_future(second.lead(lambda: work("second"))))
    async with database.transaction() as session:
        await first.check(session)
        with pytest.raises(LeaseLost):
            await second.check(session)
    tasks[0].cancel()
    async with asyncio.timeout(60):
        while "second" not in working:
            await asyncio.sleep(0.02)
    async with database.transaction() as session:
        await second.check(session)
        with pytest.raises(LeaseLost):
            await first.check(session)
    tasks[1].cancel()
    assert working == ["first", "second"]
