"""SQL of the feed: what providers are told. Triggers write it with its cause; kernel.feed numbers it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from sqlmodel import Field, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.feed import Feed
from services.pool.tables import METADATA

CHANGES_CHANNEL: Final = "pool_changes"


class FeedLine(SQLModel, table=True):
    """One thing that a provider is told, of a deposit or of a withdrawal. `amount` is in base units of `token`.

    `kind` is the API's name without its prefix; `number` is None until the line is numbered.
    """

    metadata = METADATA
    __tablename__ = "feed"
    id: int | None = Field(default=None, primary_key=True, sa_type=sa.BigInteger)
    principal: str
    kind: str
    deposit_id: str | None = None
    withdrawal_id: str | None = None
    # Of a withdrawal that was filled before the rest; empty otherwise.
    part_of: str = ""
    tier: int = Field(sa_type=sa.SmallInteger)
    token: int = Field(sa_type=sa.SmallInteger)
    amount: int = Field(sa_type=sa.BigInteger)
    shares: int = Field(sa_type=sa.BigInteger)
    time: dt.datetime = Field(sa_type=sa.DateTime(timezone=True))
    burn_height: int = Field(sa_type=sa.BigInteger)
    txid: str = ""
    reason: str = ""
    number: int = Field(sa_type=sa.BigInteger, nullable=True)


LINES: Final = Feed(METADATA.tables["pool.feed"], CHANGES_CHANNEL)


async def list_principal_lines(session: AsyncSession, principal: str, after: int, limit: int) -> Sequence[FeedLine]:
    """What a provider is told after a number, in order."""
    statement = select(FeedLine).where(col(FeedLine.principal) == principal, col(FeedLine.number) > after)
    return (await session.exec(statement.order_by(col(FeedLine.number)).limit(limit))).all()


async def list_told(session: AsyncSession, after: int, limit: int) -> list[tuple[int, str]]:
    """Number and principal of what is told to anybody after a number, in order."""
    statement = select(col(FeedLine.number), col(FeedLine.principal)).where(col(FeedLine.number) > after)
    rows = (await session.exec(statement.order_by(col(FeedLine.number)).limit(limit))).all()
    return [(number, principal) for number, principal in rows]
