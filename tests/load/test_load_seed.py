"""What the seeder makes is what the services would have made."""

from __future__ import annotations

import asyncpg
import pytest

from kernel.database import Database
from services.policy.domain.transitions import RULES, PolicyState
from services.policy.store_figures import read_figures
from services.policy.store_queries import PolicyFilter, list_policies, read_records
from services.pool import store
from services.pool.domain.correction import may_stand
from services.pool.store_journal import faults
from tests.load.policies import FULL_COUNT
from tests.load.seed import seed

POLICIES, PROVIDERS = 2_000, 40


@pytest.fixture(scope="module")
async def seeded(module_database_url: str) -> str:
    """A small platform."""
    await seed(module_database_url, POLICIES, PROVIDERS)
    return module_database_url


async def test_every_life_is_one_that_the_rules_allow(seeded: str) -> None:
    """Of each state there are policies; each line of their history follows a rule and ends in their state."""
    database = Database(seeded)
    allowed = {(rule.source, rule.target, str(rule.actor), str(rule.cause)) for rule in RULES}
    async with database.reading() as session:
        for state in PolicyState:
            records = await read_records(session, await list_policies(session, PolicyFilter(None, (state,)), None, 5))
            assert len(records) == 5
            for record in records:
                lines = record.history
                assert [line.version for line in lines] == list(range(1, record.policy.version + 1))
                assert {
                    (line.from_state, line.to_state, str(line.actor), line.cause.partition(":")[0]) for line in lines
                } <= allowed
                assert lines[-1].to_state is record.policy.state
                assert (record.activation is not None) == (record.policy.activation_number > 0)
    await database.close()


async def test_figures_are_those_of_the_policies(seeded: str) -> None:
    """The seeded figures are a full count."""
    database = Database(seeded)
    async with database.reading() as session:
        figures = await read_figures(session)
    await database.close()
    connection = await asyncpg.connect(seeded)
    counted = {(row["kind"], row["key"]): row["value"] for row in await connection.fetch(FULL_COUNT)}
    await connection.close()
    assert dict(figures) == counted
    assert sum(value for (kind, _), value in counted.items() if kind == "count") == POLICIES


async def test_the_books_are_right(seeded: str) -> None:
    """The journal has no fault, accounts stand as they may, providers have shares, policies on chain are covered."""
    database = Database(seeded)
    async with database.reading() as session:
        assert await faults(session, 10) == []
        balances = await store.balances(session)
    await database.close()
    assert all(may_stand(account, balance) for (account, _), balance in balances.items())
    connection = await asyncpg.connect(seeded)
    providers = await connection.fetchval("SELECT count(DISTINCT provider) FROM pool.share_balance WHERE shares > 0")
    open_payouts = "SELECT sum(max_payout_base_units) FROM policy.policy WHERE onchain_state = 'ACTIVE'"
    covered = int(await connection.fetchval(open_payouts))
    await connection.close()
    locked = -sum(balance for (account, _), balance in balances.items() if account.startswith("locked_collateral/"))
    assert (providers, locked) == (PROVIDERS, covered)
