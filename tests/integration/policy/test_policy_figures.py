"""The platform's figures: kept with each change, and always what counting everything would say."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import Database
from kernel.units import Token
from services.policy import store
from services.policy.domain.policy import Change, Origin, Policy, move, reverse
from services.policy.domain.transitions import REVERSALS, RULES, PolicyState
from services.policy.store_figures import fold_figures, read_figures
from tests.integration.policy.harness import House
from tests.integration.policy.plans import noting
from tests.load.policies import FULL_COUNT

POLICIES, WRITERS, STEPS = 12, 6, 40
BATCH = {"expiry_batch_id": "x"}


class _Undone(Exception):
    """A transaction that is rolled back."""


def random_change(dice: random.Random, policy: Policy) -> Change | None:
    """A step that the policy may take: by a rule, or back after a reorganisation."""
    steps: list[Any] = [rule for rule in RULES if rule.source is policy.state]
    steps += [target for source, target in REVERSALS if source is policy.state]
    if not steps:
        return None
    step, origin = dice.choice(steps), Origin(wall_now())
    if isinstance(step, PolicyState):
        return reverse(policy, step, origin, payout_base_units=0, **BATCH)
    # The service's own sweeper finds none of them due.
    fields: dict[str, Any] = {"due_burn_height": 10**7, **BATCH}
    if step.target is PolicyState.SETTLED:
        fields["payout_base_units"] = dice.randint(0, policy.max_payout_base_units)
    return move(policy, step.actor, step.cause, origin, **fields)


async def step(session: AsyncSession, dice: random.Random, policy_id: str) -> None:
    """One change of one policy, sometimes taken back before it is committed."""
    change = random_change(dice, await store.lock(session, policy_id))
    if change is not None:
        await store.save(session, change)
    if dice.random() < 0.2:
        raise _Undone


async def write(database: Database, seed: int, policy_ids: list[str]) -> None:
    """A writer: changes random policies, and now and then folds."""
    dice = random.Random(seed)
    for _ in range(STEPS):
        try:
            async with database.transaction() as session:
                await step(session, dice, dice.choice(policy_ids))
        except _Undone:
            pass
        if dice.random() < 0.1:
            async with database.transaction() as session:
                await fold_figures(session)


async def test_figures_are_a_full_count_after_any_history(house: House) -> None:
    """Random transitions, reversals and rollbacks of both tokens by writers side by side, with folding meanwhile."""
    names = [
        (await house.create(f"create-{number}", settlement_token=int(token))).name
        for token in Token
        for number in range(int(token), POLICIES, 2)
    ]
    ids = [name.rpartition("/")[2] for name in names]
    await asyncio.gather(*(write(house.database, seed, ids) for seed in range(WRITERS)))
    counted = {(kind, key): value for kind, key, value in await house.rows(FULL_COUNT)}
    async with house.database.transaction() as session:
        before = await read_figures(session)
        while await fold_figures(session):
            pass
        after = await read_figures(session)
    assert {key: value for key, value in before.items() if value} == {key: v for key, v in counted.items() if v}
    assert after == before
    assert any(key == ("payout", token.name) for key in counted for token in Token)


async def test_figures_are_read_without_the_policies(house: House) -> None:
    """GetPlatformStats reads the two small tables of figures in one statement, and no other."""
    await house.create()
    # One of its own: the service's background work goes on in the other.
    database = Database(house.url)
    with noting(database) as statements:
        async with database.reading() as session:
            await read_figures(session)
    await database.close()
    assert len(statements.issued) == 1
    assert "policy.policy" not in statements.issued[0][0]
