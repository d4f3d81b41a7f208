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
_CLOSED: Final = sa.text(
    f"""WITH {LAST_CLOSED}
    SELECT closed.height, b.account, b.token, coalesce(c.balance, 0) AS balance FROM pool.account_balance b
    CROSS JOIN closed LEFT JOIN LATERAL (
        SELECT balance FROM pool.account_closing k
        WHERE k.account = b.account AND k.token = b.token AND k.burn_height <= closed.height
        ORDER BY k.burn_height DESC LIMIT 1
    ) AS c ON true ORDER BY b.account, b.token"""
)
# By a query of its own, which says between which heights: the planner then knows how little that is.
_SINCE: Final = sa.text(
    f"""SELECT p.account, p.token, sum(p.amount) AS amount FROM (
        SELECT id FROM pool.journal_entry WHERE burn_height > :closed AND burn_height <= :height
        UNION ALL SELECT entry_id FROM pool.{LATE_FOR_IT.replace("closed.height", ":closed")}
    ) AS e
    CROSS JOIN LATERAL (SELECT account, token, amount FROM pool.posting WHERE entry_id = e.id OFFSET 0) AS p
    GROUP BY p.account, p.token"""
)


async def close_next(session: AsyncSession, blocks: int) -> int | None:
    """Closes the first height after the last closed one that has entries, if the books are so many blocks past it; the
    height. Only one transaction at a time may do this."""
    rows = await run(session, _CLOSE_NEXT, blocks)
    return int(rows[0][0]) if rows else None


async def balances_at(session: AsyncSession, burn_height: int) -> dict[tuple[str, Token], int]:
    """Signed balances as they stood when the chain's events up to `burn_height` were in the books."""
    connection = await session.connection()
    closed = (await connection.execute(_CLOSED, {"height": burn_height})).all()
    result = {(row.account, Token(row.token)): int(row.balance) for row in closed}
    if closed:
        # What is closed never changes: entries since are the same whatever is closed meanwhile.
        values = {"closed": closed[0].height, "height": burn_height}
        for account, token, amount in await connection.execute(_SINCE, values):
            result[account, Token(token)] = result.get((account, Token(token)), 0) + int(amount)
    return result
