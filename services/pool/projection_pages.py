"""Final events into the books, page by page: a page of many costs about the statements of one event."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlalchemy.exc import IntegrityError
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.errors import BitHedgeError
from kernel.ids import resource_name
from kernel.log import get_logger
from services.pool import convert, metrics, reversal, store_pages, store_positions
from services.pool.backlog import Given
from services.pool.domain.chain_event import ChainEvent
from services.pool.projection import Page, PostedBefore, UnexplainedEvent


async def take_in(session: AsyncSession, given: Sequence[Given], now: dt.datetime) -> None:
    """Applies events in their order, none of them withdrawn; what the books cannot explain is recorded."""
    try:
        await _write(session, given, now)
    except IntegrityError as error:
        if len(given) == 1:
            await _write(session, [Given(given[0].message, given[0].event, error)], now)
            return
        # The database refuses something of the page: by halves, so that it is found soon and the rest is kept.
        middle = len(given) // 2
        await take_in(session, given[:middle], now)
        await take_in(session, given[middle:], now)


async def _write(session: AsyncSession, given: Sequence[Given], now: dt.datetime) -> None:
    """Events are new to the books as a rule: whether they are is read only where that turns out wrong."""
    try:
        reasons = await _attempt(session, given, now, posted=False)
    except PostedBefore:
        reasons = await _attempt(session, given, now, posted=True)
    for cause, reason in reasons:
        metrics.UNEXPLAINED.inc()
        get_logger().error("event not explained", cause=cause, reason=reason)


async def _attempt(
    session: AsyncSession, given: Sequence[Given], now: dt.datetime, *, posted: bool
) -> list[tuple[str, str]]:
    """Cause and reason of what is not explained."""
    reasons = []
    async with session.begin_nested():
        events = [one.event for one in given if one.event is not None]
        page = await store_pages.read_page(session, events, posted=posted)
        for one in given:
            error = one.error or _apply(page, one.event, now)
            if error is not None:
                cause, reason = convert.event_cause(one.message), str(error).splitlines()[0][:300]
                page.record(cause, reason, one.message.SerializeToString(), one.event)
                reasons.append((cause.key, reason))
        await store_pages.write_page(session, page)
    return reasons


def _apply(page: Page, event: ChainEvent | None, now: dt.datetime) -> Exception | None:
    if event is not None:
        try:
            page.apply(event, now)
        except (UnexplainedEvent, BitHedgeError, ValueError) as error:
            return error
    return None


async def take_back(session: AsyncSession, given: Given) -> None:
    """Reverses one event that was withdrawn, or records why it cannot be."""
    error = given.error
    if given.event is not None:
        await reversal.take_back_gas(session, given.event)
        try:
            async with session.begin_nested():
                await reversal.take_back(session, given.event)
                await session.flush()
        except (UnexplainedEvent, BitHedgeError, ValueError, IntegrityError) as refused:
            error = refused
    if error is not None:
        # Neither cash nor gas follows what the chain took back.
        await _write(session, [Given(given.message, error=error)], convert.event_cause(given.message).time)


async def explain(session: AsyncSession, event: ChainEvent, now: dt.datetime) -> None:
    """Applies one event. UnexplainedEvent, ValueError or IntegrityError, and nothing recorded, where it cannot be."""
    page = await store_pages.read_page(session, [event], posted=True)
    page.apply(event, now)
    await store_pages.write_page(session, page)


async def lapse_vouchers(session: AsyncSession, burn_height: int, now: dt.datetime) -> None:
    """Ends the vouchers whose last height is final without their use."""
    rows = await store_positions.lapsed_vouchers(session, burn_height)
    if not rows:
        return
    causes = [f"{resource_name('withdrawals', row.id)}/lapse" for row in rows]
    page = await store_pages.read_vouchers(session, rows, causes)
    for row in rows:
        page.lapse(row.id, burn_height, now)
    await store_pages.write_page(session, page)
