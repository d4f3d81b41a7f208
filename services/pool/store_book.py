"""Open policies of a tier and token, read as columns: Postgres' binary form needs no Python object per value."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.units import Tier, Token
from services.pool.domain.book import Book
from services.pool.domain.shares import OpenPolicy

_COLUMNS: Final = tuple(name for name in OpenPolicy._fields if name != "token")
# An activation's receipt binds, whatever its height's says; who opted out ends at the height as if at the strike.
_EXPRESSIONS: Final = {"auto_settle": "auto_settle::int"} | {
    f"decided_{feed}_e8": f"CASE WHEN mine.id IS NOT NULL THEN mine.{feed}_price_e8 WHEN due.id IS NULL THEN 0"
    f" WHEN auto_settle THEN due.{feed}_price_e8 ELSE {otherwise} END"
    for feed, otherwise in (("btc", "strike_e8"), ("stx", "due.stx_price_e8"))
}
_TABLES: Final = (
    "pool.coverage LEFT JOIN pool.decision mine USING (policy_id)"
    " LEFT JOIN pool.decision due ON due.expiration_burn_height = coverage.expiration_burn_height"
)
# One row of `COPY ... (FORMAT binary)`: the number of fields, then for each its length and its eight bytes.
_ROW: Final = np.dtype(
    [("fields", ">i2"), *(part for name in _COLUMNS for part in ((f"{name}_length", ">i4"), (name, ">i8")))]
)
_HEADER_BYTES: Final = 19
_TRAILER_BYTES: Final = 2


async def read_book(session: AsyncSession, tier: Tier, token: Token) -> Book:
    """Every open policy of a tier and token, in the session's transaction."""
    connection = await session.connection()
    driver: Any = (await connection.get_raw_connection()).driver_connection
    written = bytearray()

    async def take(part: bytes) -> None:
        written.extend(part)

    columns = ", ".join(f"({_EXPRESSIONS.get(name, f'coverage.{name}')})::bigint" for name in _COLUMNS)
    statement = f"SELECT {columns} FROM {_TABLES} WHERE status = 'ACTIVE' AND tier = $1 AND token = $2"
    await driver.copy_from_query(statement, int(tier), int(token), output=take, format="binary")
    return _parse(token, bytes(written))


def _parse(token: Token, written: bytes) -> Book:
    body = written[_HEADER_BYTES : len(written) - _TRAILER_BYTES]
    rows = np.frombuffer(body, dtype=_ROW)
    return Book(token, *(rows[name].astype(np.int64) for name in _COLUMNS))
