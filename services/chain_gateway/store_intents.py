"""SQL of intents and their queue."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import Database, constant, notify
from services.chain_gateway.domain.confirmation import IntentState
from services.chain_gateway.store_transactions import INTENT_CHANNEL
from services.chain_gateway.tables import Intent

# A row that was written has another xmin: nothing of what it holds need be read.
_VERSIONS: Final = """
SELECT intent.id,
    concat_ws(
        ' ',
        intent.xmin,
        sent.versions,
        (SELECT burn_height FROM chain_gateway.chain_state WHERE sent.is_mined)
    ) AS version
FROM chain_gateway.intent, LATERAL (
    SELECT string_agg(one.xmin::text, ' ' ORDER BY one.txid) AS versions,
        bool_or(one.mined_burn_height IS NOT NULL) AS is_mined
    FROM chain_gateway.chain_transaction AS one WHERE one.intent_id = intent.id
) AS sent
WHERE intent.id = ANY($1::text[])
"""


async def add(session: AsyncSession, intent: Intent) -> Intent:
    """Stores an intent, or answers the one that has its key already."""
    values = intent.model_dump()
    statement = insert(Intent).values(values).on_conflict_do_nothing(index_elements=["key"])
    await session.exec(statement)
    await notify(session, INTENT_CHANNEL)
    return (await session.exec(select(Intent).where(col(Intent.key) == intent.key))).one()


async def by_key(session: AsyncSession, key: str) -> Intent | None:
    """The intent of a key."""
    return (await session.exec(select(Intent).where(col(Intent.key) == key))).first()


async def get(session: AsyncSession, intent_id: str) -> Intent | None:
    """One intent."""
    return await session.get(Intent, intent_id)


async def versions(database: Database, intent_ids: Sequence[str]) -> dict[str, str]:
    """Of many intents a text that changes whenever they, their transactions, or the confirmations of those do."""
    return {row["id"]: row["version"] for row in await database.rows(_VERSIONS, intent_ids)}


async def count_by_state(session: AsyncSession) -> dict[int, int]:
    """How many intents are open, by state."""
    statement = (
        select(col(Intent.state), sa.func.count())
        .where(col(Intent.state) <= constant(IntentState.SUBMITTED))
        .group_by(col(Intent.state))
    )
    return {int(state): int(count) for state, count in (await session.exec(statement)).all()}


async def lock_queued(session: AsyncSession, limit: int, *, sponsored: bool) -> Sequence[Intent]:
    """The queued intents that go first, in order, locked; without those that another replica has locked.

    `sponsored`: those that pay for users, which are for another key than the rest.
    """
    signed_by_user = col(Intent.origin_signed)
    statement = (
        select(Intent)
        .where(
            col(Intent.state) == constant(IntentState.QUEUED),
            sa.or_(col(Intent.hold_time).is_(None), col(Intent.hold_time) <= sa.func.now()),
            signed_by_user.is_not(None) if sponsored else signed_by_user.is_(None),
        )
        .order_by(col(Intent.priority), col(Intent.create_time), col(Intent.id))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return (await session.exec(statement)).all()


async def end_unsigned(session: AsyncSession, intent: Intent, state: IntentState, reason: str) -> None:
    """Ends an intent for which nothing was ever signed that could still be mined."""
    intent.state, intent.reason, intent.end_time = state, reason, wall_now()
    session.add(intent)
    await session.flush()
    await notify(session, INTENT_CHANNEL)


async def hold(session: AsyncSession, intent: Intent, reason: str, until: dt.datetime) -> None:
    """Leaves an intent in the queue for a while, saying why."""
    intent.reason, intent.hold_time = reason, until
    session.add(intent)
    await session.flush()
    await notify(session, INTENT_CHANNEL)


async def give_up(session: AsyncSession, intent_id: str, reason: str) -> None:
    """Nothing more is signed for a submitted intent; it ends when another transaction has its nonce finally."""
    await session.exec(
        sa.update(Intent)
        .where(col(Intent.id) == intent_id, col(Intent.state) == IntentState.SUBMITTED)
        .values(give_up_reason=reason, reason=reason)
    )
    await notify(session, INTENT_CHANNEL)


async def explain(session: AsyncSession, intent_id: str, reason: str) -> None:
    """Says why an open intent does not get on; empty when it does."""
    await session.exec(
        sa.update(Intent)
        .where(
            col(Intent.id) == intent_id,
            col(Intent.state) <= constant(IntentState.SUBMITTED),
            col(Intent.give_up_reason) == "",
        )
        .values(reason=reason)
    )


async def requeue(session: AsyncSession, intent_ids: Collection[str]) -> None:
    """Puts intents back into the queue whose transactions never left this process."""
    await session.exec(sa.update(Intent).where(col(Intent.id).in_(intent_ids)).values(state=IntentState.QUEUED))
    await notify(session, INTENT_CHANNEL)
