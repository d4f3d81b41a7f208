"""The feed: what holders are told, written in the transaction of its cause, numbered in the order of commits.

Ids are given before a commit, so that a reader who had passed one could miss a lower one that was committed later.
Numbers are given to what is committed already, by one writer at a time: whoever has read up to a number has read
everything that will ever be below it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import notify
from kernel.units import Token
from services.policy.domain.notice import NoticeKind, amount_of, notice_of
from services.policy.domain.policy import Policy, Transition
from services.policy.tables import CHANGES_CHANNEL, METADATA

FEED: Final = METADATA.tables["policy.feed"]
_NUMBERED_AT_ONCE: Final = 2_000
_NEXT: Final = sa.Sequence("feed_number", schema="policy")


@dataclass(frozen=True)
class FeedLine:
    """One line of the feed. `amount` is in base units of `token`, zero where there is none."""

    number: int
    principal: str
    policy_id: str
    kind: NoticeKind | None
    time: dt.datetime
    burn_height: int
    txid: str
    token: Token
    amount: int


async def add_changes(session: AsyncSession, changed: Sequence[tuple[Policy, Transition | None]]) -> None:
    """The lines of changes of policies, with what their holders are told of them."""
    connection = await session.connection()
    await connection.execute(sa.insert(FEED), [_values(policy, transition) for policy, transition in changed])


def _values(policy: Policy, transition: Transition | None) -> dict[str, Any]:
    kind = None if transition is None else notice_of(transition)
    return {
        "principal": policy.holder_principal,
        "policy_id": policy.id,
        "kind": str(kind or ""),
        "time": policy.update_time,
        "burn_height": transition.burn_height if transition else 0,
        "txid": transition.txid if transition else "",
        "token": int(policy.token),
        "amount": amount_of(kind, policy) if kind else 0,
    }


async def number_lines(session: AsyncSession) -> int:
    """Numbers the oldest lines that have none; how many. Only one transaction at a time may do this."""
    oldest = sa.select(FEED.c.id).where(FEED.c.number.is_(None)).order_by(FEED.c.id).limit(_NUMBERED_AT_ONCE)
    waiting = oldest.subquery("waiting")
    numbered = sa.select(waiting.c.id, _NEXT.next_value().label("number")).subquery("numbered")
    statement = sa.update(FEED).values(number=numbered.c.number).where(FEED.c.id == numbered.c.id)
    connection = await session.connection()
    count = (await connection.execute(statement)).rowcount
    if count:
        await notify(session, CHANGES_CHANNEL)
    return count


async def read_last_number(session: AsyncSession) -> int:
    """The number of the last line; zero before the first."""
    return int(await _scalar(session, sa.select(sa.func.coalesce(sa.func.max(FEED.c.number), 0))))


async def read_horizon(session: AsyncSession) -> int:
    """The number up to which lines may have been pruned: what a reader has read up to there is all there is."""
    last = sa.text("policy.feed_number")
    given = sa.select(sa.case((sa.column("is_called"), sa.column("last_value")), else_=0)).select_from(last)
    first = sa.func.coalesce(sa.func.min(FEED.c.number) - 1, given.scalar_subquery())
    return int(await _scalar(session, sa.select(first)))


async def list_lines(session: AsyncSession, after: int, limit: int) -> list[FeedLine]:
    """Lines of everybody after a number, in order."""
    return await _lines(session, sa.select(FEED).where(FEED.c.number > after), limit)


async def list_principal_lines(
    session: AsyncSession, principal: str, after: int, limit: int, *, notices: bool
) -> list[FeedLine]:
    """A principal's lines after a number, in order; with `notices` only those that tell something."""
    conditions = [FEED.c.principal == principal, FEED.c.number > after]
    if notices:
        conditions.append(FEED.c.kind != "")
    return await _lines(session, sa.select(FEED).where(*conditions), limit)


async def prune_feed(session: AsyncSession, before: dt.datetime, limit: int) -> int:
    """Removes the oldest lines if they are from before a time; how many."""
    oldest = (
        sa.select(FEED.c.number, FEED.c.time).where(FEED.c.number.is_not(None)).order_by(FEED.c.number).limit(limit)
    )
    page = oldest.subquery("page")
    ends = sa.select(sa.func.min(page.c.number), sa.func.max(page.c.number)).where(page.c.time < before)
    connection = await session.connection()
    low, high = (await connection.execute(ends)).one()
    if low is None:
        return 0
    return (await connection.execute(sa.delete(FEED).where(FEED.c.number.between(low, high)))).rowcount


async def _lines(session: AsyncSession, statement: sa.Select[Any], limit: int) -> list[FeedLine]:
    connection = await session.connection()
    found: Sequence[Mapping[str, Any]] = (
        (await connection.execute(statement.order_by(FEED.c.number).limit(limit))).mappings().all()
    )
    return [_line(row) for row in found]


def _line(row: Mapping[str, Any]) -> FeedLine:
    kind = NoticeKind(row["kind"]) if row["kind"] else None
    same = {name: row[name] for name in ("number", "principal", "policy_id", "time", "burn_height", "txid", "amount")}
    return FeedLine(kind=kind, token=Token(row["token"]), **same)


async def _scalar(session: AsyncSession, statement: sa.Select[Any]) -> Any:
    connection = await session.connection()
    return (await connection.execute(statement)).scalar_one()
