"""Platform figures: counted with each transition, appended as deltas, folded by the sweeper."""

from __future__ import annotations

from collections import Counter
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlmodel.ext.asyncio.session import AsyncSession

from services.policy.domain.policy import Policy
from services.policy.domain.transitions import PolicyState
from services.policy.tables import METADATA

STAT: Final = METADATA.tables["policy.stat"]
DELTA: Final = METADATA.tables["policy.stat_delta"]
COUNT: Final = "count"
PREMIUM: Final = "premium"
PAYOUT: Final = "payout"
FOLD: Final = 5_000
_UNPAID: Final = (PolicyState.PENDING_CREATION, PolicyState.FAILED_CREATION)

Figures = Counter[tuple[str, str]]


def figures_of(before: Policy | None, after: Policy | None) -> Figures:
    """What a transition adds to the figures: counts by state, premiums paid and payouts by token.

    `before` is None at a birth, `after` where a row was lost.
    """
    change: Figures = Counter() if after is None else _contribution(after)
    if before is not None:
        change.subtract(_contribution(before))
    return change


def _contribution(policy: Policy) -> Figures:
    return Counter(
        {
            (COUNT, str(policy.state)): 1,
            (PREMIUM, policy.token.name): 0 if policy.state in _UNPAID else policy.premium_base_units,
            (PAYOUT, policy.token.name): policy.payout_base_units,
        }
    )


async def add_figures(session: AsyncSession, change: Figures) -> None:
    """Appends the changes that are not zero."""
    values = [{"kind": kind, "key": key, "delta": delta} for (kind, key), delta in change.items() if delta]
    if values:
        connection = await session.connection()
        await connection.execute(sa.insert(DELTA), values)


async def read_figures(session: AsyncSession) -> Figures:
    """All figures, in one statement so that folding neither hides nor doubles a change."""
    parts = sa.union_all(sa.select(STAT), sa.select(DELTA.c.kind, DELTA.c.key, DELTA.c.delta)).subquery()
    kind, key, value = parts.c
    statement = sa.select(kind, key, sa.cast(sa.func.sum(value), sa.BigInteger)).group_by(kind, key)
    connection = await session.connection()
    return Counter({(row[0], row[1]): row[2] for row in await connection.execute(statement)})


async def fold_figures(session: AsyncSession) -> int:
    """Adds a batch of deltas to the figures and removes them; how many there were."""
    connection = await session.connection()
    oldest = sa.select(DELTA.c.id).order_by(DELTA.c.id).limit(FOLD).with_for_update(skip_locked=True)
    removed = sa.delete(DELTA).where(DELTA.c.id.in_(oldest)).returning(DELTA.c.kind, DELTA.c.key, DELTA.c.delta)
    sums: Figures = Counter()
    gone = (await connection.execute(removed)).all()
    for kind, key, delta in gone:
        sums[kind, key] += delta
    for (kind, key), value in sorted(sums.items()):
        statement = upsert(STAT).values(kind=kind, key=key, value=value)
        await connection.execute(
            statement.on_conflict_do_update(
                index_elements=["kind", "key"], set_={"value": STAT.c.value + statement.excluded.value}
            )
        )
    return len(gone)
