"""SQL of what the oracle reads from the chain: terms of created policies, requests of holders, the cursor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import constant
from services.oracle.tables import ActivationRequestRow, CursorRow, PolicyTermsRow

_STREAM: Final = "events"


async def cursor(session: AsyncSession, *, lock: bool = False) -> str:
    """Where the events were left; empty before the first."""
    row = await session.get(CursorRow, _STREAM, with_for_update=lock or None)
    return "" if row is None else row.cursor


async def save_cursor(session: AsyncSession, value: str) -> None:
    """Advances the cursor in the transaction of what it passed."""
    statement = insert(CursorRow).values(stream=_STREAM, cursor=value)
    await session.exec(statement.on_conflict_do_update(index_elements=["stream"], set_={"cursor": value}))


async def add_terms(session: AsyncSession, row: PolicyTermsRow) -> None:
    """Keeps the terms of a created policy; a repeat changes nothing."""
    await session.exec(insert(PolicyTermsRow).values(row.model_dump()).on_conflict_do_nothing())


async def terms(session: AsyncSession, policy_id: str) -> PolicyTermsRow | None:
    """The terms of a policy, None if its creation was never seen."""
    return await session.get(PolicyTermsRow, policy_id)


async def add_request(session: AsyncSession, row: ActivationRequestRow) -> None:
    """Keeps a holder's request; a repeat changes nothing."""
    values = row.model_dump()
    await session.exec(insert(ActivationRequestRow).values(values).on_conflict_do_nothing())


async def open_requests(session: AsyncSession, limit: int) -> Sequence[ActivationRequestRow]:
    """Requests without an answer, oldest first."""
    statement = (
        select(ActivationRequestRow)
        .where(col(ActivationRequestRow.outcome) == constant(""))
        .order_by(col(ActivationRequestRow.market_time))
        .limit(limit)
    )
    return (await session.exec(statement)).all()


async def close_request(session: AsyncSession, policy_id: str, activation_number: int, outcome: str) -> None:
    """Stores how a request was answered."""
    row = await session.get(ActivationRequestRow, (policy_id, activation_number), with_for_update=True)
    if row is not None and row.outcome == "":
        row.outcome = outcome
        session.add(row)
