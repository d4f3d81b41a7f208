"""SQL of the journal: entries with their postings and statement lines, each once per cause, and their reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.units import Tier, Token
from services.pool import tables
from services.pool.domain.ledger import Entry, Posting
from services.pool.store_arrays import by_column, run, unnest


@dataclass(frozen=True)
class Line:
    """A line of a provider's statement; made with the entry that it belongs to."""

    provider: str
    kind: str
    tier: Tier
    token: Token
    amount: int
    shares_delta: int = 0


@dataclass(frozen=True)
class NewEntry:
    """An entry to be posted, with its lines. `reverses` is the id of the entry that it takes back."""

    entry: Entry
    lines: Sequence[Line] = ()
    reverses: int | None = None


@dataclass(frozen=True)
class StoredEntry:
    """An entry as it was posted. `reversed_by` is the id of the entry that took it back."""

    row: tables.JournalEntry
    id: int
    postings: tuple[Posting, ...]
    lines: tuple[Line, ...]
    reversed_by: int | None = None


@dataclass(frozen=True)
class EntryFilter:
    """Which entries; an empty field admits all. `cause` also finds what reversed the entries of that cause."""

    cause: str = ""
    subject: str = ""
    provider: str = ""
    before_id: int | None = field(default=None)


_ENTRY: Final = {"cause": "text", "event": "text", "kind": "text", "burn_height": "bigint", "time": "timestamptz"}
_ENTRY_END: Final = {"txid": "text", "reason": "text", "reverses": "bigint", "subject": "text", "author": "text"}
_ENTRIES: Final = _ENTRY | _ENTRY_END
_POSTING: Final = {"account": "text", "token": "smallint", "amount": "bigint"}
_POSTINGS: Final = {"entry": "bigint"} | _POSTING
_LINE: Final = {"provider": "text", "kind": "text", "tier": "smallint", "token": "smallint", "amount": "bigint"} | {
    "shares_delta": "bigint"
}
_LINES: Final = {"entry": "bigint"} | _LINE
# One statement for all: one round trip, and an entry never without its postings. `entry` is an entry's place.
_POST: Final = f"""WITH given AS MATERIALIZED (
        SELECT nextval('pool.journal_entry_id_seq') AS id, e.* FROM {unnest("e", _ENTRIES)}
    ), posted AS (
        INSERT INTO pool.journal_entry (id, {", ".join(_ENTRIES)})
        SELECT id, {", ".join(_ENTRIES)} FROM given ORDER BY place
        ON CONFLICT (cause) DO NOTHING RETURNING id
    ), numbered AS MATERIALIZED (
        SELECT place AS entry, posted.id FROM given LEFT JOIN posted USING (id)
    ), with_postings AS (
        INSERT INTO pool.posting (entry_id, {", ".join(_POSTING)})
        SELECT numbered.id, {", ".join(f"p.{name}" for name in _POSTING)}
        FROM {unnest("p", _POSTINGS, 1 + len(_ENTRIES))} JOIN numbered USING (entry)
        WHERE numbered.id IS NOT NULL ORDER BY place
    ), with_lines AS (
        INSERT INTO pool.statement_line (entry_id, {", ".join(_LINE)}, txid, burn_height, time)
        SELECT given.id, {", ".join(f"l.{name}" for name in _LINE)}, txid, burn_height, time
        FROM {unnest("l", _LINES, 1 + len(_ENTRIES) + len(_POSTINGS))} JOIN numbered USING (entry) JOIN given USING (id)
        ORDER BY l.place
    ) SELECT id FROM numbered ORDER BY entry"""


@dataclass(frozen=True, slots=True)
class Written:
    """Entries as the database takes them. Making it is most of the work that posting is outside the database."""

    values: Sequence[Any]

    @classmethod
    def of(cls, entries: Sequence[NewEntry]) -> Self:
        """Of these entries."""
        numbered = list(enumerate(entries, 1))
        return cls(
            (
                *by_column(_ENTRIES, [_entry_row(new) for new in entries]),
                *by_column(_POSTINGS, [row for place, new in numbered for row in _posting_rows(place, new.entry)]),
                *by_column(_LINES, [row for place, new in numbered for row in _line_rows(place, new.lines)]),
            )
        )


async def post(session: AsyncSession, written: Written) -> list[int | None]:
    """Posts entries of different causes; the id of each, None (and nothing done) where its cause was posted before."""
    await session.flush()
    return [row[0] for row in await run(session, _POST, *written.values)]


async def post_entries(session: AsyncSession, entries: Sequence[NewEntry]) -> list[int | None]:
    """As `post`, of any number of entries."""
    return await post(session, Written.of(entries)) if entries else []


async def post_entry(
    session: AsyncSession, entry: Entry, lines: Sequence[Line] = (), reverses: int | None = None
) -> int | None:
    """Posts an entry with its statement lines; None, and nothing done, if its cause was posted before."""
    return (await post_entries(session, [NewEntry(entry, lines, reverses)]))[0]


def _entry_row(new: NewEntry) -> tuple[Any, ...]:
    entry, cause = new.entry, new.entry.cause
    start = (cause.unique, cause.key, entry.kind, cause.burn_height, cause.time)
    return (*start, cause.txid, entry.reason, new.reverses, cause.subject or None, entry.author or None)


def _posting_rows(place: int, entry: Entry) -> list[tuple[Any, ...]]:
    return [(place, *posting) for posting in entry.postings]


def _line_rows(place: int, lines: Sequence[Line]) -> list[tuple[Any, ...]]:
    return [(place, line.provider, line.kind, line.tier, line.token, line.amount, line.shares_delta) for line in lines]


async def standing_entry(session: AsyncSession, event: str) -> StoredEntry | None:
    """The entry of an event or step, in whatever occurrence, unless it was reversed."""
    reversing = sa.orm.aliased(tables.JournalEntry)
    statement = (
        select(tables.JournalEntry)
        .where(col(tables.JournalEntry.event) == event)
        .where(~sa.exists().where(col(reversing.reverses) == col(tables.JournalEntry.id)))
        .where(col(tables.JournalEntry.reverses).is_(None))
    )
    rows = (await session.exec(statement)).all()
    return next(iter(await _with_parts(session, rows[:1])), None)


async def get_entry(session: AsyncSession, entry_id: int) -> StoredEntry | None:
    """An entry with everything that belongs to it."""
    row = await session.get(tables.JournalEntry, entry_id)
    return next(iter(await _with_parts(session, [row] if row else [])), None)


async def list_entries(session: AsyncSession, wanted: EntryFilter, limit: int) -> list[StoredEntry]:
    """The newest entries that a filter admits, newest first."""
    entry, line = tables.JournalEntry, tables.StatementLine
    statement = select(entry).order_by(col(entry.id).desc()).limit(limit)
    if wanted.before_id is not None:
        statement = statement.where(col(entry.id) < wanted.before_id)
    if wanted.cause:
        story = _story(wanted.cause)
        statement = statement.join(story, story.c.id == col(entry.id))
    if wanted.subject:
        statement = statement.where(col(entry.subject) == wanted.subject)
    if wanted.provider and (wanted.cause or wanted.subject):
        own = sa.exists().where(col(line.entry_id) == col(entry.id), col(line.provider) == wanted.provider)
        statement = statement.where(own)
    elif wanted.provider:
        page = _page_of_provider(wanted, limit)
        statement = statement.join(page, page.c.entry_id == col(entry.id))
    return await _with_parts(session, (await session.exec(statement)).all())


def _story(cause: str) -> sa.Subquery:
    """Ids of a cause's entries and of those that reversed them: two looks into indexes. As one condition with OR it
    would be a filter on every entry there is."""
    entry, original = tables.JournalEntry, sa.orm.aliased(tables.JournalEntry)
    own = sa.select(col(entry.id)).where(col(entry.event) == cause)
    reversing = sa.select(col(entry.id)).join(original, col(entry.reverses) == col(original.id))
    return own.union(reversing.where(col(original.event) == cause)).subquery("story")


def _page_of_provider(wanted: EntryFilter, limit: int) -> sa.Subquery:
    """Ids of the newest entries with a provider's lines, from an index in their order: no more is read than a page."""
    entry_id = col(tables.StatementLine.entry_id)
    newest = sa.select(entry_id).distinct().where(col(tables.StatementLine.provider) == wanted.provider)
    if wanted.before_id is not None:
        newest = newest.where(entry_id < wanted.before_id)
    return newest.order_by(entry_id.desc()).limit(limit).subquery("page")


async def _with_parts(session: AsyncSession, rows: Sequence[tables.JournalEntry]) -> list[StoredEntry]:
    ids = [row.id for row in rows if row.id is not None]
    if not ids:
        return []
    postings: dict[int, list[Posting]] = {}
    lines: dict[int, list[Line]] = {}
    for posting in await _of_entries(session, tables.PostingRow, ids):
        postings.setdefault(posting.entry_id, []).append(Posting(posting.account, Token(posting.token), posting.amount))
    for line in await _of_entries(session, tables.StatementLine, ids):
        lines.setdefault(line.entry_id, []).append(
            Line(line.provider, line.kind, Tier(line.tier), Token(line.token), line.amount, line.shares_delta)
        )
    entry = tables.JournalEntry
    reversing = select(entry.reverses, entry.id).where(col(entry.reverses).in_(ids))
    reversed_by = dict((await session.exec(reversing)).all())
    return [
        StoredEntry(row, one, tuple(postings.get(one, ())), tuple(lines.get(one, ())), reversed_by.get(one))
        for one, row in zip(ids, rows, strict=True)
    ]


async def _of_entries(session: AsyncSession, table: Any, ids: Sequence[int]) -> Sequence[Any]:
    statement = select(table).where(table.entry_id == sa.any_(sa.literal(ids, ARRAY(sa.BigInteger))))
    return (await session.exec(statement.order_by(table.id))).all()


_WRONG: Final = sa.text(
    """WITH booked AS (SELECT account, token, sum(amount) AS balance FROM pool.posting GROUP BY 1, 2),
    held AS (SELECT tier, token, provider, sum(shares_delta) AS shares FROM pool.statement_line GROUP BY 1, 2, 3)
    SELECT 'BALANCE_NOT_DERIVED' AS fault, account || ' ' || token AS subject
    FROM booked p
    FULL JOIN pool.account_balance b USING (account, token) WHERE p.balance IS DISTINCT FROM b.balance
    UNION ALL
    SELECT 'SHARES_NOT_DERIVED', provider || ' ' || tier || ' ' || token
    FROM held l
    FULL JOIN pool.share_balance b USING (tier, token, provider)
    WHERE coalesce(l.shares, 0) <> coalesce(b.shares, 0)
    UNION ALL
    SELECT 'TIER_SHARES_NOT_DERIVED', tier || ' ' || token
    FROM (SELECT tier, token, sum(shares) AS shares FROM pool.share_balance GROUP BY 1, 2) b
    FULL JOIN pool.tier_shares t USING (tier, token) WHERE coalesce(b.shares, 0) <> coalesce(t.shares, 0)
    UNION ALL
    SELECT 'TIER_HEIGHTS_NOT_DERIVED', tier || ' ' || token
    FROM (SELECT DISTINCT ON (tier, token) tier, token, capital, all_shares
        FROM pool.tier_height ORDER BY tier, token, burn_height DESC) h
    FULL JOIN (SELECT tier, token, sum(shares) AS shares FROM held GROUP BY 1, 2) s USING (tier, token)
    FULL JOIN (SELECT token, -sum(balance) AS booked,
            array_position(ARRAY['CONSERVATIVE', 'BALANCED', 'AGGRESSIVE'], split_part(account, '/', 2)) AS tier
        FROM booked WHERE split_part(account, '/', 1) IN ('free_capital', 'locked_collateral')
        GROUP BY 1, 3) b USING (tier, token)
    WHERE coalesce(capital, 0) <> coalesce(booked, 0) OR coalesce(all_shares, 0) <> coalesce(s.shares, 0)
    UNION ALL
    SELECT 'CLOSING_NOT_DERIVED', account || ' ' || token || ' ' || burn_height
    FROM pool.account_closing_again a FULL JOIN pool.account_closing c USING (account, token, burn_height)
    WHERE a.balance IS DISTINCT FROM c.balance
    UNION ALL
    SELECT 'SHARE_CLOSING_NOT_DERIVED', provider || ' ' || tier || ' ' || token || ' ' || burn_height
    FROM pool.share_closing_again a FULL JOIN pool.share_closing c USING (provider, tier, token, burn_height)
    WHERE a.shares IS DISTINCT FROM c.shares
    UNION ALL
    SELECT 'ENTRY_NOT_BALANCED', entry_id || ' ' || token
    FROM pool.posting GROUP BY entry_id, token HAVING sum(amount) <> 0
    UNION ALL
    SELECT 'ENTRY_WITHOUT_POSTINGS', e.id::text
    FROM pool.journal_entry e LEFT JOIN pool.posting p ON p.entry_id = e.id
    WHERE (p.id IS NULL) <> (e.kind = 'SHARES_CONSOLIDATED')
    ORDER BY 1, 2 LIMIT :limit"""
)


async def faults(session: AsyncSession, limit: int) -> list[tuple[str, str]]:
    """What is wrong with the ledger in itself, as (kind, subject); the whole journal is read for it."""
    connection = await session.connection()
    return [(row.fault, row.subject) for row in await connection.execute(_WRONG, {"limit": limit})]
