"""SQL of the breaker's memory and of overrides."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.errors import NotFound
from services.oracle import store
from services.oracle.domain.breaker import Anchor, BelievedRange, BreakerState, Level
from services.oracle.domain.override import Act, PriceOverride
from services.oracle.domain.prices import Feed, boundary_time, unix_seconds
from services.oracle.tables_breaker import BreakerRow, PriceOverrideRow


async def breaker_state(session: AsyncSession, feed: Feed) -> BreakerState:
    """What was stored with the newest round; what follows from the newest OK round where that knew no breaker."""
    row, price = await session.get(BreakerRow, int(feed)), await store.latest_ok_price(session, feed)
    # A release without a breaker may have led since.
    if row is not None and (price is None or price.round <= (row.anchor_round or 0)):
        return _state(row)
    return BreakerState(None if price is None else Anchor(price.price_usd_e8, boundary_time(price.round)))


def _state(row: BreakerRow) -> BreakerState:
    anchor, level = None, None
    if row.anchor_price_usd_e8 is not None and row.anchor_round is not None:
        anchor = Anchor(row.anchor_price_usd_e8, boundary_time(row.anchor_round))
    if row.level_price_usd_e8 is not None:
        times = [boundary_time(number or 0) for number in (row.level_round, row.level_since_round)]
        level = Level(row.level_price_usd_e8, times[0], times[1], row.level_rounds or 0)
    return BreakerState(anchor, level, row.tripped)


async def save_breakers(session: AsyncSession, states: Mapping[Feed, BreakerState]) -> None:
    """Replaces what the feeds' breakers remember; in the transaction of the rounds that it follows from."""
    for feed, state in states.items():
        values = {"tripped": state.tripped, **_anchor_values(state.anchor), **_level_values(state.level)}
        statement = insert(BreakerRow).values(feed=int(feed), **values)
        await session.exec(statement.on_conflict_do_update(index_elements=["feed"], set_=values))


def _anchor_values(anchor: Anchor | None) -> dict[str, int | None]:
    price, time = (None, None) if anchor is None else (anchor.price_usd_e8, unix_seconds(anchor.time))
    return {"anchor_price_usd_e8": price, "anchor_round": time}


def _level_values(level: Level | None) -> dict[str, int | None]:
    return {
        "level_price_usd_e8": None if level is None else level.price_usd_e8,
        "level_round": None if level is None else unix_seconds(level.time),
        "level_since_round": None if level is None else unix_seconds(level.since),
        "level_rounds": None if level is None else level.rounds,
    }


async def believed_ranges(session: AsyncSession, since: dt.datetime) -> Mapping[Feed, Sequence[BelievedRange]]:
    """The overrides of each feed in force at market time `since` or later, in the order of their approval."""
    statement = (
        select(PriceOverrideRow)
        .where(
            col(PriceOverrideRow.approver).is_not(None),
            col(PriceOverrideRow.canceller).is_(None),
            col(PriceOverrideRow.expire_market_time) >= since,
        )
        .order_by(col(PriceOverrideRow.approve_market_time), col(PriceOverrideRow.id))
    )
    found = [override_of(row) for row in (await session.exec(statement)).all()]
    ranges = [(one.feed, one.believed_range()) for one in found]
    return {feed: [believed for own, believed in ranges if own is feed and believed is not None] for feed in Feed}


async def insert_override(session: AsyncSession, one: PriceOverride) -> None:
    """Adds a proposal."""
    session.add(PriceOverrideRow(**_override_values(one)))
    await session.flush()


async def save_override(session: AsyncSession, one: PriceOverride) -> None:
    """Stores what was done with an override that is locked."""
    row = await session.get_one(PriceOverrideRow, one.id)
    for name, value in _override_values(one).items():
        setattr(row, name, value)
    await session.flush()


async def locked_override(session: AsyncSession, override_id: str) -> PriceOverride:
    """One override, locked until the transaction ends; NotFound if there is none."""
    row = await session.get(PriceOverrideRow, override_id, with_for_update=True)
    return override_of(_there(row, override_id))


async def override(session: AsyncSession, override_id: str) -> PriceOverride:
    """One override; NotFound if there is none."""
    return override_of(_there(await session.get(PriceOverrideRow, override_id), override_id))


def _there(row: PriceOverrideRow | None, override_id: str) -> PriceOverrideRow:
    if row is None:
        raise NotFound("OVERRIDE_NOT_FOUND", f"there is no priceOverrides/{override_id}")
    return row


async def overrides_before(
    session: AsyncSession, feed: Feed | None, before: str | None, limit: int
) -> Sequence[PriceOverride]:
    """The newest `limit` overrides, of one feed or all, whose ids are below `before`; newest first."""
    statement = select(PriceOverrideRow)
    if feed is not None:
        statement = statement.where(PriceOverrideRow.feed == int(feed))
    if before is not None:
        statement = statement.where(col(PriceOverrideRow.id) < before)
    statement = statement.order_by(col(PriceOverrideRow.id).desc()).limit(limit)
    return [override_of(row) for row in (await session.exec(statement)).all()]


def override_of(row: PriceOverrideRow) -> PriceOverride:
    """The domain's override of a stored one."""
    return PriceOverride(
        row.id,
        Feed(row.feed),
        row.low_price_usd_e8,
        row.high_price_usd_e8,
        row.expire_market_time,
        Act(row.proposer, row.reason, row.propose_time, row.propose_market_time),
        _act(row.approver, "", row.approve_time, row.approve_market_time),
        _act(row.canceller, row.cancel_reason or "", row.cancel_time, row.cancel_market_time),
    )


def _act(who: str | None, why: str, time: dt.datetime | None, market_time: dt.datetime | None) -> Act | None:
    return None if who is None or time is None or market_time is None else Act(who, why, time, market_time)


def _override_values(one: PriceOverride) -> dict[str, Any]:
    approved, cancelled = one.approved, one.cancelled
    return {
        "id": one.id,
        "feed": int(one.feed),
        "low_price_usd_e8": one.low_usd_e8,
        "high_price_usd_e8": one.high_usd_e8,
        "expire_market_time": one.end,
        "proposer": one.proposed.principal,
        "reason": one.proposed.reason,
        "propose_time": one.proposed.time,
        "propose_market_time": one.proposed.market_time,
        "approver": approved and approved.principal,
        "approve_time": approved and approved.time,
        "approve_market_time": approved and approved.market_time,
        "canceller": cancelled and cancelled.principal,
        "cancel_reason": cancelled and cancelled.reason,
        "cancel_time": cancelled and cancelled.time,
        "cancel_market_time": cancelled and cancelled.market_time,
    }
