"""A schema that is made again: what stands in its way, and what a rebuild that was killed leaves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa

import services.pool
from kernel.database import Database, migrate
from kernel.errors import FailedPrecondition
from kernel.lease import LeaderLease
from kernel.rebuild import finish, run_until, schema_made_anew
from services.pool.tables import Lease

_MIGRATIONS = Path(services.pool.__file__).parent / "migrations"
_RENAME = "UPDATE pool.cursor SET cursor = 'further'"


async def _cursor(database: Database, change: str = "") -> str:
    async with database.engine.begin() as connection:
        if change:
            await connection.execute(sa.text(change))
        return str((await connection.execute(sa.text("SELECT cursor FROM pool.cursor"))).scalar())


async def test_a_rebuild_that_was_cut_off_goes_on(database_url: str) -> None:
    """What it had done stays, no service starts before it has finished, and the next one begins with nothing."""
    database = Database(database_url)
    async with schema_made_anew(database, "pool", _MIGRATIONS, Lease):
        await _cursor(database, _RENAME)
    with pytest.raises(FailedPrecondition) as refused:
        await migrate(database_url, "pool", _MIGRATIONS)
    assert refused.value.reason == "SCHEMA_REBUILDING"
    async with schema_made_anew(database, "pool", _MIGRATIONS, Lease):
        assert await _cursor(database) == "further"
        async with database.transaction() as session:
            await finish(session, "pool")
    await migrate(database_url, "pool", _MIGRATIONS)
    async with schema_made_anew(database, "pool", _MIGRATIONS, Lease):
        assert await _cursor(database) == ""
    await database.close()


async def test_nothing_is_dropped_under_a_running_process(database_url: str) -> None:
    """Whoever holds a lease of the schema is named, and the schema stays as it is."""
    await migrate(database_url, "pool", _MIGRATIONS)
    running, database = Database(database_url), Database(database_url)
    await _cursor(running, _RENAME)

    async def try_it() -> bool:
        if not (await _leases(database)):
            return False
        with pytest.raises(FailedPrecondition, match="it holds projector;"):
            async with schema_made_anew(database, "pool", _MIGRATIONS, Lease):
                raise AssertionError
        return await _cursor(database) == "further"

    lease = LeaderLease(running, Lease, "projector")
    await run_until([lambda: lease.lead(_forever)], try_it)
    await running.close()
    async with schema_made_anew(database, "pool", _MIGRATIONS, Lease):
        assert await _cursor(database) == ""
    await database.close()


async def _forever() -> None:
    await asyncio.Event().wait()


async def _leases(database: Database) -> int:
    async with database.engine.connect() as connection:
        return int((await connection.execute(sa.text("SELECT count(*) FROM pool.lease"))).scalar_one())
