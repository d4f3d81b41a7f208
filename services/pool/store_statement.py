"""SQL of statements by period: how the tier stood, and what entries changed where a provider's shares did."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.units import Tier, Token
from services.pool.domain import ledger
from services.pool.domain.ledger import EntryKind
from services.pool.domain.statement import Holding, Movement, Quiet
from services.pool.store_closings import LAST_CLOSED, LATE_FOR_IT

_OWN_LINES: Final = """FROM pool.statement_line
    WHERE provider = :provider AND tier = :tier AND token = :token AND shares_delta <> 0 AND burn_height > :start"""
_SHARES: Final = sa.text(
    f"""WITH {LAST_CLOSED}
    SELECT coalesce((SELECT shares FROM pool.share_closing
            WHERE provider = :provider AND tier = :tier AND token = :token AND burn_height <= closed.height
            ORDER BY burn_height DESC LIMIT 1), 0)
        + coalesce((SELECT sum(shares_delta) FROM pool.statement_line
            WHERE provider = :provider AND tier = :tier AND token = :token AND shares_delta <> 0
            AND burn_height > closed.height AND burn_height <= :height), 0)
        + coalesce((SELECT sum(l.shares_delta) FROM (SELECT entry_id FROM pool.{LATE_FOR_IT}) AS late
            CROSS JOIN LATERAL (SELECT shares_delta FROM pool.statement_line WHERE entry_id = late.entry_id
                AND provider = :provider AND tier = :tier AND token = :token OFFSET 0) AS l), 0) AS shares
    FROM closed"""
)
_OWN_HEIGHTS: Final = sa.text(f"SELECT DISTINCT burn_height {_OWN_LINES} AND burn_height <= :end ORDER BY burn_height")
# A trigger on `posting` keeps `tier_height`; what a share earned and paid is in 1e-36 base units, rounded up.
_STOOD: Final = sa.text(
    """SELECT coalesce(capital, 0) AS capital, coalesce(all_shares, 0) AS all_shares,
        coalesce(premiums_per_share_e36, 0) AS premiums, coalesce(payouts_per_share_e36, 0) AS payouts
    FROM unnest(CAST(:heights AS bigint[])) WITH ORDINALITY AS asked(height, place)
    LEFT JOIN LATERAL (SELECT * FROM pool.tier_height
        WHERE tier = :tier AND token = :token AND burn_height <= height ORDER BY burn_height DESC LIMIT 1) t ON true
    ORDER BY place"""
)
# Of the kinds that can change what is asked for: thousands of policies may expire at one height.
_MOVEMENTS: Final = sa.text(
    """SELECT e.burn_height, e.kind, coalesce(p.capital, 0) AS capital, coalesce(l.all_shares, 0) AS all_shares,
        coalesce(l.shares, 0) AS shares
    FROM pool.journal_entry e
    CROSS JOIN LATERAL (SELECT -sum(amount) AS capital FROM pool.posting
        WHERE entry_id = e.id AND token = :token AND account IN (:free, :locked)) p
    CROSS JOIN LATERAL (
        SELECT sum(shares_delta) AS all_shares, sum(shares_delta) FILTER (WHERE provider = :provider) AS shares
        FROM pool.statement_line WHERE entry_id = e.id AND tier = :tier AND token = :token) l
    WHERE e.burn_height = ANY(CAST(:heights AS bigint[])) AND e.kind = ANY(CAST(:kinds AS text[]))
        AND (p.capital <> 0 OR l.all_shares <> 0) ORDER BY e.burn_height, e.id"""
)
_SCALE: Final = 10**36


async def holding_at(session: AsyncSession, provider: str, tier: Tier, token: Token, height: int) -> Holding:
    """How a provider and the tier stood when the events up to a height were in the books."""
    values = {"provider": provider, "tier": int(tier), "token": int(token), "height": height, "heights": [height]}
    connection = await session.connection()
    shares = (await connection.execute(_SHARES, values)).scalar_one()
    stood = (await connection.execute(_STOOD, values)).one()
    return Holding(int(shares), int(stood.all_shares), int(stood.capital))


async def steps_between(
    session: AsyncSession, provider: str, tier: Tier, token: Token, start: int, end: int
) -> list[Movement | Quiet]:
    """What happened at the heights after `start` up to `end`, in the order of the books.

    Entries are read one by one only of heights at which the provider's own shares changed; the rest is read as sums,
    so that a statement costs the same however much a tier sold meanwhile.
    """
    values = {"provider": provider, "tier": int(tier), "token": int(token), "start": start, "end": end}
    values |= {"free": ledger.free_capital(tier, token), "locked": ledger.locked_collateral(tier, token)}
    values |= {"kinds": sorted(ledger.CAPITAL_KINDS)}
    connection = await session.connection()
    own = [int(row.burn_height) for row in await connection.execute(_OWN_HEIGHTS, values)]
    marks = [start, *(mark for height in own for mark in (height - 1, height)), end]
    stood = (await connection.execute(_STOOD, values | {"heights": marks})).all()
    moved: dict[int, list[Movement]] = {height: [] for height in own}
    for row in (await connection.execute(_MOVEMENTS, values | {"heights": own})).all() if own else ():
        moved[row.burn_height].append(
            Movement(EntryKind(row.kind), int(row.capital), int(row.all_shares), int(row.shares))
        )
    steps: list[Movement | Quiet] = []
    for at, movements in enumerate(moved.values()):
        steps += [_quiet(stood[2 * at], stood[2 * at + 1]), *movements]
    return [*steps, _quiet(stood[-2], stood[-1])]


def _quiet(before: Any, after: Any) -> Quiet:
    return Quiet(
        int(after.capital - before.capital),
        int(after.all_shares - before.all_shares),
        Fraction(int(after.premiums - before.premiums), _SCALE),
        Fraction(int(after.payouts - before.payouts), _SCALE),
    )
