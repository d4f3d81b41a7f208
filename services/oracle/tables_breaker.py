"""Tables of the breaker and of what operators say to it, and the answers to their requests."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from kernel.idempotency import IdempotencyRecord
from services.oracle.tables import METADATA

_TIME = sa.DateTime(timezone=True)


class Request(IdempotencyRecord, table=True):
    """Answers to writes of people, by request id."""

    metadata = METADATA
    __tablename__ = "request"


class BreakerRow(SQLModel, table=True):
    """What a feed's breaker remembers: written with every round, in its transaction. Rounds are market time in Unix
    seconds; what is not known is null."""

    metadata = METADATA
    __tablename__ = "breaker"

    feed: int = Field(primary_key=True, sa_type=sa.SmallInteger)
    tripped: bool
    anchor_price_usd_e8: int | None = Field(sa_type=sa.BigInteger)
    anchor_round: int | None = Field(sa_type=sa.BigInteger)
    level_price_usd_e8: int | None = Field(sa_type=sa.BigInteger)
    level_round: int | None = Field(sa_type=sa.BigInteger)
    level_since_round: int | None = Field(sa_type=sa.BigInteger)
    level_rounds: int | None = Field(sa_type=sa.BigInteger)


class PriceOverrideRow(SQLModel, table=True):
    """A range in which a jump is believed, with who proposed, approved and cancelled it, when, and why; no row is
    ever deleted. The `*_market_time` decide, the others are for the record."""

    metadata = METADATA
    __tablename__ = "price_override"

    id: str = Field(primary_key=True)
    feed: int = Field(sa_type=sa.SmallInteger)
    low_price_usd_e8: int = Field(sa_type=sa.BigInteger)
    high_price_usd_e8: int = Field(sa_type=sa.BigInteger)
    expire_market_time: dt.datetime = Field(sa_type=_TIME)
    proposer: str
    reason: str
    propose_time: dt.datetime = Field(sa_type=_TIME)
    propose_market_time: dt.datetime = Field(sa_type=_TIME)
    approver: str | None = None
    approve_time: dt.datetime | None = Field(default=None, sa_type=_TIME)
    approve_market_time: dt.datetime | None = Field(default=None, sa_type=_TIME)
    canceller: str | None = None
    cancel_reason: str | None = None
    cancel_time: dt.datetime | None = Field(default=None, sa_type=_TIME)
    cancel_market_time: dt.datetime | None = Field(default=None, sa_type=_TIME)
