"""SQL of closed heights, and of balances as they stood at one.

A balance is that of the last closing at or before the height, what was posted for heights after it, and what came late
for a height that this closing was made without.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.units import Token
from services.pool import store
from services.pool.store_arrays import run

# Triggers make of a new row of `closing` what every account and provider came to.
_CLOSE_NEXT: Final = f"""INSERT INTO pool.closing (burn_height)
    SELECT burn_height FROM (
        SELECT burn_height FROM pool.journal_entry
        WHERE burn_height > (SELECT coalesce(max(burn_height), -1) FROM pool.closing) ORDER BY burn_height LIMIT 1
    ) AS following
    WHERE burn_height <= (SELECT projected_burn_height - $1 FROM pool.cursor WHERE name = '{store.CURSOR}')
    RETURNING burn_height"""
LAST_CLOSED: Final = """closed AS (
        SELECT coalesce(max(burn_height), -1) AS height FROM pool.closing WHERE burn_height <= :height
    )"""
"""A table expression: the last closing at or before `:height`."""
LATE_FOR_IT: Final = "late_entry WHERE closed_burn_height >= closed.height AND burn_height <= closed.height"
# Each part is looked up entry by entry and account by account: as joins the planner may read whole tables for them.
_BALANCES_AT: Final = sa.text(
    f"""WITH {LAST_CLOSED}
    SELECT account, token, sum(amount) AS balance FROM (
        SELECT b.account, b.token, coalesce(c.balance, 0) AS amount FROM pool.account_balance b
        CROSS JOIN closed LEFT JOIN LATERAL (
            SELECT balance FROM pool.account_closing k
            WHERE k.account = b.account AND k.token = b.token AND k.burn_height <= closed.height
            ORDER BY k.burn_height DESC LIMIT 1
        ) AS c ON true
        UNION ALL
        SELECT p.account, p.token, p.amount FROM closed
        CROSS JOIN LATERAL (
            SELECT id FROM pool.journal_entry WHERE burn_height > closed.height AND burn_height <= :height
            UNION ALL SELECT entry_id FROM pool.{LATE_FOR_IT}
        ) AS e
        CROSS JOIN LATERAL (SELECT account, token, amount FROM pool.posting WHERE entry_id = e.id OFFSET 0) AS p
    ) AS part GROUP BY account, token ORDER BY account, token"""
)


async def close_next(session: AsyncSession, blocks: int) -> int | None:
    """Closes the first height after the last closed one that has entries, if the books are so many blocks past it; the
    height. Only one transaction at a time may do this."""
    rows = await run(session, _CLOSE_NEXT, blocks)
    return int(rows[0][0]) if rows else None


async def balances_at(session: AsyncSession, burn_height: int) -> dict[tuple[str, Token], int]:
    """Signed balances as they stood when the chain's events up to `burn_height` were in the books."""
    found = await (await session.connection()).execute(_BALANCES_AT, {"height": burn_height})
    return {(row.account, Token(row.token)): int(row.balance) for row in found}
