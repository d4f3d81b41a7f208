"""SQL of rounds and their observations."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from kernel.clock import wall_now
from kernel.database import constant, notify
from services.oracle.domain.prices import (
    Feed,
    JudgedObservation,
    Observation,
    Price,
    PriceStatus,
    Rejection,
    Round,
)
from services.oracle.tables import ObservationRow, RoundRow

ROUND_CHANNEL: Final = "oracle_round"


async def insert_rounds(session: AsyncSession, rounds: Sequence[Round]) -> None:
    """Adds new rounds with their observations and wakes whoever watches; IntegrityError if one is there."""
    if not rounds:
        return
    now = wall_now()
    await session.exec(sa.insert(RoundRow), params=[_round_values(one.price, now) for one in rounds])
    observations = [values for one in rounds for values in _observation_values(one)]
    if observations:
        await session.exec(sa.insert(ObservationRow), params=observations)
    await notify(session, ROUND_CHANNEL)


def _round_values(price: Price, now: dt.datetime) -> dict[str, object]:
    return {
        "feed": int(price.feed),
        "round": price.round,
        "status": str(price.status),
        "reason": price.reason,
        "price_usd_e8": price.price_usd_e8,
        "confidence_usd_e8": price.confidence_usd_e8,
        "observe_time": price.observe_time,
        "first_observe_time": price.first_observe_time,
        "burn_height": price.burn_height,
        "synthetic": price.synthetic,
        "create_time": now,
    }


def _observation_values(one: Round) -> list[dict[str, object]]:
    return [
        {
            "feed": int(one.price.feed),
            "round": one.price.round,
            "position": position,
            "source": judged.observation.source,
            "price_usd_e8": judged.observation.price_usd_e8,
            "observe_time": judged.observation.observe_time,
            "rejection": str(judged.rejection or ""),
            "simulated": judged.observation.simulated,
            "vote_ppm": judged.vote_ppm,
        }
        for position, judged in enumerate(one.observations)
    ]


def price_of(row: RoundRow) -> Price:
    """The domain's price of a stored round."""
    return Price(
        Feed(row.feed),
        row.round,
        PriceStatus(row.status),
        row.reason,
        row.price_usd_e8,
        row.confidence_usd_e8,
        row.observe_time,
        row.first_observe_time,
        row.burn_height,
        row.synthetic,
    )


async def latest_price(session: AsyncSession, feed: Feed) -> Price | None:
    """The newest round of a feed, whatever its status; None before the first."""
    statement = select(RoundRow).where(RoundRow.feed == int(feed)).order_by(col(RoundRow.round).desc()).limit(1)
    row = (await session.exec(statement)).first()
    return None if row is None else price_of(row)


async def latest_ok_price(session: AsyncSession, feed: Feed) -> Price | None:
    """The newest OK round of a feed."""
    statement = _ok(feed).order_by(col(RoundRow.round).desc()).limit(1)
    row = (await session.exec(statement)).first()
    return None if row is None else price_of(row)


def _ok(feed: Feed) -> SelectOfScalar[RoundRow]:
    return select(RoundRow).where(RoundRow.feed == int(feed), col(RoundRow.status) == constant(PriceStatus.OK))


async def first_ok_price_after(session: AsyncSession, feed: Feed, time: dt.datetime) -> Price | None:
    """The first OK round of a feed all of whose used observations are later than `time`."""
    statement = (
        _ok(feed)
        .where(
            col(RoundRow.first_observe_time) > time,
            # Follows from the line above, and lets the index find the place.
            col(RoundRow.round) > int(time.timestamp() // 1),
        )
        .order_by(col(RoundRow.round))
        .limit(1)
    )
    row = (await session.exec(statement)).first()
    return None if row is None else price_of(row)


async def ok_prices_near(
    session: AsyncSession, feed: Feed, burn_height: int, distance: int, without: Sequence[int]
) -> Sequence[Price]:
    """The OK rounds within `distance` burn blocks of a height whose numbers are not in `without`."""
    statement = _ok(feed).where(
        col(RoundRow.burn_height).between(burn_height - distance, burn_height + distance),
        col(RoundRow.round).not_in(without),
    )
    return [price_of(row) for row in (await session.exec(statement)).all()]


async def prices_between(session: AsyncSession, feed: Feed, after: int, until: int) -> Sequence[Price]:
    """The rounds numbered after `after` up to `until`, ascending."""
    statement = (
        select(RoundRow)
        .where(RoundRow.feed == int(feed), col(RoundRow.round) > after, col(RoundRow.round) <= until)
        .order_by(col(RoundRow.round))
    )
    return [price_of(row) for row in (await session.exec(statement)).all()]


async def prices_after(session: AsyncSession, feed: Feed, after: int, limit: int) -> Sequence[Price]:
    """The first `limit` rounds numbered after `after`, ascending."""
    statement = (
        select(RoundRow)
        .where(RoundRow.feed == int(feed), col(RoundRow.round) > after)
        .order_by(col(RoundRow.round))
        .limit(limit)
    )
    return [price_of(row) for row in (await session.exec(statement)).all()]


async def prices_before(session: AsyncSession, feed: Feed, after: int, before: int, limit: int) -> Sequence[Price]:
    """The newest `limit` rounds numbered above `after` and below `before`, newest first."""
    statement = (
        select(RoundRow)
        .where(RoundRow.feed == int(feed), col(RoundRow.round) > after, col(RoundRow.round) < before)
        .order_by(col(RoundRow.round).desc())
        .limit(limit)
    )
    return [price_of(row) for row in (await session.exec(statement)).all()]


async def ok_prices_after(session: AsyncSession, feed: Feed, after: int, limit: int) -> Sequence[Price]:
    """The first `limit` OK rounds numbered after `after`, ascending."""
    statement = _ok(feed).where(col(RoundRow.round) > after).order_by(col(RoundRow.round)).limit(limit)
    return [price_of(row) for row in (await session.exec(statement)).all()]


async def observations_before(
    session: AsyncSession, feed: Feed, after: int, before: tuple[int, int], limit: int
) -> Sequence[tuple[int, int, JudgedObservation]]:
    """The newest `limit` observations of rounds numbered above `after`, below the place (round, position): each with
    its place, newest first."""
    place = sa.tuple_(col(ObservationRow.round), col(ObservationRow.position))
    statement = (
        select(ObservationRow)
        .where(ObservationRow.feed == int(feed), col(ObservationRow.round) > after, place < before)
        .order_by(col(ObservationRow.round).desc(), col(ObservationRow.position).desc())
        .limit(limit)
    )
    return [(row.round, row.position, _judged(row)) for row in (await session.exec(statement)).all()]


async def rounds_of(session: AsyncSession, feed: Feed, numbers: Sequence[int]) -> Sequence[Round]:
    """The rounds with these numbers and everything that they were made from, ascending."""
    rows = (
        select(RoundRow)
        .where(RoundRow.feed == int(feed), col(RoundRow.round).in_(numbers))
        .order_by(col(RoundRow.round))
    )
    statement = (
        select(ObservationRow)
        .where(ObservationRow.feed == int(feed), col(ObservationRow.round).in_(numbers))
        .order_by(col(ObservationRow.round), col(ObservationRow.position))
    )
    found: dict[int, list[JudgedObservation]] = {}
    for row in (await session.exec(statement)).all():
        found.setdefault(row.round, []).append(_judged(row))
    return [Round(price_of(row), found.get(row.round, [])) for row in (await session.exec(rows)).all()]


async def round_with_observations(session: AsyncSession, feed: Feed, number: int) -> Round | None:
    """One round with everything that it was made from."""
    return next(iter(await rounds_of(session, feed, [number])), None)


def _judged(row: ObservationRow) -> JudgedObservation:
    observation = Observation(row.source, row.price_usd_e8, row.observe_time, row.simulated)
    return JudgedObservation(observation, Rejection(row.rejection) if row.rejection else None, row.vote_ppm or 0)
