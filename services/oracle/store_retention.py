"""SQL of what is not kept: observations of old rounds on which nothing was decided."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from services.oracle.domain.prices import Feed
from services.oracle.tables import CursorRow, ObservationRow, PublicationRow, ReceiptRow, RoundRow


def _stream(feed: Feed) -> str:
    return f"observations {feed.name}"


async def passed(session: AsyncSession, feed: Feed) -> int:
    """The last round whose observations were looked at, locked; 0 before the first."""
    row = await session.get(CursorRow, _stream(feed), with_for_update=True)
    return 0 if row is None else int(row.cursor)


async def next_step(session: AsyncSession, feed: Feed, after: int, until: int, limit: int) -> int | None:
    """The last of the first `limit` rounds numbered after `after` up to `until`; None when there is none."""
    numbers = (
        sa.select(col(RoundRow.round))
        .where(col(RoundRow.feed) == int(feed), col(RoundRow.round) > after, col(RoundRow.round) <= until)
        .order_by(col(RoundRow.round))
        .limit(limit)
        .subquery()
    )
    last: int | None = (await session.exec(sa.select(sa.func.max(numbers.c.round)))).scalar_one()  # type: ignore[call-overload]
    return last


async def remove_observations(session: AsyncSession, feed: Feed, after: int, until: int) -> int:
    """Removes the observations of rounds numbered after `after` up to `until`, except of those that were published or
    that a receipt was made from or passed over, and notes that this was done; how many were removed."""
    seen = ObservationRow
    # The bounds follow from those of what is removed: nobody reads all that was ever published.
    published = sa.exists().where(
        col(PublicationRow.feed) == int(feed),
        col(PublicationRow.round) == col(seen.round),
        col(PublicationRow.round) > after,
        col(PublicationRow.round) <= until,
    )
    evidence = sa.func.oracle.receipt_evidence(
        col(ReceiptRow.request_market_time),
        col(ReceiptRow.observe_seconds),
        col(ReceiptRow.btc_rounds),
        col(ReceiptRow.stx_rounds),
    )
    decided = sa.exists().where(evidence.bool_op("@>")(col(seen.round)))
    statement = sa.delete(seen).where(
        col(seen.feed) == int(feed), col(seen.round) > after, col(seen.round) <= until, ~published, ~decided
    )
    removed: int = (await session.exec(statement)).rowcount
    place = insert(CursorRow).values(stream=_stream(feed), cursor=str(until))
    await session.exec(place.on_conflict_do_update(index_elements=["stream"], set_={"cursor": str(until)}))
    return removed
