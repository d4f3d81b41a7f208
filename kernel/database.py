"""Postgres: one engine per process, one schema per service, migrations under an advisory lock.

Tables are SQLModel classes whose metadata names the service's schema. Isolation is READ COMMITTED; what must be
exact takes row locks or compares versions. Figures of one moment that take several queries are read in a `snapshot`.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.errors import FailedPrecondition
from kernel.presence import Presence

REBUILDING: Final = "bithedge: being rebuilt"
"""Comment on a schema that is not whole yet."""
_POOL_SIZE: Final = 5
_PLAIN_POOL_SIZE: Final = 2
# A machine that vanishes says no goodbye: without these its locks, a lease's among them, would be held for hours.
_SESSION_SETTINGS: Final = {
    "idle_in_transaction_session_timeout": "120s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


def _async_url(url: str) -> str:
    return url.replace("postgresql://", "postgresql+asyncpg://", 1)


class Database:
    """The engine of one process. `url` is `postgresql://user:password@host:port/database`."""

    def __init__(self, url: str, pool_size: int = _POOL_SIZE) -> None:
        self.url = url
        self.presence = Presence(url, _SESSION_SETTINGS)
        self.engine: AsyncEngine = create_async_engine(
            _async_url(url),
            pool_size=pool_size,
            max_overflow=0,
            connect_args={"server_settings": _SESSION_SETTINGS},
        )
        # Instead of a ping, which would double the round trips of most transactions.
        sa.event.listen(self.engine.sync_engine, "checkout", _check_open)
        self._autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._snapshot = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._plain: asyncpg.Pool[asyncpg.Record] | None = None
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """One database transaction: committed at the end, rolled back on any exception."""
        async with AsyncSession(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """A session for queries alone: each sees what is committed when it starts, as it would in a transaction of
        READ COMMITTED, and costs one round trip instead of three. Nothing may be written or locked in it."""
        async with AsyncSession(self._autocommit, expire_on_commit=False) as session:
            yield session

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncSession]:
        """A session whose queries all see what was committed when the first of them started; nobody waits for it, and
        nothing may be written or locked in it."""
        async with AsyncSession(self._snapshot, expire_on_commit=False) as session, session.begin():
            yield session

    async def value(self, query: str, *arguments: object) -> Any:
        """The first value that a query finds; None where it finds nothing. As `rows`."""
        found = await self.rows(query, *arguments)
        return found[0][0] if found else None

    async def rows(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """What one statement answers, committed when it does.

        For the few that are made all the time: it costs a small part of a session's. The statement is prepared once per
        connection and has no transaction around it. One that writes must bear to be made twice: it is made again where
        a connection ended without an answer.
        """
        if self._plain is None:
            async with self._opening:
                self._plain = self._plain or await asyncpg.create_pool(
                    self.url,
                    min_size=0,
                    max_size=_PLAIN_POOL_SIZE,
                    server_settings=_SESSION_SETTINGS,
                    reset=_leave_as_it_is,
                )
        for _ in range(_PLAIN_POOL_SIZE):
            # A connection that the server has just ended is found out by using it; the pool then drops it.
            with contextlib.suppress(asyncpg.ConnectionDoesNotExistError, asyncpg.AdminShutdownError):
                return await self._plain.fetch(statement, *arguments)
        return await self._plain.fetch(statement, *arguments)

    async def notifications(self, channel: str) -> Notifications:
        """A listener on a NOTIFY channel, on a connection of its own."""
        listener = Notifications(self.url, channel)
        await listener.connect()
        return listener

    async def close(self) -> None:
        """Closes every connection but listeners'."""
        await self.presence.close()
        if self._plain is not None:
            await self._plain.close()
        await self.engine.dispose()


async def _leave_as_it_is(connection: object) -> None:
    """Instead of a round trip at each return to the pool: single queries leave nothing behind."""


def _check_open(connection: Any, record: object, proxy: object) -> None:
    """Has the pool replace a connection that the server has ended, as when it was restarted."""
    if connection.driver_connection.is_closed():
        raise sa.exc.DisconnectionError("the server has ended the connection")


async def driver_connection(session: AsyncSession) -> asyncpg.Connection[asyncpg.Record]:
    """The connection under a session, in the same transaction: for COPY, and for arrays of thousands of values, each of
    which SQLAlchemy would look at."""
    engines = await session.connection()
    connection = (await engines.get_raw_connection()).driver_connection
    assert isinstance(connection, asyncpg.Connection)
    if not connection.is_in_transaction():
        # SQLAlchemy begins a transaction with the first statement that it sends itself.
        await engines.exec_driver_sql("SELECT")
    return connection


def constant(value: str | int) -> sa.ColumnElement[Any]:
    """A value that stands in the statement's text: also a plan for any values then goes by the indexes that are of
    this value's rows alone. For values of ours, of which there are few; never for what somebody gave."""
    # A member of an enumeration is written as its value.
    return sa.literal(int(value) if isinstance(value, int) else str(value), literal_execute=True)


async def notify(session: AsyncSession, channel: str, payload: str = "") -> None:
    """NOTIFY at commit. A hint only: whoever listens must also poll."""
    await session.connection()
    await session.exec(sa.select(sa.func.pg_notify(channel, payload)))  # type: ignore[call-overload]


class Notifications:
    """Wakes a waiter when something was notified; a lost connection only costs the poll interval."""

    def __init__(self, url: str, channel: str) -> None:
        self._url = url
        self._channel = channel
        self._event = asyncio.Event()
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    async def connect(self) -> None:
        """Opens the connection and listens."""
        self._connection = await asyncpg.connect(self._url)
        await self._connection.add_listener(self._channel, self._wake)

    def _wake(self, *_: object) -> None:
        self._event.set()

    async def wait(self, timeout_seconds: float) -> None:
        """Returns at the next notification, at once if one came since the last wait, or after the timeout."""
        if self._connection is None or self._connection.is_closed():
            try:
                await self.connect()
            except (OSError, asyncpg.PostgresError):
                await asyncio.sleep(timeout_seconds)
                return
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._event.wait()
        except TimeoutError:
            return
        finally:
            self._event.clear()

    async def close(self) -> None:
        """Ends listening."""
        if self._connection is not None:
            await self._connection.close()


async def is_rebuilding(url: str, schema: str) -> bool:
    """Whether a rebuild of the schema was begun and has not finished."""
    connection = await asyncpg.connect(url)
    try:
        comment = "SELECT obj_description(to_regnamespace($1)::oid, 'pg_namespace')"
        return bool(await connection.fetchval(comment, schema) == REBUILDING)
    finally:
        await connection.close()


async def migrate(url: str, schema: str, migrations: Path, *, rebuilding: bool = False) -> None:
    """Brings one schema to its newest revision; safe to run from several processes at once.

    `migrations` is an Alembic script folder with `versions/`; its `env.py` is kernel/migration_environment.py's.
    FailedPrecondition SCHEMA_REBUILDING for anybody but the rebuild that has the schema in hand.
    """
    if not rebuilding and await is_rebuilding(url, schema):
        raise FailedPrecondition("SCHEMA_REBUILDING", f"schema {schema} is being rebuilt: let the rebuild finish first")
    engine = create_async_engine(_async_url(url), poolclass=sa.NullPool)
    try:
        async with engine.connect() as connection:
            await _migrate_locked(connection, schema, migrations)
    finally:
        await engine.dispose()


async def _migrate_locked(connection: AsyncConnection, schema: str, migrations: Path) -> None:
    lock = zlib.crc32(f"bithedge migration {schema}".encode())
    await connection.execute(sa.text("SELECT pg_advisory_lock(:lock)"), {"lock": lock})
    try:
        await connection.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
        await connection.commit()
        await connection.run_sync(_upgrade, schema, migrations)
        await connection.commit()
    finally:
        await connection.rollback()
        await connection.execute(sa.text("SELECT pg_advisory_unlock(:lock)"), {"lock": lock})


def _upgrade(connection: sa.Connection, schema: str, migrations: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations))
    config.attributes.update(connection=connection, schema=schema)
    command.upgrade(config, "head")
