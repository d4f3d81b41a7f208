"""Feeds of a holder: streams that can be left and taken up at any point, and notices that come once."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import asyncpg
import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.policy.v1 import policy_pb2
from bithedge.policy.v1 import policy_service_pb2 as pb

from kernel.clock import wall_now
from services.policy import store
from services.policy.domain.policy import Origin, touch
from services.policy.store_feed import LINES, list_lines
from services.policy.store_projection import Stream
from tests.integration.policy import events
from tests.integration.policy.harness import AS_HOLDER, AS_OPERATOR, AS_OTHER, HOLDER, House, running
from tests.integration.policy.stand_ins import SPOT, USD
from tests.integration.policy.test_policy_life import activate, active_policy, record_receipt
from tests.integration.policy.test_policy_refusals import refusal

FINAL, TIP = gateway_pb2.EVENT_FINALITY_FINAL, gateway_pb2.EVENT_FINALITY_TIP
SECONDS = 60


async def read(stream: Any) -> Any:
    """The next answer of a stream."""
    return await asyncio.wait_for(stream.read(), SECONDS)


async def touch_policy(house: House, policy_id: str, reason: str) -> None:
    """Any change of a policy."""
    async with house.database.transaction() as session:
        policy = await store.lock(session, policy_id)
        await store.save(session, touch(policy, Origin(wall_now()), reason=reason))


async def until_numbered(house: House) -> int:
    """The last number when every line has one."""
    async with asyncio.timeout(SECONDS):
        while await house.value("SELECT count(*) FROM policy.feed WHERE number IS NULL"):
            await asyncio.sleep(0.02)
    async with house.database.reading() as session:
        return await LINES.last_number(session)


async def notifications(house: House, cursor: str = "") -> pb.ListNotificationsResponse:
    """What HOLDER is told after a cursor."""
    await until_numbered(house)
    return await house.stub.ListNotifications(pb.ListNotificationsRequest(cursor=cursor), metadata=AS_HOLDER)


def kinds(answer: pb.ListNotificationsResponse) -> list[str]:
    """Their kinds without the prefix."""
    names = [pb.NotificationKind.Name(one.kind) for one in answer.notifications]
    return [name.removeprefix("NOTIFICATION_KIND_") for name in names]


async def test_a_line_that_is_committed_late_is_not_passed_over(house: House) -> None:
    """A transaction that took its place in the feed first and commits last is numbered after what was read."""
    slow, quick = await house.create("create-1"), await house.create("create-2")
    before = await until_numbered(house)
    async with house.database.transaction() as session:
        policy = await store.lock(session, slow.name.rpartition("/")[2])
        await store.save(session, touch(policy, Origin(wall_now()), reason="slow"))
        await touch_policy(house, quick.name.rpartition("/")[2], "quick")
        async with asyncio.timeout(SECONDS):
            while True:
                async with house.database.reading() as reading:
                    first = await list_lines(reading, before, 10)
                if first:
                    break
                await asyncio.sleep(0.02)
    await until_numbered(house)
    async with house.database.reading() as session:
        later = await list_lines(session, first[-1].number, 10)
    assert [line.policy_id for line in (*first, *later)] == [
        quick.name.rpartition("/")[2],
        slow.name.rpartition("/")[2],
    ]


async def test_a_reader_that_reconnects_anywhere_misses_nothing(house: House) -> None:
    """Cut off after a random number of answers, also within the snapshot, while policies change and are made."""
    dice = random.Random(5)
    ids = [(await house.create(f"create-{number}")).name.rpartition("/")[2] for number in range(12)]
    known: dict[str, int] = {}
    writing = asyncio.Event()

    async def write() -> None:
        for step in range(60):
            if step % 15 == 0:
                ids.append((await house.create(f"later-{step}")).name.rpartition("/")[2])
            await touch_policy(house, dice.choice(ids), str(step))
        writing.set()
        # Whoever waits for an answer gets one.
        await touch_policy(house, ids[0], "last")

    async def has_all() -> bool:
        return writing.is_set() and known == await versions(house)

    async def follow() -> None:
        token = ""
        while not await has_all():
            stream = house.stub.WatchPolicies(pb.WatchPoliciesRequest(resume_token=token), metadata=AS_HOLDER)
            for _ in range(dice.randint(1, 9)):
                answer = await read(stream)
                token = answer.resume_token
                if answer.HasField("policy"):
                    known[answer.policy.name] = max(answer.policy.version, known.get(answer.policy.name, 0))
                if await has_all():
                    break
            stream.cancel()

    await asyncio.gather(write(), follow())
    assert known == await versions(house)


async def versions(house: House) -> dict[str, int]:
    """Every policy's version as it is in the database."""
    return {f"policies/{key}": version for key, version in await house.rows("SELECT id, version FROM policy.policy")}


@pytest.mark.parametrize("kind", ["pruned", "future"])
async def test_a_token_that_leads_nowhere_starts_over(house: House, kind: str) -> None:
    """With a token from before what is kept, or of a number never given, all policies come again."""
    policy = await house.create()
    await house.sign(policy.name)
    last = await until_numbered(house)
    if kind == "pruned":
        async with house.database.transaction() as session:
            assert await LINES.prune(session, wall_now(), 100) == 2
    token = "1" if kind == "pruned" else str(last + 1_000)
    stream = house.stub.WatchPolicies(pb.WatchPoliciesRequest(resume_token=token), metadata=AS_HOLDER)
    assert (await read(stream)).policy.name == policy.name
    complete = await read(stream)
    assert (complete.snapshot_complete, complete.HasField("policy")) == (True, False)
    stream.cancel()
    # After a prune of everything a reader who had all goes on without a snapshot.
    again = house.stub.WatchPolicies(pb.WatchPoliciesRequest(resume_token=complete.resume_token), metadata=AS_HOLDER)
    await touch_policy(house, policy.name.rpartition("/")[2], "x")
    assert (await read(again)).policy.reason == "x"
    again.cancel()


async def test_a_stream_is_of_one_holder(house: House) -> None:
    """A holder sees only their own in both feeds, may name nobody else, and tokens must be ours."""
    await house.create()
    await until_numbered(house)
    stream = house.stub.WatchPolicies(pb.WatchPoliciesRequest(), metadata=AS_OTHER)
    assert (await read(stream)).snapshot_complete
    stream.cancel()
    none = await house.stub.ListNotifications(pb.ListNotificationsRequest(), metadata=AS_OTHER)
    assert not none.notifications
    named = pb.ListNotificationsRequest(holder_principal=HOLDER)
    assert kinds(await house.stub.ListNotifications(named, metadata=AS_OPERATOR)) == ["QUOTED"]
    assert (await refusal(house.stub.ListNotifications(named, metadata=AS_OTHER))).reason == "NOT_YOURS"
    for token in ("x", "1.2", "-1", "9" * 19):
        watched = house.stub.WatchPolicies(pb.WatchPoliciesRequest(resume_token=token), metadata=AS_HOLDER)
        assert (await refusal(watched.read())).reason == "INVALID_RESUME_TOKEN"
    listed = house.stub.ListNotifications(pb.ListNotificationsRequest(cursor="x"), metadata=AS_HOLDER)
    assert (await refusal(listed)).reason == "INVALID_RESUME_TOKEN"


async def test_confirmations_are_told_as_they_come(house: House) -> None:
    """A creation that is on chain and not final is sent again with each burn block, in the same version."""
    policy = await house.create()
    stream = house.stub.WatchPolicy(pb.WatchPolicyRequest(name=policy.name), metadata=AS_HOLDER)
    assert (await read(stream)).policy.onchain_state == policy_pb2.ONCHAIN_STATE_NONE
    await house.gateway.deliver(TIP, events.created(policy))
    seen = (await read(stream)).policy
    assert (seen.state, seen.onchain_state) == (
        policy_pb2.POLICY_STATE_PENDING_CREATION,
        policy_pb2.ONCHAIN_STATE_ACTIVE,
    )
    for height in (1002, 1004):
        await house.set_tip(height)
        told = seen
        while told.burn_confirmations != height - 1001:
            told = (await read(stream)).policy
        assert told.version == seen.version
    stream.cancel()


async def test_a_life_is_told_once_in_order(house: House) -> None:
    """Quoted, active, activated, settled: each once, with its amounts, though the chain's events come twice."""
    policy = await active_policy(house)
    await activate(house, policy.name)
    policy = await house.get(policy.name)
    await record_receipt(house, policy, 80_000 * USD)
    for cursor in (2, 3):
        await house.gateway.deliver(FINAL, events.settled(policy, 5))
        await house.until_projected(Stream.FINAL, cursor)
    told = await notifications(house)
    assert kinds(told) == ["QUOTED", "ACTIVE", "ACTIVATED", "SETTLED"]
    assert {one.policy for one in told.notifications} == {policy.name}
    assert told.notifications[0].amount.base_units == policy.premium.base_units + policy.fee.base_units
    assert (told.notifications[3].amount.base_units, told.notifications[3].txid) == (5, "s1")
    assert len({one.name for one in told.notifications}) == 4
    assert not (await notifications(house, told.next_cursor)).notifications


async def test_a_cursor_goes_on_where_it_was_given(house: House) -> None:
    """Pages and a stream from any cursor tell the same, and a stream goes on with what comes."""
    policy = await active_policy(house)
    await until_numbered(house)
    first = await house.stub.ListNotifications(pb.ListNotificationsRequest(page_size=1), metadata=AS_HOLDER)
    rest = await notifications(house, first.next_cursor)
    assert (kinds(first), kinds(rest)) == (["QUOTED"], ["ACTIVE"])
    request = pb.WatchNotificationsRequest(cursor=first.next_cursor)
    stream = house.stub.WatchNotifications(request, metadata=AS_HOLDER)
    assert (await read(stream)).notification == rest.notifications[0]
    await activate(house, policy.name)
    assert (await read(stream)).notification.kind == pb.NOTIFICATION_KIND_ACTIVATED
    stream.cancel()


async def test_a_cursor_that_leads_nowhere_starts_over(house: House) -> None:
    """With a cursor beyond the last number, a list and a stream tell everything that is kept."""
    await house.create()
    beyond = str(await until_numbered(house) + 1_000)
    listed = await notifications(house, beyond)
    assert kinds(listed) == ["QUOTED"]
    assert not (await notifications(house, listed.next_cursor)).notifications
    stream = house.stub.WatchNotifications(pb.WatchNotificationsRequest(cursor=beyond), metadata=AS_HOLDER)
    assert (await read(stream)).notification == listed.notifications[0]
    stream.cancel()


async def test_after_a_rebuild_everything_is_told_once_more(database_url: str) -> None:
    """Cursors and tokens of a schema that was dropped are below every number of the one that is made again."""
    async with running(database_url) as house:
        await house.create()
        cursor = (await notifications(house)).next_cursor
    connection = await asyncpg.connect(database_url)
    await connection.execute("DROP SCHEMA policy CASCADE")
    await connection.close()
    async with running(database_url) as house:
        again = await house.create()
        assert kinds(await notifications(house, cursor)) == ["QUOTED"]
        for first in (
            house.stub.WatchNotifications(pb.WatchNotificationsRequest(cursor=cursor), metadata=AS_HOLDER),
            house.stub.WatchPolicies(pb.WatchPoliciesRequest(resume_token=cursor), metadata=AS_HOLDER),
        ):
            told = await read(first)
            assert again.name in (told.notification.policy if hasattr(told, "notification") else told.policy.name)
            first.cancel()


async def test_a_fall_below_the_strike_is_told_once_a_day(house: House) -> None:
    """Told when the price falls below the strike, not again when it does so within 144 burn blocks."""
    policy = await active_policy(house)
    await look(house)
    for price in (policy.strike_price_usd_e8 + 1, 80_000 * USD, SPOT, 80_000 * USD):
        house.oracle.set_btc(price)
        await look(house)
    assert kinds(await notifications(house)) == ["QUOTED", "ACTIVE", "IN_THE_MONEY"]
    await house.set_tip(house.gateway.tip.burn_height + 144)
    for price in (SPOT, 80_000 * USD):
        house.oracle.set_btc(price)
        await look(house)
    assert kinds(await notifications(house)).count("IN_THE_MONEY") == 2


async def test_a_near_expiry_is_told_at_both_distances(house: House) -> None:
    """Told once at 144 and once at 18 burn blocks before the last height, also if the tip skips them."""
    policy = await active_policy(house, duration_blocks=300)
    await look(house)
    for left, count in ((145, 0), (144, 1), (100, 1), (10, 2), (5, 2)):
        await house.set_tip(policy.expiration_burn_height - left)
        await look(house)
        assert kinds(await notifications(house)).count("NEAR_EXPIRY") == count


async def look(house: House) -> None:
    """The service's own noticer looks, or has looked, at the tip and the price as they are."""
    seen = f"""SELECT count(*) FROM policy.notice_cursor WHERE value IN (
        {house.gateway.tip.burn_height}, {next(iter(house.oracle.prices.values()))})"""
    async with asyncio.timeout(SECONDS):
        while await house.value(seen) < 3:
            # Another Stacks block, so that it looks at once.
            await house.set_tip(house.gateway.tip.burn_height)
            await asyncio.sleep(0.05)
