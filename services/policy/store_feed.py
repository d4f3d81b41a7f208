"""The feed: what holders are told, written in the transaction of its cause; kernel.feed numbers it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.feed import Feed
from kernel.units import Token
from services.policy.domain.notice import NoticeKind, amount_of, notice_of
from services.policy.domain.policy import Policy, Transition
from services.policy.tables import CHANGES_CHANNEL, METADATA

FEED: Final = METADATA.tables["policy.feed"]
LINES: Final = Feed(FEED, CHANGES_CHANNEL)


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
