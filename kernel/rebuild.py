"""A schema that is made again: dropped, migrated and marked until whatever fills it has finished.

The mark is the schema's comment, set in the transaction of the drop. While it is there no service starts on the
schema, and a rebuild that was killed goes on where it was instead of dropping again.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import asyncpg
import sqlalchemy as sa
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import REBUILDING, Database, is_rebuilding, migrate
from kernel.errors import FailedPrecondition
from kernel.lease import LeaseRecord
from kernel.presence import is_gone

_POLL_SECONDS: Final = 0.2


@asynccontextmanager
async def schema_made_anew(
    database: Database, schema: str, migrations: Path, lease: type[LeaseRecord]
) -> AsyncIterator[None]:
    """Drops the schema, unless a rebuild of it was cut off, and migrates it; to be filled inside.

    FailedPrecondition SERVICE_RUNS while a process that holds or held one of its leases is there, and REBUILD_RUNS
    beside another rebuild. `finish` takes the mark away in the transaction that ends the filling.
    """
    connection = await asyncpg.connect(database.url)
    try:
        lock = zlib.crc32(f"bithedge rebuild {schema}".encode())
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", lock):
            raise FailedPrecondition("REBUILD_RUNS", f"another rebuild of schema {schema} is at work")
        if not await is_rebuilding(database.url, schema):
            await _refuse_while_running(database, schema, lease)
            async with connection.transaction():
                await connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
                await connection.execute(f"CREATE SCHEMA {schema}")
                await connection.execute(f"COMMENT ON SCHEMA {schema} IS '{REBUILDING}'")
        await migrate(database.url, schema, migrations, rebuilding=True)
        yield
    finally:
        await connection.close()


async def _refuse_while_running(database: Database, schema: str, lease: type[LeaseRecord]) -> None:
    async with database.transaction() as session:
        run = await session.connection()
        there = sa.select(sa.func.to_regclass(f"{schema}.lease"))
        if (await run.execute(there)).scalar() is None:
            return
        running = sa.select(col(lease.name)).where(sa.not_(is_gone(col(lease.holder)))).order_by(col(lease.name))
        names = list((await run.execute(running)).scalars())
    if names:
        message = f"a process of schema {schema} runs: it holds {', '.join(names)}; stop it first"
        raise FailedPrecondition("SERVICE_RUNS", message)


async def finish(session: AsyncSession, schema: str) -> None:
    """Takes the mark away: services may start."""
    await (await session.connection()).execute(sa.text(f"COMMENT ON SCHEMA {schema} IS NULL"))


@asynccontextmanager
async def scratch_database(url: str, name: str) -> AsyncIterator[str]:
    """The URL of an empty database on the same server, gone afterwards; one that was left behind is dropped first.

    The user of `url` must be allowed to create databases.
    """
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        try:
            yield urlsplit(url)._replace(path=f"/{name}").geturl()
        finally:
            await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    finally:
        await connection.close()


async def run_until(work: Sequence[Callable[[], Awaitable[None]]], reached: Callable[[], Awaitable[bool]]) -> None:
    """Runs what never ends by itself until the condition holds; raises what any of it raises."""
    tasks = [asyncio.ensure_future(one()) for one in work]
    try:
        while not await reached():
            ended, _ = await asyncio.wait(tasks, timeout=_POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
