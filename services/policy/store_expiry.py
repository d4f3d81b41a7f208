"""Expiry batches in the database: due policies claimed, released, counted."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import constant
from kernel.errors import NotFound
from services.policy.domain.errors import Reason
from services.policy.domain.policy import OnchainState, Policy
from services.policy.domain.transitions import PolicyState
from services.policy.store import POLICY, execute, policy_from_row, rows
from services.policy.tables import METADATA

BATCH: Final = METADATA.tables["policy.expiry_batch"]
COLLECTION: Final = "expiryBatches"
MAX_BATCH: Final = 200


@dataclass(frozen=True)
class ExpiryBatch:
    """A claimed batch: the ids of its policies as they were claimed."""

    id: str
    expiration_burn_height: int
    policy_ids: list[str]
    create_time: dt.datetime
    release_time: dt.datetime | None = None
    release_reason: str = ""
    in_flight: bool = True


async def land_decided(session: AsyncSession) -> None:
    """Takes out of flight the batches of which no policy waits for the chain: its tip has decided, or was not asked."""
    waiting = sa.exists().where(
        POLICY.c.expiry_batch_id == BATCH.c.id,
        POLICY.c.state == constant(PolicyState.EXPIRING),
        POLICY.c.onchain_state == str(OnchainState.ACTIVE),
    )
    await execute(session, sa.update(BATCH).where(BATCH.c.in_flight, ~waiting).values(in_flight=False))


async def crowded_heights(session: AsyncSession, limit: int, since: dt.datetime) -> set[int]:
    """The expiration heights that have at least `limit` batches in flight which were claimed since a time."""
    height = BATCH.c.expiration_burn_height
    flying = sa.select(height).where(BATCH.c.in_flight, BATCH.c.create_time > since)
    found = await rows(session, flying.group_by(height).having(sa.func.count() >= limit))
    return {row["expiration_burn_height"] for row in found}


async def lock_due(session: AsyncSession, delivered_burn_height: int, crowded: Collection[int] = ()) -> list[Policy]:
    """Up to 200 due policies of one expiration height, locked: of the one that is due first and not `crowded`.

    Those that wait for a judgement of an activation are left out.
    """
    due = (
        POLICY.c.state == constant(PolicyState.ACTIVE),
        sa.not_(POLICY.c.unjudged_activation),
        POLICY.c.due_burn_height <= delivered_burn_height,
    )
    height = await _first_height(session, due, crowded)
    if height is None:
        return []
    statement = (
        sa.select(POLICY)
        .where(*due, POLICY.c.expiration_burn_height == height)
        .order_by(POLICY.c.id)
        .limit(MAX_BATCH)
        .with_for_update(skip_locked=True)
    )
    return [policy_from_row(row) for row in await rows(session, statement)]


async def _first_height(
    session: AsyncSession, due: Sequence[sa.ColumnElement[bool]], crowded: Collection[int]
) -> int | None:
    """From one pair of heights to the next, each by the index: what is crowded can be a hundred thousand policies."""
    place = sa.tuple_(POLICY.c.due_burn_height, POLICY.c.expiration_burn_height)
    after = (-1, -1)
    while True:
        statement = (
            sa.select(POLICY.c.due_burn_height, POLICY.c.expiration_burn_height)
            .where(*due, place > sa.tuple_(*map(sa.literal, after)))
            .order_by(POLICY.c.due_burn_height, POLICY.c.expiration_burn_height)
            .limit(1)
        )
        found = await rows(session, statement)
        if not found:
            return None
        after = (found[0]["due_burn_height"], found[0]["expiration_burn_height"])
        if after[1] not in crowded:
            return after[1]


async def insert_batch(session: AsyncSession, batch: ExpiryBatch) -> None:
    """A new batch."""
    await execute(session, sa.insert(BATCH).values(vars(batch)))


async def read_batch(session: AsyncSession, batch_id: str, *, lock: bool = False) -> ExpiryBatch:
    """The batch; NotFound if there is none."""
    statement = sa.select(BATCH).where(BATCH.c.id == batch_id)
    found = await rows(session, statement.with_for_update() if lock else statement)
    if not found:
        raise NotFound(Reason.BATCH_NOT_FOUND, f"there is no batch {COLLECTION}/{batch_id}")
    return _batch(found[0])


def _batch(row: Mapping[str, Any]) -> ExpiryBatch:
    return ExpiryBatch(**row)


async def read_batch_policies(session: AsyncSession, batch: ExpiryBatch, *, lock: bool = False) -> list[Policy]:
    """The policies of a batch in order of their id, decided by the chain or not."""
    statement = sa.select(POLICY).where(POLICY.c.id.in_(batch.policy_ids)).order_by(POLICY.c.id)
    found = await rows(session, statement.with_for_update() if lock else statement)
    return [policy_from_row(row) for row in found]


async def mark_released(session: AsyncSession, batch: ExpiryBatch, now: dt.datetime, reason: str) -> None:
    """Stores that and why the batch was released."""
    statement = sa.update(BATCH).where(BATCH.c.id == batch.id)
    await execute(session, statement.values(release_time=now, release_reason=reason))


def still_open(batch: ExpiryBatch, policies: Sequence[Policy]) -> list[Policy]:
    """Those of its policies that are still EXPIRING in it."""
    return [
        policy for policy in policies if policy.state is PolicyState.EXPIRING and policy.expiry_batch_id == batch.id
    ]
