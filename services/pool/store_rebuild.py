"""SQL that ends a rebuild."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.temporal import START
from services.pool import store, tables

REBUILT: Final = "REBUILT"


async def hand_over(session: AsyncSession) -> None:
    """Halts capacity until an operator resumes it, and starts no workflow of a deposit that is in the past.

    Who has had shares for it, and who has taken them out again, the books do not know: none is priced by itself, and
    none given back.
    """
    outbox = tables.Outbox
    held = sa.update(outbox).where(col(outbox.kind) == START, col(outbox.deliver_time).is_(None))
    await (await session.connection()).execute(held.values(deliver_time=wall_now(), last_error=REBUILT))
    await (await session.connection()).execute(sa.update(tables.Deposit).values(restored=True))
    cursor = await store.read_cursor(session, lock=True)
    cursor.halt_reason = cursor.halt_reason or REBUILT
    session.add(cursor)
