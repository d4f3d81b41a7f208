"""SQL of a rebuild: which policies there are, a page at a time in the order of ids."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa
from sqlmodel.ext.asyncio.session import AsyncSession

from services.policy.domain.policy import Policy
from services.policy.domain.transitions import PolicyState
from services.policy.store import POLICY, policy_from_row, rows


async def known_ids(session: AsyncSession, policy_ids: Collection[str]) -> set[str]:
    """Those of these ids that have a row."""
    statement = sa.select(POLICY.c.id).where(POLICY.c.id.in_(policy_ids))
    return {row["id"] for row in await rows(session, statement)}


async def list_created(session: AsyncSession, after: str, limit: int) -> list[Policy]:
    """Policies that are or were on chain."""
    return await _page(session, POLICY.c.onchain_id.is_not(None), after, limit)


async def list_activated(session: AsyncSession, after: str, limit: int) -> list[Policy]:
    """ACTIVE policies of which an activation is known."""
    condition = sa.and_(POLICY.c.state == str(PolicyState.ACTIVE), POLICY.c.activation_number > 0)
    return await _page(session, condition, after, limit)


async def _page(session: AsyncSession, condition: sa.ColumnElement[bool], after: str, limit: int) -> list[Policy]:
    statement = sa.select(POLICY).where(condition, POLICY.c.id > after).order_by(POLICY.c.id).limit(limit)
    return [policy_from_row(row) for row in await rows(session, statement)]
