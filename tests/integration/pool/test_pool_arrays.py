"""Rows that go to the database as an array for each column."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from kernel.database import Database
from services.pool.store_arrays import by_column, run, unnest

_COLUMNS: Final = {"name": "text", "amount": "bigint", "tier": "smallint", "message": "bytea", "time": "timestamptz"}
_SELECT: Final = f"SELECT {', '.join(_COLUMNS)} FROM {unnest('r', _COLUMNS)} ORDER BY place"
_TEXTS: Final = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8) | st.sampled_from(
    ["NULL", "null", '"', "\\", '\\"', "{", "}", ",", "", " ", '","', "a\nb\t"]
)
_ROWS: Final = st.lists(
    st.tuples(
        st.none() | _TEXTS,
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.integers(-(2**15), 2**15 - 1),
        st.none() | st.binary(max_size=4),
        st.datetimes(timezones=st.just(dt.UTC)),
    ),
    max_size=6,
)


@pytest.fixture(scope="module")
async def database(module_database_url: str) -> AsyncIterator[Database]:
    """A database without tables."""
    database = Database(module_database_url)
    yield database
    await database.close()


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(rows=_ROWS)
@example(rows=[])
@example(rows=[('","', 1, 1, b"", dt.datetime(2026, 1, 1, tzinfo=dt.UTC))] * 2)
async def test_rows_arrive_as_they_were(database: Database, rows: list[tuple[Any, ...]]) -> None:
    """Whatever a text holds that means something in an array, and whatever is NULL."""
    async with database.transaction() as session:
        assert [tuple(row) for row in await run(session, _SELECT, *by_column(_COLUMNS, rows))] == rows


@pytest.mark.parametrize(("column", "value"), [(0, "a\0b"), (1, 2**63), (2, 2**15), (1, 0.5)])
async def test_what_a_column_cannot_hold_is_refused(database: Database, column: int, value: object) -> None:
    """As an error of the data, which the books record for a person."""
    row: list[Any] = ["a", 1, 1, b"", dt.datetime(2026, 1, 1, tzinfo=dt.UTC)]
    row[column] = value
    async with database.transaction() as session:
        with pytest.raises(IntegrityError):
            await run(session, _SELECT, *by_column(_COLUMNS, [row]))
        await session.rollback()
