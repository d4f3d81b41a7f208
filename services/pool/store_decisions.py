"""SQL of what the oracle has decided: receipts that the books may not know as settlements yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.pool import tables
from services.pool.domain.decision import Decision

# As a join the planner would read every decision that there ever was for the few that it looks for.
_UNDECIDED: Final = sa.text(
    """WITH RECURSIVE reached AS (
        SELECT min(expiration_burn_height) AS height FROM pool.coverage
        WHERE status = 'ACTIVE' AND expiration_burn_height <= :burn_height
        UNION ALL
        SELECT (
            SELECT min(expiration_burn_height) FROM pool.coverage
            WHERE status = 'ACTIVE' AND expiration_burn_height > height AND expiration_burn_height <= :burn_height
        ) FROM reached WHERE height IS NOT NULL
    )
    SELECT height FROM reached WHERE height IS NOT NULL
        AND (SELECT id FROM pool.decision WHERE expiration_burn_height = height) IS NULL ORDER BY height"""
)


async def read_cursor(session: AsyncSession) -> str:
    """How far the receipts were read; empty before the first."""
    return (await session.exec(select(tables.DecisionCursor.cursor))).one()


async def move_cursor(session: AsyncSession, before: str, after: str) -> bool:
    """Moves the cursor; False, and nothing done, where it does not stand at `before` any more."""
    statement = (
        sa.update(tables.DecisionCursor)
        .where(col(tables.DecisionCursor.cursor) == before)
        .values(cursor=after)
        .returning(col(tables.DecisionCursor.cursor))
    )
    return (await session.exec(statement)).first() is not None


async def undecided_heights(session: AsyncSession, burn_height: int) -> Sequence[int]:
    """Where open policies have expired up to a burn height and no receipt of the height is known, ascending.

    It goes from height to height by the index, however many policies expire at each.
    """
    connection = await session.connection()
    return (await connection.execute(_UNDECIDED, {"burn_height": burn_height})).scalars().all()


async def add_decisions(session: AsyncSession, decisions: Sequence[Decision]) -> None:
    """Keeps decisions, each once."""
    rows = [
        {
            "policy_id": decision.policy_id,
            "expiration_burn_height": decision.expiration_burn_height,
            "btc_price_e8": decision.btc_e8,
            "stx_price_e8": decision.stx_e8,
        }
        for decision in decisions
    ]
    connection = await session.connection()
    await connection.execute(insert(tables.Decision).on_conflict_do_nothing(), rows)
