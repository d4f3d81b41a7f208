"""SQL of what contracts and policy service say, staged until their reconciliation is reported."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.units import Token
from services.pool.domain.reconciliation import ACTIVE, PolicyFact
from services.pool.domain.terms import Terms
from services.pool.store_arrays import by_column, run, unnest

# Whoever began a reconciliation has given it up by then.
_ABANDONED: Final = dt.timedelta(days=1)


class Book(StrEnum):
    """Whose word a staged policy is."""

    CONTRACTS = "contracts"
    POLICIES = "policies"


class Staged(NamedTuple):
    """How far a book is staged; `next_after_onchain_id` is zero when it is whole."""

    block_hash: str
    next_after_onchain_id: int


async def lock(session: AsyncSession, report_id: str) -> None:
    """Serialises what is done for one report until the end of the transaction. Taken before any other lock."""
    await run(session, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"pool reconciliation {report_id}")


async def staged(session: AsyncSession, report_id: str, book: Book) -> Staged | None:
    """How far a book is staged; None where nothing is."""
    rows = await run(session, _STAGED, report_id, book)
    return Staged(*rows[0]) if rows else None


async def begin(session: AsyncSession, report_id: str, book: Book) -> None:
    """Forgets what was staged of a book, and what was found in it."""
    for table in ("reconciliation_fact", "reconciliation_book"):
        await run(session, f"DELETE FROM pool.{table} WHERE reconciliation_id = $1 AND book = $2", report_id, book)
    await run(session, "DELETE FROM pool.reconciliation_found WHERE reconciliation_id = $1", report_id)


async def add(
    session: AsyncSession,
    report_id: str,
    book: Book,
    reached: Staged,
    facts: Mapping[str, PolicyFact],
    terms: Mapping[str, Terms],
) -> None:
    """Stages a page, after which the book has `reached` so far; `terms` of those of its policies that it tells of."""
    await _add(session, report_id, book, facts, terms)
    await run(session, _REACH, report_id, book, *reached, wall_now())


async def replace(
    session: AsyncSession,
    report_id: str,
    book: Book,
    ids: Collection[str],
    facts: Mapping[str, PolicyFact],
    terms: Mapping[str, Terms],
) -> None:
    """What a book says now of the policies of these ids, of which it may have none any more."""
    await run(session, _FORGET, report_id, book, list(ids))
    await _add(session, report_id, book, facts, terms)


async def _add(
    session: AsyncSession, report_id: str, book: Book, facts: Mapping[str, PolicyFact], terms: Mapping[str, Terms]
) -> None:
    rows = [
        (policy, fact.status, int(fact.token), fact.max_payout, fact.payout, *terms.get(policy, _NOT_TOLD))
        for policy, fact in facts.items()
    ]
    await run(session, _ADD, report_id, book, *by_column(_STAGED_COLUMNS, rows))


async def keep_found(session: AsyncSession, report_id: str, found: Mapping[str, Any]) -> None:
    """Keeps what was found until the books are staged anew or the report is there; what is kept already stays."""
    await run(session, _KEEP, report_id, json.dumps(found))


async def read_found(session: AsyncSession, report_id: str) -> Mapping[str, Any] | None:
    """What is kept; None where nothing is."""
    rows = await run(
        session, "SELECT found::text FROM pool.reconciliation_found WHERE reconciliation_id = $1", report_id
    )
    kept: Mapping[str, Any] | None = json.loads(rows[0][0]) if rows else None
    return kept


async def end(session: AsyncSession, report_id: str) -> None:
    """Forgets all that was staged for a report."""
    for book in Book:
        await begin(session, report_id, book)


async def abandoned(session: AsyncSession) -> list[str]:
    """The reports for which nothing was staged for a day."""
    return [row[0] for row in await run(session, _IDLE, wall_now() - _ABANDONED)]


async def facts_after(
    session: AsyncSession, report_id: str, book: Book, policy_id: str, limit: int
) -> dict[str, PolicyFact]:
    """What a book says of the first policies that follow this id, in the order of their ids."""
    return _facts(await run(session, _AFTER, report_id, book, policy_id, limit))


async def facts_of(session: AsyncSession, report_id: str, book: Book, ids: Collection[str]) -> dict[str, PolicyFact]:
    """What a book says of these policies, where it says anything."""
    return _facts(await run(session, _OF, report_id, book, list(ids)))


async def covered(session: AsyncSession, report_id: str) -> dict[Token, int]:
    """What the open policies of the contracts claim, base units."""
    rows = await run(session, _COVERED, report_id, Book.CONTRACTS, ACTIVE)
    return {Token(token): int(amount) for token, amount in rows}


def _facts(rows: Iterable[asyncpg.Record]) -> dict[str, PolicyFact]:
    return {policy: PolicyFact(status, Token(token), most, payout) for policy, status, token, most, payout in rows}


_COLUMNS: Final = {
    "policy_id": "text",
    "status": "text",
    "token": "smallint",
    "max_payout": "bigint",
    "payout": "bigint",
}
_NAMES: Final = ", ".join(_COLUMNS)
_NOT_TOLD: Final = (None,) * len(Terms._fields)
_STAGED_COLUMNS: Final = (
    _COLUMNS | dict.fromkeys(Terms._fields, "bigint") | {"holder_principal": "text", "auto_settle": "boolean"}
)
_STAGED_NAMES: Final = ", ".join(_STAGED_COLUMNS)
_STAGED: Final = """SELECT block_hash, next_after_onchain_id FROM pool.reconciliation_book
    WHERE reconciliation_id = $1 AND book = $2"""
_ADD: Final = f"""INSERT INTO pool.reconciliation_fact (reconciliation_id, book, {_STAGED_NAMES})
    SELECT $1, $2, {_STAGED_NAMES} FROM {unnest("page", _STAGED_COLUMNS, 3)}
    ON CONFLICT (reconciliation_id, book, policy_id) DO UPDATE SET
    ({", ".join(name for name in _STAGED_COLUMNS if name != "policy_id")})
    = ({", ".join(f"excluded.{name}" for name in _STAGED_COLUMNS if name != "policy_id")})"""
_REACH: Final = """INSERT INTO pool.reconciliation_book
    (reconciliation_id, book, block_hash, next_after_onchain_id, update_time) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (reconciliation_id, book) DO UPDATE SET block_hash = excluded.block_hash,
    next_after_onchain_id = excluded.next_after_onchain_id, update_time = excluded.update_time"""
_FORGET: Final = """DELETE FROM pool.reconciliation_fact
    WHERE reconciliation_id = $1 AND book = $2 AND policy_id = ANY($3::text[])"""
_KEEP: Final = """INSERT INTO pool.reconciliation_found (reconciliation_id, found) VALUES ($1, $2::text::jsonb)
    ON CONFLICT (reconciliation_id) DO NOTHING"""
_KEPT: Final = "SELECT found::text FROM pool.reconciliation_found WHERE reconciliation_id = $1"
_IDLE: Final = """SELECT reconciliation_id FROM pool.reconciliation_book
    GROUP BY reconciliation_id HAVING max(update_time) < $1"""
_FACTS: Final = f"SELECT {_NAMES} FROM pool.reconciliation_fact WHERE reconciliation_id = $1 AND book = $2"
_AFTER: Final = f"{_FACTS} AND policy_id > $3 ORDER BY policy_id LIMIT $4"
_OF: Final = f"{_FACTS} AND policy_id = ANY($3::text[]) ORDER BY policy_id"
_COVERED: Final = """SELECT token, sum(max_payout) FROM pool.reconciliation_fact
    WHERE reconciliation_id = $1 AND book = $2 AND status = $3 GROUP BY token"""
