"""What keeps the ledger right: the database itself, projectors that restart, events that make no sense."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa
from bithedge.chain_gateway.v1 import chain_event_pb2 as event_pb2
from bithedge.pool.v1 import pool_service_pb2 as pb
from sqlalchemy.exc import DBAPIError

from kernel.units import Token
from services.pool.projector import Projector
from tests.integration.pool.pool_service import OPERATOR, WORKFLOWS, RunningPool, amount_of

# An entry with one posting.
_ENTRY = (
    "WITH entry AS (INSERT INTO pool.journal_entry (cause, event, kind, burn_height, time, txid, reason)"
    " VALUES ('test/1', 'test/1', 'DEPOSIT', 1, now(), '', '') RETURNING id)"
    " INSERT INTO pool.posting (entry_id, account, token, amount) SELECT id, 'a', 1, 5 FROM entry"
)


async def test_the_database_refuses_an_entry_that_does_not_balance(pool: RunningPool) -> None:
    """Postings that do not sum to zero are refused, whoever writes them."""
    with pytest.raises(DBAPIError, match="does not sum to zero"):
        async with pool.database.engine.begin() as connection:
            await connection.execute(sa.text(_ENTRY))
    assert await pool.scalar("SELECT count(*) FROM pool.journal_entry") == 0


@pytest.mark.parametrize("table", ["journal_entry", "posting", "statement_line"])
async def test_what_was_posted_cannot_be_changed(pool: RunningPool, table: str) -> None:
    """Neither updates nor deletes nor truncation reach the journal."""
    await pool.invest("SP-ALICE", 1_000)
    for statement in (
        f"UPDATE pool.{table} SET id = id",
        f"DELETE FROM pool.{table}",
        f"TRUNCATE pool.{table} CASCADE",
    ):
        with pytest.raises(DBAPIError, match="append-only"):
            async with pool.database.engine.begin() as connection:
                await connection.execute(sa.text(statement))


async def _balances_differ(pool: RunningPool) -> int:
    return int(
        await pool.scalar(
            "SELECT count(*) FROM (SELECT account, token, sum(amount) AS balance FROM pool.posting GROUP BY 1, 2) p"
            " FULL JOIN pool.account_balance b USING (account, token) WHERE p.balance IS DISTINCT FROM b.balance"
        )
    )


async def test_replicas_and_replays_apply_every_event_once(pool: RunningPool) -> None:
    """A second projector, and a cursor set back to the start, change nothing: every cause is posted once."""
    second = Projector(pool.database, pool.gateway_channel)
    task = asyncio.ensure_future(second.run())
    terms = pool.terms(1_000_000)
    await pool.final(pool.deposited("SP-ALICE", 10**12))
    await pool.final(pool.created(terms, 1))
    await pool.final(pool.settled(terms, 1, 5))
    before = await pool.accounts()
    async with pool.database.engine.begin() as connection:
        await connection.execute(sa.text("UPDATE pool.cursor SET cursor = ''"))
    await pool.final(pool.deposited("SP-BOB", 7))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    after = await pool.accounts()
    assert after["vault_cash/STX"] == before["vault_cash/STX"] + 7 == 10**12 + 1_010 - 5 + 7
    assert await _balances_differ(pool) == 0


async def test_payments_that_no_book_explains_wait_in_suspense(pool: RunningPool) -> None:
    """Cash follows the chain, the event is kept for a person, and what comes after is applied."""
    await pool.invest("SP-ALICE", 1_000_000)
    stranger = event_pb2.Withdrawn(
        withdrawal=f"withdrawals/{'0' * 32}", provider_principal="SP-EVE", amount=amount_of(Token.STX, 300)
    )
    nonsense = event_pb2.Deposited(provider_principal="SP-EVE", amount=amount_of(Token.STX, 0), tier=9)  # type: ignore[arg-type]
    await pool.final(
        pool.gateway.event(withdrawal=stranger),
        pool.gateway.event(deposited=nonsense),
        pool.settled(pool.terms(1_000_000), 7, 200),
        pool.deposited("SP-BOB", 5),
    )
    accounts = await pool.accounts()
    assert accounts["suspense/STX"] == 500
    assert accounts["vault_cash/STX"] == 1_000_000 - 500 + 5
    assert await pool.scalar("SELECT string_agg(reason, ', ' ORDER BY id) FROM pool.unknown_event") == (
        "WITHDRAWAL_UNKNOWN, tier: name a tier, POLICY_NOT_COVERED"
    )


async def test_fees_and_gas_are_in_the_books(pool: RunningPool) -> None:
    """Fees leave vault and account together; gas is paid by the backend's own accounts, once per transaction."""
    await pool.invest("SP-ALICE", 10**12)
    await pool.final(pool.created(pool.terms(1_000_000, fee_base_units=900), 1))
    first = pool.gateway.event(price_published=event_pb2.PricePublished(), backend_fee_ustx=250)
    second = event_pb2.ChainEvent()
    second.CopyFrom(first)
    second.event_index += 1
    taken = event_pb2.FeesWithdrawn(recipient_principal="SP-ADMIN", amount=amount_of(Token.STX, 400))
    await pool.final(first, second, pool.gateway.event(fees_withdrawn=taken))
    accounts = await pool.accounts()
    assert accounts["platform_fees/STX"] == -500
    assert (accounts["gas_spent/STX"], accounts["gas_funding/STX"]) == (250, -250)
    statement = await pool.stub.GetPoolStatement(pb.GetPoolStatementRequest())
    totals = statement.totals[0]
    assert totals.ledger_balance_base_units == 10**12 + 1_000 + 900 - 400
    assert totals.platform_fees_base_units == 500
    assert sum(accounts.values()) == 0


async def test_gas_leaves_the_books_with_its_transaction(pool: RunningPool) -> None:
    """Of one that printed nothing and of one whose events are told in two answers: posted once, reversed once when the
    chain takes the transaction back after it was final, and posted again when it returns."""
    fee = pool.gateway.event(fee_paid=event_pb2.FeePaid(payer_principal="ST-KEY"), backend_fee_ustx=30)
    first = pool.gateway.event(price_published=event_pb2.PricePublished(), backend_fee_ustx=250)
    second = event_pb2.ChainEvent()
    second.CopyFrom(first)
    second.event_index += 1

    async def gas_after(*answers: list[event_pb2.ChainEvent]) -> int:
        for events in answers:
            await pool.final(*events)
        return (await pool.accounts()).get("gas_spent/STX", 0)

    assert await gas_after([fee, first], [second]) == 280
    assert await gas_after([_withdrawn(second)], [_withdrawn(first), _withdrawn(fee)]) == 0
    assert await gas_after([fee], [first], [second, fee]) == 280
    assert await pool.scalar("SELECT count(*) FROM pool.journal_entry WHERE kind = 'GAS'") == 4
    assert await pool.scalar("SELECT count(*) FROM pool.unknown_event") == 0
    assert await _balances_differ(pool) == 0


def _withdrawn(event: event_pb2.ChainEvent) -> event_pb2.ChainEvent:
    copy = event_pb2.ChainEvent()
    copy.CopyFrom(event)
    copy.withdrawn = True
    return copy


async def test_a_deep_reorganisation_is_reversed_and_stops_new_capacity(pool: RunningPool) -> None:
    """Withdrawn final events are reversed by entries of their own; events that come back are posted again."""
    await pool.invest("SP-ALICE", 10**12)
    terms = pool.terms(1_000_000)
    await pool.reserve(terms)
    created, settled = pool.created(terms, 1), pool.settled(terms, 1, 77)
    deposited = pool.deposited("SP-BOB", 1_000)
    await pool.final(created, settled, deposited)
    await pool.price(deposited)
    after = await pool.accounts()
    await pool.final(*(_withdrawn(event) for event in (deposited, settled, created)))
    back = await pool.accounts()
    assert back["vault_cash/STX"] == 10**12
    assert back["locked_collateral/BALANCED/STX"] == back["platform_fees/STX"] == 0
    assert (await pool.capital()).shares == 10**12
    assert (await pool.reserve(pool.terms(1_000))).reason == "POOL_HALTED"
    resume = pb.ResumeReservationsRequest(request_id="looked")
    resumed = await pool.stub.ResumeReservations(resume, metadata=OPERATOR)
    assert resumed.stop_reason == "REORGANISATION_BEYOND_FINALITY"
    assert await pool.stub.ResumeReservations(resume, metadata=OPERATOR) == resumed
    assert (await pool.reserve(pool.terms(1_000))).state == pb.RESERVATION_STATE_HELD
    await pool.final(created, settled, deposited)
    name = f"deposits/{deposited.txid}-{deposited.event_index}-1"
    await pool.gateway.pass_seconds(1)
    await pool.stub.PriceDeposit(pb.PriceDepositRequest(name=name), metadata=WORKFLOWS)
    assert await pool.accounts() == after
    assert await _balances_differ(pool) == 0
    assert await pool.scalar("SELECT count(*) FROM pool.unknown_event") == 0
