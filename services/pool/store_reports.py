"""SQL of reconciliation reports."""

from __future__ import annotations

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.pool import tables


async def get_report(session: AsyncSession, report_id: str) -> tables.Reconciliation | None:
    """A report by its id."""
    statement = select(tables.Reconciliation).where(col(tables.Reconciliation.id) == report_id)
    return (await session.exec(statement)).first()


async def latest_report(session: AsyncSession) -> tables.Reconciliation | None:
    """The report that was made last."""
    statement = select(tables.Reconciliation).order_by(col(tables.Reconciliation.create_time).desc()).limit(1)
    return (await session.exec(statement)).first()
