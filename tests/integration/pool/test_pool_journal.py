"""The journal as an auditor reads it: whole entries, their stories, balances at a height, corrections."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from bithedge.chain_gateway.v1 import chain_event_pb2 as event_pb2
from bithedge.pool.v1 import pool_service_pb2 as pb
from sqlalchemy.exc import DBAPIError

from kernel.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from kernel.rpc.channels import remote_errors
from kernel.units import Tier, Token
from services.pool import store, store_closings
from tests.integration.pool.pool_service import OPERATOR, RunningPool, amount_of, provider

_ENTRY = (
    "INSERT INTO pool.journal_entry (cause, event, kind, burn_height, time, txid, reason)"
    " VALUES ('test/1', 'test/1', 'DEPOSIT', 1, now(), '', '')"
)
_LATE = "INSERT INTO pool.posting (entry_id, account, token, amount) VALUES (1, 'late', 1, 5), (1, 'later', 1, -5)"
_NOWHERE = _LATE.replace("(1,", "(1000,")


async def _execute(pool: RunningPool, *statements: str) -> None:
    async with pool.database.engine.begin() as connection:
        for statement in statements:
            await connection.execute(sa.text(statement))


async def _faults(pool: RunningPool) -> list[tuple[str, str]]:
    answer = await pool.stub.ListLedgerFaults(pb.ListLedgerFaultsRequest(), metadata=OPERATOR)
    return [(fault.kind, fault.subject) for fault in answer.faults]


async def _entries(pool: RunningPool, **wanted: Any) -> list[pb.JournalEntry]:
    answer = await pool.stub.ListJournalEntries(pb.ListJournalEntriesRequest(**wanted), metadata=OPERATOR)
    return list(answer.entries)


async def test_an_entry_is_made_whole_or_not_at_all(pool: RunningPool) -> None:
    """An entry without postings is refused, as are postings without an entry; none can be added to one afterwards."""
    await pool.invest("SP-ALICE", 1_000)
    with pytest.raises(DBAPIError, match="has no postings"):
        await _execute(pool, _ENTRY)
    with pytest.raises(DBAPIError, match="there is no journal entry 1000"):
        await _execute(pool, _NOWHERE)
    with pytest.raises(DBAPIError, match="has its postings already"):
        await _execute(pool, _LATE)


async def test_what_is_derived_is_written_by_the_journal_alone(pool: RunningPool) -> None:
    """Nobody writes balances; where the disk lies all the same, the check names it and a rebuild puts it right."""
    await pool.invest("SP-ALICE", 1_000)
    for table, column in (("account_balance", "balance"), ("share_balance", "shares"), ("tier_shares", "shares")):
        with pytest.raises(DBAPIError, match="is derived"):
            await _execute(pool, f"UPDATE pool.{table} SET {column} = {column} + 1")
    assert await _faults(pool) == []
    await _execute(
        pool,
        "ALTER TABLE pool.account_balance DISABLE TRIGGER account_balance_derived",
        "ALTER TABLE pool.tier_shares DISABLE TRIGGER tier_shares_derived",
        "UPDATE pool.account_balance SET balance = balance + 1 WHERE account = 'vault_cash/STX'",
        "DELETE FROM pool.tier_shares",
    )
    assert await _faults(pool) == [("BALANCE_NOT_DERIVED", "vault_cash/STX 1"), ("TIER_SHARES_NOT_DERIVED", "2 1")]
    await _execute(pool, "SELECT pool.rebuild_derived()")
    assert await _faults(pool) == []
    assert (await pool.capital()).shares == 1_000


async def test_balances_of_any_height_can_be_asked_for(pool: RunningPool) -> None:
    """What was posted for later heights is left out; a height that the books have not reached is refused."""
    await pool.final(pool.deposited("SP-ALICE", 1_000))
    first = pool.gateway.burn_height - 1
    await pool.final(pool.deposited("SP-BOB", 500), blocks=10)
    for height, cash in ((first, 1_000), (first - 1, 0), (0, 1_500), (first + 1, 1_500)):
        statement = await pool.stub.GetPoolStatement(pb.GetPoolStatementRequest(burn_height=height))
        assert statement.totals[0].ledger_balance_base_units == cash
        assert sum(account.balance_delta_base_units for account in statement.accounts) == 0
    with pytest.raises(FailedPrecondition), remote_errors():
        await pool.stub.GetPoolStatement(pb.GetPoolStatementRequest(burn_height=first + 100))
    with pytest.raises(InvalidArgument), remote_errors():
        await pool.stub.GetPoolStatement(pb.GetPoolStatementRequest(burn_height=-1))


async def test_anybody_looks_back_as_far_as_they_like(pool: RunningPool) -> None:
    """A stranger, a provider and an operator read the same of a height of long ago, closed or not."""
    await pool.final(pool.deposited("SP-ALICE", 1_000))
    first = pool.gateway.burn_height - 1
    await pool.final(pool.deposited("SP-BOB", 500), blocks=146)
    request = pb.GetPoolStatementRequest(burn_height=first)
    open_still = await pool.stub.GetPoolStatement(request)
    assert open_still.totals[0].ledger_balance_base_units == 1_000
    async with pool.database.transaction() as session:
        assert await store_closings.close_next(session, 6) is not None
    for caller in ((), provider("SP-ALICE"), OPERATOR):
        assert await pool.stub.GetPoolStatement(request, metadata=caller) == open_still


async def test_a_statement_is_of_one_moment(pool: RunningPool) -> None:
    """What is posted between the queries of a statement is in none of them, an account that is new then neither."""
    await pool.final(pool.deposited("SP-ALICE", 1_000))
    height = pool.gateway.burn_height - 1
    async with pool.database.snapshot() as session:
        await store.read_cursor(session)
        await pool.final(pool.deposited("SP-BOB", 500, tier=Tier.AGGRESSIVE))
        at, now = await store_closings.balances_at(session, height), await store.balances(session)
    assert at == now
    assert at["vault_cash/STX", Token.STX] == 1_000


async def test_the_whole_story_of_a_policy_is_one_query(pool: RunningPool) -> None:
    """Creation, settlement and the reversal of it, newest first, with postings; the same by cause and provider."""
    deposit = await pool.invest("SP-ALICE", 10**12)
    terms = pool.terms(1_000_000)
    await pool.final(pool.created(terms, 1))
    settled = pool.settled(terms, 1, 77)
    await pool.final(settled)
    withdrawn = event_pb2.ChainEvent()
    withdrawn.CopyFrom(settled)
    withdrawn.withdrawn = True
    await pool.final(withdrawn)
    story = await _entries(pool, subject=terms.policy)
    assert [entry.kind for entry in story] == ["REVERSAL", "POLICY_SETTLED", "POLICY_CREATED"]
    assert (story[0].reverses, story[1].reversed_by) == (story[1].name, story[0].name)
    assert all(sum(posting.amount_delta_base_units for posting in entry.postings) == 0 for entry in story)
    assert await _entries(pool, cause=f"{settled.txid}/1") == story[:2]
    of_alice = await _entries(pool, provider_principal="SP-ALICE")
    assert [line.kind for entry in of_alice for line in entry.lines] == ["shares issued", "deposit"]
    assert await _entries(pool, subject=deposit.name) == of_alice
    one = await pool.stub.GetJournalEntry(pb.GetJournalEntryRequest(name=story[0].name), metadata=OPERATOR)
    assert one.entry == story[0]


async def test_the_journal_is_read_in_pages_by_operators(pool: RunningPool) -> None:
    """Pages join without gap or repeat; unknown names, foreign tokens and other callers are refused."""
    await pool.final(*(pool.deposited("SP-ALICE", 1 + number) for number in range(5)))
    names, token = [], ""
    while True:
        request = pb.ListJournalEntriesRequest(page_size=2, page_token=token)
        answer = await pool.stub.ListJournalEntries(request, metadata=OPERATOR)
        names += [entry.name for entry in answer.entries]
        token = answer.next_page_token
        if not token:
            break
    assert names == [f"journalEntries/{number}" for number in (5, 4, 3, 2, 1)]
    with pytest.raises(NotFound), remote_errors():
        await pool.stub.GetJournalEntry(pb.GetJournalEntryRequest(name="journalEntries/6"), metadata=OPERATOR)
    for name in ("journalEntries/0", "journalEntries/x", "policies/1"):
        with pytest.raises(InvalidArgument), remote_errors():
            await pool.stub.GetJournalEntry(pb.GetJournalEntryRequest(name=name), metadata=OPERATOR)
    with pytest.raises(InvalidArgument), remote_errors():
        await _entries(pool, page_token="bGluZTox")
    with pytest.raises(PermissionDenied), remote_errors():
        await pool.stub.ListJournalEntries(pb.ListJournalEntriesRequest(), metadata=provider("SP-ALICE"))


def _correction(**changes: Any) -> pb.CreateCorrectionRequest:
    values: dict[str, Any] = {
        "request_id": "c1",
        "from_account": "suspense/STX",
        "to_account": "platform_fees/STX",
        "amount": amount_of(Token.STX, 300),
        "reason": "paid twice by hand, see the report of 2026-01-02",
    }
    return pb.CreateCorrectionRequest(**(values | changes))


async def test_a_correction_is_an_entry_of_its_own(pool: RunningPool) -> None:
    """What waits in suspense is moved once, under the operator's name and reason; no account is overdrawn by it."""
    await pool.invest("SP-ALICE", 10**12)
    await pool.final(pool.created(pool.terms(1_000_000, fee_base_units=900), 1))
    stranger = event_pb2.Withdrawn(
        withdrawal=f"withdrawals/{'0' * 32}", provider_principal="SP-EVE", amount=amount_of(Token.STX, 300)
    )
    await pool.final(pool.gateway.event(withdrawal=stranger))
    first = await pool.stub.CreateCorrection(_correction(), metadata=OPERATOR)
    assert await pool.stub.CreateCorrection(_correction(), metadata=OPERATOR) == first
    accounts = await pool.accounts()
    assert (accounts["suspense/STX"], accounts["platform_fees/STX"]) == (0, -600)
    assert (first.entry.kind, first.entry.author_principal) == ("CORRECTION", "SP-OPERATOR")
    assert first.entry.reason == _correction().reason
    assert await _entries(pool, cause=first.entry.cause) == [first.entry]
    with pytest.raises(AlreadyExists), remote_errors():
        await pool.stub.CreateCorrection(_correction(reason="another"), metadata=OPERATOR)
    overdrawn = _correction(request_id="c2", amount=amount_of(Token.STX, 601))
    with pytest.raises(FailedPrecondition) as refused, remote_errors():
        await pool.stub.CreateCorrection(overdrawn, metadata=OPERATOR)
    assert (refused.value.reason, refused.value.metadata["account"]) == ("ACCOUNT_OVERDRAWN", "platform_fees/STX")
    assert await _faults(pool) == []


async def test_a_correction_that_says_too_little_is_refused(pool: RunningPool) -> None:
    """Accounts outside the chart, nothing to move, no reason: one field is named and nothing is posted."""
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("from_account", {"from_account": "suspense/SBTC"}),
        ("to_account", {"to_account": "petty cash"}),
        ("to_account", {"to_account": "suspense/STX"}),
        ("amount.base_units", {"amount": amount_of(Token.STX, 0)}),
        ("amount.base_units", {"amount": amount_of(Token.STX, -1)}),
        ("reason", {"reason": ""}),
        ("reason", {"reason": "x" * 501}),
        ("reason", {"reason": "a\x00b"}),
    ]
    for field, changes in wrong:
        with pytest.raises(InvalidArgument) as refused, remote_errors():
            await pool.stub.CreateCorrection(_correction(**changes), metadata=OPERATOR)
        assert refused.value.metadata["field"] == field
    assert await pool.scalar("SELECT count(*) FROM pool.journal_entry") == 0
