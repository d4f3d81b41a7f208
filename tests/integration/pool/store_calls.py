"""A call of every function of the pool's store, on full books: of lists one of each kind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import Database
from kernel.units import Tier, Token
from services.pool import (
    projection,
    store,
    store_closings,
    store_coverage,
    store_decisions,
    store_feed,
    store_journal,
    store_pages,
    store_position_rows,
    store_positions,
    store_reports,
    store_stage,
    store_statement,
    store_terms,
    tables,
)
from services.pool.domain import chain_event as chain
from services.pool.domain.collateral import ReservationState
from services.pool.domain.decision import Decision
from services.pool.domain.ledger import Cause, Entry, EntryKind, Posting
from services.pool.domain.position_rows import Held
from services.pool.domain.reconciliation import PolicyFact
from services.pool.domain.shares import OpenPolicy
from services.pool.domain.withdrawal import WithdrawalRefusal
from services.pool.store_journal import EntryFilter
from tests.load.policies import TIP

BALANCED, STX = Tier.BALANCED, Token.STX
NOW: Final = wall_now()
ENTRY: Final = Entry(Cause("x/0", 1, NOW), EntryKind.CORRECTION, (Posting("a", STX, 1), Posting("b", STX, -1)))


@dataclass(frozen=True)
class Full:
    """Full books, and something in the middle of each kind of them."""

    url: str
    database: Database
    provider: str
    deposit: str
    policy: str
    entry: tables.JournalEntry
    withdrawal: tables.Withdrawal

    @property
    def event(self) -> str:
        """An event with an entry."""
        return self.entry.event


def entry_lists(session: AsyncSession, full: Full) -> list[Awaitable[Any]]:
    """Every kind of list of entries, at its start and further on."""
    filters = [
        EntryFilter(cause, subject, provider, before)
        for cause in ("", full.event)
        for subject in ("", full.entry.subject or "x")
        for provider in ("", full.provider)
        for before in (None, full.entry.id)
    ]
    return [store_journal.list_entries(session, wanted, 51) for wanted in filters]


def page(full: Full) -> projection.Page:
    """A page with a change of each kind."""
    held = projection.Covered(BALANCED, STX, 2, "EXPIRED", 0, 1)
    opened = chain.PolicyCreated("x", 1, BALANCED, OpenPolicy(STX, 1, 2, 1, 1, 1, 1, 2), 0, auto_settle=True)
    line = store_journal.Line(full.provider, projection.DEPOSIT, BALANCED, STX, 1)
    return projection.Page(
        policies={"x": projection.Covered(BALANCED, STX, 1)},
        changes=projection.Changes(
            entries=[store_journal.NewEntry(ENTRY, [line])],
            created={"x": opened},
            ended={full.policy: held},
            committed=[full.policy],
            deposits=[projection.NewDeposit("x", line, ENTRY.cause, NOW)],
            unknown=[(ENTRY.cause, "X", b"")],
        ),
    )


def reversing(full: Full) -> store_journal.NewEntry:
    """An entry that takes one back."""
    return store_journal.NewEntry(ENTRY, reverses=full.entry.id)


def events(full: Full) -> list[chain.ChainEvent]:
    """Events about something of each kind."""
    ends = chain.PolicyExpired(full.policy, STX, 1)
    opened = chain.PolicyCreated(full.policy, 1, BALANCED, OpenPolicy(STX, 1, 2, 1, 1, 1, 1, 2), 0, auto_settle=True)
    voucher = chain.VoucherDelayed(full.withdrawal.id, 1)
    cause = Cause(full.event, 1, NOW, full.entry.txid)
    return [
        chain.ChainEvent(cause, withdrawn=False, backend_fee_ustx=1, payload=one) for one in (ends, opened, voucher)
    ]


Case = Callable[[AsyncSession, Full], list[Awaitable[Any]]]


def one(make: Callable[[AsyncSession, Full], Awaitable[Any]]) -> Case:
    """A case of a single call."""
    return lambda session, full: [make(session, full)]


CONTRACTS: Final = store_stage.Book.CONTRACTS
TIER: Final = (BALANCED, STX)
CASES: dict[str, Case] = {
    "store.read_cursor": one(lambda s, f: store.read_cursor(s, lock=True)),
    "store.lock_cursor": one(lambda s, f: store.lock_cursor(s)),
    "store.move_cursor": one(lambda s, f: store.move_cursor(s, "1", 1, NOW, "")),
    "store.anything_due": one(lambda s, f: store.anything_due(s, 0)),
    "store.clear_halt": one(lambda s, f: store.clear_halt(s)),
    "store.lock_tiers": lambda s, f: [store.lock_tiers(s), store.lock_tiers(s, *TIER)],
    "store.lock_all_tiers": one(lambda s, f: store.lock_all_tiers(s)),
    "store.balances": lambda s, f: [store.balances(s), store.balances(s, ["x"])],
    "store.tier_books": one(lambda s, f: store.tier_books(s, *TIER)),
    "store.version": one(lambda s, f: store.version(s)),
    "store_closings.close_next": one(lambda s, f: store_closings.close_next(s, 6)),
    "store_closings.balances_at": lambda s, f: [
        store_closings.balances_at(s, height) for height in (850_000, TIP - 1, TIP)
    ],
    "store_coverage.lock_principal": one(lambda s, f: store_coverage.lock_principal(s, f.provider)),
    "store_coverage.get_reservation": one(lambda s, f: store_coverage.get_reservation(s, f.policy, lock=True)),
    "store_coverage.count_unpaid": one(lambda s, f: store_coverage.count_unpaid(s, f.provider, *TIER)),
    "store_coverage.end_reservation": one(
        lambda s, f: store_coverage.end_reservation(s, f.policy, ReservationState.RELEASED, "x")
    ),
    "store_coverage.release_unpaid": one(lambda s, f: store_coverage.release_unpaid(s, TIP)),
    "store_coverage.reserved_by_token": one(lambda s, f: store_coverage.reserved_by_token(s)),
    "store_coverage.get_coverage": one(lambda s, f: store_coverage.get_coverage(s, f.policy)),
    "store_coverage.covers_after": one(lambda s, f: store_coverage.covers_after(s, f.policy, 1_000)),
    "store_coverage.covers_of": one(lambda s, f: store_coverage.covers_of(s, [f.policy] * 200)),
    "store_decisions.read_cursor": one(lambda s, f: store_decisions.read_cursor(s)),
    "store_decisions.move_cursor": one(lambda s, f: store_decisions.move_cursor(s, "", "1")),
    "store_decisions.undecided_heights": one(lambda s, f: store_decisions.undecided_heights(s, TIP + 10_000)),
    "store_decisions.add_decisions": one(lambda s, f: store_decisions.add_decisions(s, [Decision(None, 1, 1, 1)])),
    "store_feed.list_principal_lines": one(lambda s, f: store_feed.list_principal_lines(s, f.provider, 5_000, 50)),
    "store_feed.list_told": one(lambda s, f: store_feed.list_told(s, 5_000, 1_000)),
    "store_journal.post": one(lambda s, f: store_journal.post(s, store_journal.Written.of([reversing(f)]))),
    "store_journal.post_entries": one(lambda s, f: store_journal.post_entries(s, [reversing(f)])),
    "store_journal.post_entry": one(lambda s, f: store_journal.post_entry(s, ENTRY)),
    "store_journal.standing_entry": one(lambda s, f: store_journal.standing_entry(s, f.event)),
    "store_journal.get_entry": one(lambda s, f: store_journal.get_entry(s, f.entry.id or 0)),
    "store_journal.list_entries": entry_lists,
    "store_pages.read_page": one(lambda s, f: store_pages.read_page(s, events(f), posted=True)),
    "store_pages.read_vouchers": one(lambda s, f: store_pages.read_vouchers(s, [f.withdrawal], [f.event])),
    "store_pages.write_page": one(lambda s, f: store_pages.write_page(s, page(f))),
    "store_positions.get_deposit": one(lambda s, f: store_positions.get_deposit(s, f.deposit, lock=True)),
    "store_positions.standing_deposit_of": one(
        lambda s, f: store_positions.standing_deposit_of(s, f.entry.txid, f.event.replace("/", "-"))
    ),
    "store_positions.get_withdrawal": one(lambda s, f: store_positions.get_withdrawal(s, f.withdrawal.id, lock=True)),
    "store_positions.lock_withdrawals": one(lambda s, f: store_positions.lock_withdrawals(s, [f.withdrawal.id] * 200)),
    "store_positions.ahead_in_queue": one(lambda s, f: store_positions.ahead_in_queue(s, f.withdrawal)),
    "store_positions.begin_next_turn": one(lambda s, f: store_positions.begin_next_turn(s, f.withdrawal, NOW, 1)),
    "store_positions.withdrawals_of": lambda s, f: [
        store_positions.withdrawals_of(s, f.provider, before, 51) for before in (None, f.withdrawal.id)
    ],
    "store_positions.lapsed_vouchers": one(lambda s, f: store_positions.lapsed_vouchers(s, TIP)),
    "store_positions.overdue_vouchers": one(lambda s, f: store_positions.overdue_vouchers(s, TIP)),
    "store_positions.return_of": one(lambda s, f: store_positions.return_of(s, f.deposit)),
    "store_positions.refuse_queue": one(
        lambda s, f: store_positions.refuse_queue(s, *TIER, WithdrawalRefusal.SHARES_CONSOLIDATED)
    ),
    "store_positions.holders": one(lambda s, f: store_positions.holders(s, *TIER)),
    "store_positions.shares_of": one(lambda s, f: store_positions.shares_of(s, f.provider)),
    "store_positions.pending_shares": one(lambda s, f: store_positions.pending_shares(s, f.provider, *TIER)),
    "store_positions.unpriced_of": one(lambda s, f: store_positions.unpriced_of(s, f.provider)),
    "store_positions.statement_lines": lambda s, f: [
        store_positions.statement_lines(s, f.provider, before, 51) for before in (None, 4_000)
    ],
    "store_position_rows.lines_of": one(
        lambda s, f: store_position_rows.lines_of(s, [f"deposits/{f.deposit}", f"withdrawals/{f.withdrawal.id}"] * 250)
    ),
    "store_position_rows.without_shares": one(lambda s, f: store_position_rows.without_shares(s, 500)),
    "store_position_rows.put_right": one(
        lambda s, f: store_position_rows.put_right(
            s,
            {f"deposits/{f.deposit}": Held("x", 1, 1, 1), f"withdrawals/{f.withdrawal.id}": Held("x", 1, 1, 1)},
        )
    ),
    "store_reports.get_report": one(lambda s, f: store_reports.get_report(s, "x")),
    "store_reports.latest_report": one(lambda s, f: store_reports.latest_report(s)),
    "store_reports.booked_events": one(lambda s, f: store_reports.booked_events(s, [f.event] * 200)),
    "store_stage.lock": one(lambda s, f: store_stage.lock(s, "1")),
    "store_stage.staged": one(lambda s, f: store_stage.staged(s, "1", CONTRACTS)),
    "store_stage.begin": one(lambda s, f: store_stage.begin(s, "1", CONTRACTS)),
    "store_stage.add": one(
        lambda s, f: store_stage.add(
            s, "1", CONTRACTS, store_stage.Staged("", 0), {f.policy: PolicyFact("ACTIVE", STX, 1, 0)}, {}
        )
    ),
    "store_stage.replace": one(
        lambda s, f: store_stage.replace(s, "1", CONTRACTS, [f.policy], {f.policy: PolicyFact("ACTIVE", STX, 1, 0)}, {})
    ),
    "store_stage.keep_found": one(lambda s, f: store_stage.keep_found(s, "1", {})),
    "store_stage.read_found": one(lambda s, f: store_stage.read_found(s, "1")),
    "store_stage.end": one(lambda s, f: store_stage.end(s, "1")),
    "store_stage.abandoned": one(lambda s, f: store_stage.abandoned(s)),
    "store_stage.facts_after": one(lambda s, f: store_stage.facts_after(s, "1", CONTRACTS, f.policy, 1_000)),
    "store_stage.facts_of": one(lambda s, f: store_stage.facts_of(s, "1", CONTRACTS, [f.policy] * 1_000)),
    "store_stage.covered": one(lambda s, f: store_stage.covered(s, "1")),
    "store_terms.ledger_differs_of": one(lambda s, f: store_terms.ledger_differs_of(s, "1", TIP, [f.policy] * 500)),
    "store_terms.service_differs_of": one(lambda s, f: store_terms.service_differs_of(s, "1", [f.policy] * 500)),
    "store_terms.put_right": one(lambda s, f: store_terms.put_right(s, "1", TIP, [f.policy] * 500)),
    "store_statement.holding_at": one(lambda s, f: store_statement.holding_at(s, f.provider, *TIER, 850_000)),
    "store_statement.steps_between": lambda s, f: [
        store_statement.steps_between(s, f.provider, tier, token, 0, TIP) for tier in Tier for token in Token
    ],
}
