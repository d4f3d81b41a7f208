"""SQL of deposits and withdrawals beside the statement lines that were written for them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.ids import resource_name
from services.pool import store_positions
from services.pool.domain.ledger import EntryKind
from services.pool.domain.position_rows import Held, LineOfRow
from services.pool.domain.withdrawal import WithdrawalState
from services.pool.store_arrays import by_column, run, unnest

_TABLES: Final = {"deposits": "deposit", "withdrawals": "withdrawal"}


async def differing(session: AsyncSession, limit: int) -> list[str]:
    """The first rows, by resource name, that differ from a line of theirs."""
    return [row[0] for row in await run(session, _DIFFERING, limit)]


async def lines_of(session: AsyncSession, subjects: Collection[str]) -> list[LineOfRow]:
    """These rows beside each of their lines, in the order of their resource names."""
    given = [[name.partition("/")[2] for name in subjects if name.startswith(f"{of}/")] for of in _TABLES]
    width = len(Held._fields)
    return [
        LineOfRow(subject, line, Held(*values[:width]), Held(*values[width:]))
        for subject, line, *values in await run(session, _LINES_OF, *given)
    ]


async def without_shares(session: AsyncSession, limit: int) -> list[str]:
    """Withdrawals that wait, by resource name, of providers that wait to burn more shares than they have."""
    return [resource_name("withdrawals", row[0]) for row in await run(session, _WITHOUT_SHARES, limit)]


async def put_right(session: AsyncSession, right: Mapping[str, Held]) -> None:
    """Gives rows, by resource name, their provider, tier, token and amount."""
    for collection, table in _TABLES.items():
        rows = [
            (name.partition("/")[2], *held[: len(_PUT) - 1])
            for name, held in right.items()
            if name.startswith(f"{collection}/")
        ]
        if rows:
            await run(session, _PUT_RIGHT[table], *by_column(_PUT, rows))


_PUT: Final = {"id": "text", "provider": "text", "tier": "smallint", "token": "smallint", "amount": "bigint"}
_PUT_RIGHT: Final = {
    table: f"""UPDATE pool.{table} t SET {", ".join(f"{name} = p.{name}" for name in list(_PUT)[1:])}
    FROM {unnest("p", _PUT)} WHERE t.id = p.id"""
    for table in _TABLES.values()
}
_DEPOSIT: Final = f"t.state <> '{store_positions.REVERSED}'"
_PRICED: Final = "e.cause = '{}/' || t.id || '/price'"
_GIVEN_BACK: Final = "e.cause = 'deposits/' || t.{} || '/cancel'"
_OF_VOUCHER: Final = f"e.kind IN ('{EntryKind.WITHDRAWAL_PAID}', '{EntryKind.VOUCHER_ENDED}')"
# Of each kind of line: of which collection, how its entry is found, and how it should change shares.
_JOINS: Final = (
    ("deposits", f"e.cause = replace(t.id, '-', '/') AND t.withdrawal_id IS NULL AND {_DEPOSIT}", "0"),
    ("deposits", f"{_PRICED.format('deposits')} AND {_DEPOSIT}", "t.shares"),
    (
        "deposits",
        f"e.subject = 'withdrawals/' || t.withdrawal_id AND e.kind = '{EntryKind.VOUCHER_ENDED}' AND {_DEPOSIT}",
        "0",
    ),
    ("deposits", f"{_GIVEN_BACK.format('id')} AND {_DEPOSIT}", "0"),
    ("withdrawals", _GIVEN_BACK.format("deposit_id"), "0"),
    ("withdrawals", _PRICED.format("withdrawals"), "t.filled_shares - t.shares"),
    ("withdrawals", f"e.subject = 'withdrawals/' || t.id AND {_OF_VOUCHER}", "0"),
)


def _lines(where: Mapping[str, str], one_by_one: str = "") -> str:
    """Rows beside their lines, five terms of each; `where` is by collection.

    `one_by_one`: each row's lines are looked up, however many rows the planner expects.
    """
    return " UNION ALL ".join(
        f"""SELECT '{of}/' || t.id AS subject, l.kind AS line, t.provider AS row_provider, t.tier AS row_tier,
            t.token AS row_token, t.amount AS row_amount, {shares} AS row_shares, l.provider, l.tier, l.token, l.amount,
            l.shares_delta
        FROM pool.{_TABLES[of]} t, LATERAL (
            SELECT l.* FROM pool.journal_entry e JOIN pool.statement_line l ON l.entry_id = e.id WHERE {found}
            {one_by_one}
        ) l WHERE {where[of]}"""
        for of, found, shares in _JOINS
    )


_DIFFERING: Final = f"""SELECT DISTINCT subject FROM ({_lines(dict.fromkeys(_TABLES, "true"))}) AS told
    WHERE (row_provider, row_tier, row_token, row_amount, row_shares) <> (provider, tier, token, amount, shares_delta)
    ORDER BY subject LIMIT $1"""
_THESE: Final = {of: f"t.id = ANY(${place}::text[])" for place, of in enumerate(_TABLES, 1)}
_LINES_OF: Final = f"SELECT * FROM ({_lines(_THESE, 'OFFSET 0')}) AS told ORDER BY subject, line"
_WAITS: Final = f"state = '{WithdrawalState.REQUESTED}'"
_WITHOUT_SHARES: Final = f"""SELECT id FROM pool.withdrawal w WHERE w.{_WAITS} AND (
        SELECT sum(shares - filled_shares) FROM pool.withdrawal a
        WHERE a.provider = w.provider AND a.tier = w.tier AND a.token = w.token AND a.{_WAITS}
    ) > coalesce((SELECT shares FROM pool.share_balance b
        WHERE b.provider = w.provider AND b.tier = w.tier AND b.token = w.token), 0)
    ORDER BY id LIMIT $1"""
