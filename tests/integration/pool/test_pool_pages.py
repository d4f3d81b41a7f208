"""How final events are cut into pages changes nothing in the books, whatever they are and however often they come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import pytest
import sqlalchemy as sa
from bithedge.chain_gateway.v1 import chain_event_pb2 as event_pb2
from bithedge.type.v1 import money_pb2, transaction_pb2
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import Database, migrate
from services.pool import projection_pages
from services.pool.__main__ import MIGRATIONS
from services.pool.backlog import Given
from tests.integration.pool.stand_ins import GENESIS

_SBTC: Final = money_pb2.TOKEN_SBTC
_BALANCED: Final = money_pb2.TIER_BALANCED
_COLLATERAL: Final = 1_000
_POLICIES: Final = st.integers(0, 2)
_VOUCHERS: Final = st.integers(0, 2)
# Of the right amount most often; of one that no book explains; of one that makes no sense.
_AMOUNTS: Final = st.sampled_from([*[_COLLATERAL] * 8, 7, -1])
# Policy 0 is reserved, 1 is released, 2 nobody knows. Vouchers 0 and 1 can be used, 2 has lapsed. The database takes no
# name with a zero in it.
_PROVIDERS: Final = st.sampled_from(["SP-D", "SP-D", "SP-E", "SP\0"])
_GIVEN: Final = (
    "INSERT INTO pool.reservation (policy_id, holder, tier, token, max_payout, quote_expiration_burn_height,"
    " terms_sha256, state, reason, create_time) SELECT lpad(n::text, 32, '0'), 'SP-H', 2, 2, 1000, 999, '', state, '',"
    " now() FROM (VALUES (0, 'HELD'), (1, 'RELEASED')) AS given(n, state)",
    "INSERT INTO pool.withdrawal (id, provider, tier, token, shares, state, amount, voucher_expiration_burn_height,"
    " last_use_burn_height, public_key, signature, prepared_transaction, reason, txid, request_market_time, btc_round,"
    " stx_round, btc_price_e8, stx_price_e8, create_time) SELECT lpad(n::text, 32, '0'), 'SP-W', 2, 2, 5, state, 1000,"
    " 200, 200, '', '', '', '', '', now(), 1, 1, 1, 1, now()"
    " FROM (VALUES (0, 'PRICED'), (1, 'READY'), (2, 'LAPSED')) AS given(n, state)",
)
# Everything but ids and times of the clock, which differ between any two runs.
_CAUSE: Final = "regexp_replace(e.cause, '^reversal/.*', 'reversal')"
_BOOKS: Final = {
    "journal_entry": f"SELECT {_CAUSE}, kind, burn_height, txid, reason, subject FROM pool.journal_entry e ORDER BY id",
    "posting": f"SELECT {_CAUSE}, account, token, amount FROM pool.posting p"
    " JOIN pool.journal_entry e ON e.id = entry_id ORDER BY entry_id, account",
    "statement_line": f"SELECT {_CAUSE}, l.provider, l.kind, l.amount, l.shares_delta FROM pool.statement_line l"
    " JOIN pool.journal_entry e ON e.id = entry_id ORDER BY l.id",
    "coverage": "SELECT * FROM pool.coverage ORDER BY policy_id",
    "reservation": "SELECT policy_id, state, reason FROM pool.reservation ORDER BY 1",
    "withdrawal": "SELECT id, state, reason, txid, last_use_burn_height FROM pool.withdrawal ORDER BY 1",
    "deposit": "SELECT id, provider, amount, state, txid, burn_height, withdrawal_id FROM pool.deposit ORDER BY 1",
    "outbox": "SELECT kind, key, payload::text FROM pool.outbox ORDER BY id",
    "unknown_event": "SELECT cause, burn_height, reason, event FROM pool.unknown_event ORDER BY id",
    "account_balance": "SELECT account, token, balance FROM pool.account_balance ORDER BY 1, 2",
    "tier_height": "SELECT * FROM pool.tier_height ORDER BY 1, 2, 3",
}
Page = list[event_pb2.ChainEvent]
Books = dict[str, list[tuple[Any, ...]]]


def _amount(base_units: int) -> money_pb2.TokenAmount:
    return money_pb2.TokenAmount(token=_SBTC, base_units=base_units)


def _created(policy: int, collateral: int) -> dict[str, Any]:
    terms = transaction_pb2.QuoteTerms(
        policy=f"policies/{policy:032x}",
        holder_principal="SP-H",
        tier=_BALANCED,
        token=_SBTC,
        protected_amount_sats=10,
        strike_price_usd_e8=20,
        floor_price_usd_e8=10,
        premium_base_units=3,
        fee_base_units=1,
        auto_settle=bool(policy % 2),
        expiration_burn_height=500,
    )
    created = event_pb2.PolicyCreated(onchain_id=1, terms=terms, max_payout_base_units=collateral)
    return {"policy_created": created}


def _settled(policy: int, payout: int, collateral: int) -> dict[str, Any]:
    settled = event_pb2.PolicySettled(
        policy=f"policies/{policy:032x}", payout=_amount(payout), max_payout_base_units=collateral
    )
    return {"policy_settled": settled}


def _expired(policy: int, collateral: int) -> dict[str, Any]:
    return {
        "policy_expired": event_pb2.PolicyExpired(
            policy=f"policies/{policy:032x}", token=_SBTC, max_payout_base_units=collateral
        )
    }


def _deposited(provider: str, amount: int) -> dict[str, Any]:
    deposited = event_pb2.Deposited(provider_principal=provider, amount=_amount(amount), tier=_BALANCED)
    return {"deposited": deposited}


def _paid(voucher: int, amount: int) -> dict[str, Any]:
    paid = event_pb2.Withdrawn(
        withdrawal=f"withdrawals/{voucher:032x}", provider_principal="SP-W", amount=_amount(amount)
    )
    return {"withdrawal": paid}


def _delayed(voucher: int, height: int) -> dict[str, Any]:
    delayed = event_pb2.WithdrawalDelayed(withdrawal=f"withdrawals/{voucher:032x}", ready_burn_height=height)
    return {"withdrawal_delayed": delayed}


def _vetoed(voucher: int) -> dict[str, Any]:
    return {"voucher_vetoed": event_pb2.VoucherVetoed(withdrawal=f"withdrawals/{voucher:032x}")}


_PAYLOADS: Final = st.one_of(
    st.builds(_created, _POLICIES, _AMOUNTS),
    st.builds(_created, _POLICIES, _AMOUNTS),
    st.builds(_settled, _POLICIES, st.sampled_from([0, 5, _COLLATERAL, 2_000]), _AMOUNTS),
    st.builds(_expired, _POLICIES, _AMOUNTS),
    st.builds(_expired, _POLICIES, _AMOUNTS),
    st.builds(_deposited, _PROVIDERS, _AMOUNTS),
    st.builds(_paid, _VOUCHERS, _AMOUNTS),
    st.builds(_delayed, _VOUCHERS, st.integers(100, 300)),
    st.builds(_vetoed, _VOUCHERS),
    st.builds(lambda amount: {"fees_withdrawn": event_pb2.FeesWithdrawn(amount=_amount(amount))}, _AMOUNTS),
    st.just({"fee_paid": event_pb2.FeePaid(payer_principal="ST-KEY")}),
)


# Created again after its end, and where nothing was reserved.
_TWICE: Final = (
    _created(0, _COLLATERAL),
    _settled(0, 5, _COLLATERAL),
    _created(0, _COLLATERAL),
    _created(1, _COLLATERAL),
    _created(1, _COLLATERAL),
)


def _event(number: int, transaction: int, payload: dict[str, Any]) -> event_pb2.ChainEvent:
    event = event_pb2.ChainEvent(burn_height=100 + number // 4, txid=f"t{transaction}", event_index=number, **payload)
    event.backend_fee_ustx = 50 * (transaction % 2)
    event.block_time.FromDatetime(GENESIS)
    return event


@st.composite
def _histories(draw: st.DrawFn) -> tuple[Page, Page, list[int]]:
    """Events of before, a page that may repeat some of them and of its own, and what is withdrawn in between."""
    events: Page = []
    for number, payload in enumerate(draw(st.lists(_PAYLOADS, min_size=2, max_size=20))):
        if events and draw(st.integers(0, 5)) == 0:
            events.append(draw(st.sampled_from(events)))
            continue
        transaction = draw(st.integers(0, 3))
        event = event_pb2.ChainEvent(
            burn_height=100 + number // 4, txid=f"t{transaction}", event_index=number, **payload
        )
        event.backend_fee_ustx = 50 * (transaction % 2)
        event.block_time.FromDatetime(GENESIS)
        events.append(event)
    before = draw(st.integers(0, len(events) // 2))
    withdrawn = draw(st.lists(st.integers(0, before - 1), unique=True, max_size=2)) if before else []
    page = events[before:] + [events[number] for number in withdrawn]
    return events[:before], draw(st.permutations(page)) if withdrawn else page, withdrawn


@pytest.fixture(scope="module")
async def database(module_database_url: str) -> AsyncIterator[Database]:
    """Empty books for all examples; none of them commits."""
    await migrate(module_database_url, "pool", MIGRATIONS)
    database = Database(module_database_url)
    yield database
    await database.close()


async def _books(session: AsyncSession) -> Books:
    await session.flush()
    connection = await session.connection()
    return {name: [tuple(row) for row in await connection.execute(sa.text(text))] for name, text in _BOOKS.items()}


async def _after(database: Database, before: Page, withdrawn: Sequence[int], pages: Sequence[Page]) -> Books:
    """The books after `before`, one by one, what is withdrawn of it, and pages; what they changed is taken back."""
    async with AsyncSession(database.engine) as session:
        connection = await session.connection()
        for statement in _GIVEN:
            await connection.execute(sa.text(statement))
        for event in before:
            await projection_pages.take_in(session, [Given.of(event)], GENESIS)
        for number in withdrawn:
            gone = event_pb2.ChainEvent()
            gone.CopyFrom(before[number])
            gone.withdrawn = True
            await projection_pages.take_back(session, Given.of(gone))
        for page in pages:
            await projection_pages.take_in(session, [Given.of(event) for event in page], GENESIS)
        books = await _books(session)
        await session.rollback()
    return books


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(history=_histories())
@example(history=([], [_event(number, number, payload) for number, payload in enumerate(_TWICE)], []))
async def test_a_page_is_its_events_one_by_one(database: Database, history: tuple[Page, Page, list[int]]) -> None:
    """Explained or not, new or repeated or back after a reorganisation: the same books, of every table; and where all
    are explained, the page that comes once more changes no money."""
    before, page, withdrawn = history
    together = await _after(database, before, withdrawn, [page])
    assert await _after(database, before, withdrawn, [[event] for event in page]) == together
    if not any(message for *_, message in together["unknown_event"]):
        again = await _after(database, before, withdrawn, [page, page])
        assert again["account_balance"] == together["account_balance"]
