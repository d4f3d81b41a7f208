"""Cursors of the projectors, and what they know of the tip."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import constant
from services.policy.domain.activation import KnownTip
from services.policy.domain.policy import Policy
from services.policy.domain.transitions import PolicyState
from services.policy.store import POLICY, execute, policy_from_row, rows
from services.policy.tables import METADATA

PROJECTION: Final = METADATA.tables["policy.projection"]


class Stream(enum.StrEnum):
    """The two streams of events that are followed."""

    FINAL = "FINAL"
    TIP = "TIP"


@dataclass(frozen=True)
class Projection:
    """How far a stream was followed."""

    name: str
    cursor: str
    delivered_burn_height: int
    tip_burn_height: int
    tip_market_time: dt.datetime | None
    tip_refresh_time: dt.datetime | None
    stop_reason: str

    @property
    def tip(self) -> KnownTip | None:
        """The tip that came with the last events."""
        if self.tip_market_time is None or self.tip_refresh_time is None:
            return None
        return KnownTip(self.tip_burn_height, self.tip_market_time, self.tip_refresh_time)


async def read_projection(session: AsyncSession, stream: Stream, *, lock: bool = False) -> Projection:
    """How far the stream was followed.

    With `lock` no other transaction that locks many policies runs beside this one, of either stream: they lock
    them in the order of events, and would else wait for each other in a circle.
    """
    statement = sa.select(PROJECTION).order_by(PROJECTION.c.name)
    if lock:
        names = [{"name": str(stream)} for stream in Stream]
        await execute(session, upsert(PROJECTION).values(names).on_conflict_do_nothing())
        statement = statement.with_for_update()
    for row in await rows(session, statement):
        if row["name"] == stream:
            return _projection(row)
    return Projection(str(stream), "", 0, 0, None, None, "")


def _projection(row: Mapping[str, Any]) -> Projection:
    return Projection(**row)


async def advance(
    session: AsyncSession, stream: Stream, cursor: str, delivered_burn_height: int, tip: KnownTip
) -> None:
    """Stores the cursor after the events that this transaction applied."""
    statement = sa.update(PROJECTION).where(PROJECTION.c.name == str(stream))
    await execute(
        session,
        statement.values(
            cursor=cursor,
            delivered_burn_height=delivered_burn_height,
            tip_burn_height=tip.burn_height,
            tip_market_time=tip.market_time,
            tip_refresh_time=tip.refresh_time,
        ),
    )


async def set_stop_reason(session: AsyncSession, reason: str) -> None:
    """Stops creation for a reason, or resumes it with an empty one."""
    await read_projection(session, Stream.FINAL, lock=True)
    statement = sa.update(PROJECTION).where(PROJECTION.c.name == str(Stream.FINAL))
    await execute(session, statement.values(stop_reason=reason))


async def is_stopped(session: AsyncSession) -> bool:
    """True after a reorganisation deeper than finality, until an operator resumes."""
    return bool((await read_projection(session, Stream.FINAL)).stop_reason)


async def lock_unpaid(session: AsyncSession, delivered_burn_height: int, limit: int) -> Sequence[Policy]:
    """Policies whose quote's last height is final and that were not created, locked."""
    statement = (
        sa.select(POLICY)
        .where(
            POLICY.c.state == constant(PolicyState.PENDING_CREATION),
            POLICY.c.quote_expiration_burn_height <= delivered_burn_height,
        )
        .order_by(POLICY.c.quote_expiration_burn_height)
        .limit(limit)
        .with_for_update()
    )
    return [policy_from_row(row) for row in await rows(session, statement)]
