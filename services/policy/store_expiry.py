"""Expiry batches in the database: due policies claimed, released, counted."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.errors import NotFound
from services.policy.domain.errors import Reason
from services.policy.domain.policy import Policy
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


async def lock_due(session: AsyncSession, delivered_burn_height: int) -> list[Policy]:
    """Up to 200 due policies of the earliest expiration height that has some, locked; held ones are left out."""
    due = (
        POLICY.c.state == str(PolicyState.ACTIVE),
        sa.not_(POLICY.c.unjudged_activation),
        POLICY.c.due_burn_height <= delivered_burn_height,
    )
    height = sa.select(POLICY.c.expiration_burn_height).where(*due).order_by(POLICY.c.due_burn_height).limit(1)
    first = await rows(session, height)
    if not first:
        return []
    statement = (
        sa.select(POLICY)
        .where(*due, POLICY.c.expiration_burn_height == first[0]["expiration_burn_height"])
        .order_by(POLICY.c.id)
        .limit(MAX_BATCH)
        .with_for_update(skip_locked=True)
    )
    return [policy_from_row(row) for row in await rows(session, statement)]


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
