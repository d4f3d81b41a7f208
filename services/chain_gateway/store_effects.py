"""SQL that finds, among the events of canonical blocks, those that show an effect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import constant
from services.chain_gateway.contracts import ORACLE, REGISTRY
from services.chain_gateway.tables import ChainState, Event

PUBLISHED: Final = "price-published"
SETTLED: Final = "policy-settled"
EXPIRED: Final = "policy-expired"


_CONFIRMATIONS: Final = select(col(ChainState.burn_height)).scalar_subquery() - col(Event.burn_height)
"""Burn blocks on top of an event, under the tip of the very same reading: another's may be of another branch."""


class End(NamedTuple):
    """The event that ended a policy, and how many burn blocks lie on top of it."""

    topic: str
    burn_confirmations: int


async def published(session: AsyncSession, values: Sequence[bytes]) -> dict[bytes, int]:
    """How many burn blocks lie on top of the publications that printed exactly these values."""
    statement = select(col(Event.value), _CONFIRMATIONS).where(
        col(Event.canonical),
        col(Event.contract) == ORACLE,
        col(Event.topic) == constant(PUBLISHED),
        col(Event.value).in_(values),
    )
    return {bytes(value): confirmations for value, confirmations in (await session.exec(statement)).all()}


async def end_of(session: AsyncSession, policy_id: bytes) -> End | None:
    """The event that ended a policy. Values are searched, the newest first, for such a policy has ended just now: so
    ask only for those that are not active."""
    statement = select(col(Event.topic), _CONFIRMATIONS).where(
        col(Event.canonical),
        col(Event.contract) == REGISTRY,
        col(Event.topic).in_((constant(SETTLED), constant(EXPIRED))),
        sa.func.position(sa.literal(policy_id, sa.LargeBinary).op("IN")(col(Event.value))) > 0,
    )
    found = (await session.exec(statement.order_by(col(Event.sequence).desc()).limit(1))).first()
    return None if found is None else End(*found)
