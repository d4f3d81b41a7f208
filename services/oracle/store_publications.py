"""SQL of publications: one slot per feed, rounds that go on chain, how they ended."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import constant
from services.oracle.domain.prices import Feed, Price, PriceStatus, boundary_time, unix_seconds
from services.oracle.domain.publication import PublicationCause, PublicationState
from services.oracle.tables import PublicationRow


async def lock_feed(session: AsyncSession, feed: Feed) -> None:
    """Serializes decisions about one feed's slot until the transaction ends."""
    lock = sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(f"oracle publication {feed.name}", 0))
    await session.exec(sa.select(lock))  # type: ignore[call-overload]


async def insert_publication(session: AsyncSession, price: Price, cause: PublicationCause) -> None:
    """Takes the feed's slot with an OK round; IntegrityError if it is taken or the round was there before."""
    if price.status is not PriceStatus.OK or price.observe_time is None:
        raise ValueError(f"round {price.round} is {price.status}: never published")
    session.add(
        PublicationRow(
            feed=int(price.feed),
            round=price.round,
            state=str(PublicationState.PENDING),
            cause=str(cause),
            price_usd_e8=price.price_usd_e8,
            confidence_usd_e8=price.confidence_usd_e8,
            observe_seconds=unix_seconds(price.observe_time),
            burn_height=price.burn_height,
        )
    )
    await session.flush()


async def publication(session: AsyncSession, feed: Feed, number: int) -> PublicationRow | None:
    """One publication, locked for a change of its state."""
    return await session.get(PublicationRow, (int(feed), number), with_for_update=True)


async def pending_publication(session: AsyncSession, feed: Feed) -> PublicationRow | None:
    """What holds the feed's slot."""
    statement = select(PublicationRow).where(
        PublicationRow.feed == int(feed), col(PublicationRow.state) == constant(PublicationState.PENDING)
    )
    return (await session.exec(statement)).first()


async def unsigned_publications(session: AsyncSession) -> Sequence[PublicationRow]:
    """Publications that were decided and not signed yet, locked."""
    statement = select(PublicationRow).where(col(PublicationRow.signature).is_(None)).with_for_update(skip_locked=True)
    return (await session.exec(statement)).all()


async def last_confirmed(session: AsyncSession, feed: Feed) -> Price | None:
    """The confirmed publication with the greatest round."""
    statement = (
        select(PublicationRow)
        .where(PublicationRow.feed == int(feed), col(PublicationRow.state) == constant(PublicationState.CONFIRMED))
        .order_by(col(PublicationRow.round).desc())
        .limit(1)
    )
    row = (await session.exec(statement)).first()
    return None if row is None else price_of(row)


async def publications_near(
    session: AsyncSession, feed: Feed, burn_height: int, distance: int
) -> Sequence[PublicationRow]:
    """Every publication of a round within `distance` burn blocks of a height, newest first."""
    statement = (
        select(PublicationRow)
        .where(
            PublicationRow.feed == int(feed),
            col(PublicationRow.burn_height).between(burn_height - distance, burn_height + distance),
        )
        .order_by(col(PublicationRow.round).desc())
    )
    return (await session.exec(statement)).all()


def price_of(row: PublicationRow) -> Price:
    """What was published, as a price."""
    time = boundary_time(row.observe_seconds)
    return Price(
        Feed(row.feed),
        row.round,
        PriceStatus.OK,
        "",
        row.price_usd_e8,
        row.confidence_usd_e8,
        time,
        time,
        row.burn_height,
        False,
    )
