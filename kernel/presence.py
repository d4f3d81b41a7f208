"""Whether a process of ours is there: a database session that holds an advisory lock for as long as it lives.

When the process dies its session ends with it, so another replica need not wait for a lease to lapse.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import asyncpg
import sqlalchemy as sa

from kernel.ids import new_id

_PREFIX: Final = "session:"
_SEPARATOR: Final = "/"


class Presence:
    """The session of one process. `url` and `settings` are those of its database."""

    def __init__(self, url: str, settings: Mapping[str, str]) -> None:
        self._url = url
        self._settings = dict(settings)
        self._name = f"{_PREFIX}{new_id()}"
        self._opening = asyncio.Lock()
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    def new_holder(self) -> str:
        """A name, unique for ever, whose owner is gone when this session is."""
        return f"{self._name}{_SEPARATOR}{new_id()}"

    async def ensure(self) -> None:
        """Opens the session unless it is open; one for all leases of the process."""
        async with self._opening:
            if self._connection is None or self._connection.is_closed():
                connection = await asyncpg.connect(self._url, server_settings=self._settings)
                await connection.execute("SELECT pg_advisory_lock(hashtextextended($1, 0))", self._name)
                self._connection = connection

    async def close(self) -> None:
        """Ends the session."""
        if self._connection is not None:
            await self._connection.close()


def is_gone(holder: sa.SQLColumnExpression[str]) -> sa.ColumnElement[bool]:
    """SQL: whether the session behind a holder's name has ended. False for a name that is not of `new_holder`."""
    session = sa.func.split_part(holder, _SEPARATOR, 1)
    free: sa.ColumnElement[Any] = sa.func.pg_try_advisory_xact_lock(sa.func.hashtextextended(session, 0))
    return sa.case((holder.startswith(_PREFIX), free), else_=sa.false())
