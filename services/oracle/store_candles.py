"""SQL of candles, and of the volatilities that were estimated from days."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.oracle.domain.candles import Candle, CandleSpan
from services.oracle.domain.history import VolatilityEstimate
from services.oracle.domain.prices import Feed
from services.oracle.domain.window import Stretch, Weight
from services.oracle.tables import CandleRow, VolatilityRow

# Any would do: a round is in one candle of each span.
_SHORTEST: Final = CandleSpan.ONE_MINUTE


async def fold(session: AsyncSession, candles: Sequence[Candle]) -> None:
    """Adds the candles of new rounds to those that are there, as `Candle.followed_by` does.

    What was folded before is left as it is, so that doing it again changes nothing.
    """
    if candles:
        await session.exec(_folding(), params=[_values(one) for one in candles])


def _folding() -> sa.UpdateBase:
    statement = insert(CandleRow)
    there, new = CandleRow, statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["feed", "span_seconds", "start_seconds"],
        set_={
            "high_usd_e8": sa.func.greatest(col(there.high_usd_e8), new.high_usd_e8),
            "low_usd_e8": sa.func.least(col(there.low_usd_e8), new.low_usd_e8),
            "close_usd_e8": new.close_usd_e8,
            "count": col(there.count) + new["count"],
            "last_round": new.last_round,
            "price_seconds": col(there.price_seconds) + new.price_seconds,
            "covered_seconds": col(there.covered_seconds) + new.covered_seconds,
        },
        where=new.first_round > col(there.last_round),
    )


def _values(candle: Candle) -> dict[str, object]:
    return {
        "feed": int(candle.feed),
        "span_seconds": int(candle.span),
        "start_seconds": candle.start,
        "open_usd_e8": candle.open_usd_e8,
        "high_usd_e8": candle.high_usd_e8,
        "low_usd_e8": candle.low_usd_e8,
        "close_usd_e8": candle.close_usd_e8,
        "count": candle.count,
        "first_round": candle.first_round,
        "last_round": candle.last_round,
        "price_seconds": Decimal(candle.price_seconds),
        "covered_seconds": candle.covered_seconds,
    }


async def last_folded(session: AsyncSession, feed: Feed) -> int:
    """The newest round of a feed that is in its candles; 0 before the first."""
    statement = (
        select(CandleRow.last_round)
        .where(CandleRow.feed == int(feed), CandleRow.span_seconds == int(_SHORTEST))
        .order_by(col(CandleRow.start_seconds).desc())
        .limit(1)
    )
    return (await session.exec(statement)).first() or 0


async def candles_before(
    session: AsyncSession, feed: Feed, span: CandleSpan, first: int, before: int, limit: int
) -> Sequence[Candle]:
    """The newest `limit` candles that start from `first` on and before `before`, newest first."""
    statement = (
        select(CandleRow)
        .where(
            CandleRow.feed == int(feed),
            CandleRow.span_seconds == int(span),
            col(CandleRow.start_seconds) >= first,
            col(CandleRow.start_seconds) < before,
        )
        .order_by(col(CandleRow.start_seconds).desc())
        .limit(limit)
    )
    return [_candle_of(row) for row in (await session.exec(statement)).all()]


async def weight_of(session: AsyncSession, feed: Feed, stretch: Stretch) -> Weight:
    """What the candles of a stretch stand for."""
    row = CandleRow
    statement = sa.select(sa.func.sum(col(row.price_seconds)), sa.func.sum(col(row.covered_seconds))).where(
        col(row.feed) == int(feed),
        col(row.span_seconds) == stretch.span,
        col(row.start_seconds) >= stretch.start,
        col(row.start_seconds) < stretch.end,
    )
    found = (await session.exec(statement)).one()  # type: ignore[call-overload]
    return Weight(int(found[0] or 0), int(found[1] or 0))


def _candle_of(row: CandleRow) -> Candle:
    return Candle(
        Feed(row.feed),
        CandleSpan(row.span_seconds),
        row.start_seconds,
        row.open_usd_e8,
        row.high_usd_e8,
        row.low_usd_e8,
        row.close_usd_e8,
        row.count,
        row.first_round,
        row.last_round,
        int(row.price_seconds),
        row.covered_seconds,
    )


async def keep_estimate(session: AsyncSession, feed: Feed, day: dt.date, found: VolatilityEstimate) -> None:
    """Keeps the estimate of a market day; the first one of a day stays for good."""
    values = {"feed": int(feed), "day": day, **dataclasses.asdict(found)}
    await session.exec(insert(VolatilityRow).values(values).on_conflict_do_nothing())


async def kept_estimate(session: AsyncSession, feed: Feed, day: dt.date) -> VolatilityEstimate | None:
    """What was kept for a market day."""
    row = await session.get(VolatilityRow, (int(feed), day))
    return None if row is None else VolatilityEstimate(**row.model_dump(exclude={"feed", "day"}))
