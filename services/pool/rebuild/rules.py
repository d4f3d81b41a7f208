"""What of the pool's books comes back from the chain and from what is kept for good; docs/rebuild.md tells it."""

from __future__ import annotations

from typing import Final

from kernel.book_comparison import Rule
from services.pool.store_feed import LINES

_BY_CHAIN: Final = "kind IN ('DEPOSIT', 'POLICY_CREATED', 'POLICY_SETTLED', 'POLICY_EXPIRED', 'FEES_WITHDRAWN', 'GAS')"
# Of a payment the entry, its line and the cash are known, not from what its amount was taken.
_PAYMENT: Final = "kind = 'WITHDRAWAL_PAID'"
_ENTRIES: Final = f"({_BY_CHAIN} OR {_PAYMENT})"
_ACCOUNTS: Final = "account ~ '^(vault_cash|platform_fees|locked_collateral|gas_)'"
_LINE: Final = "kind IN ('deposit', 'withdrawal')"
_SIGNED: Final = "state <> 'REFUSED' AND reason <> 'CANCELLED'"

RULES: Final = (
    Rule(
        "journal_entry",
        f"SELECT * FROM pool.journal_entry WHERE {_ENTRIES}",
        ("cause",),
        frozenset({"id"}),
    ),
    Rule("journal_entry (other kinds)", f"SELECT 1 FROM pool.journal_entry WHERE NOT {_ENTRIES}"),
    Rule(
        "posting",
        "SELECT e.cause, p.* FROM pool.posting p JOIN pool.journal_entry e ON e.id = p.entry_id"
        f" WHERE {_BY_CHAIN} OR {_PAYMENT} AND p.account ~ '^vault_cash'",
        ("cause", "account", "token"),
        frozenset({"id", "entry_id"}),
    ),
    Rule("account_balance", f"SELECT * FROM pool.account_balance WHERE {_ACCOUNTS}", ("account", "token")),
    Rule(
        "account_balance (owed in sum)",
        f"SELECT token, sum(balance)::bigint AS owed FROM pool.account_balance WHERE NOT {_ACCOUNTS} GROUP BY token",
        ("token",),
    ),
    Rule("account_balance (owed to whom)", f"SELECT 1 FROM pool.account_balance WHERE NOT {_ACCOUNTS}"),
    Rule(
        "statement_line",
        "SELECT e.cause, l.provider, l.kind, l.tier, l.token, l.amount, l.shares_delta, l.txid, l.burn_height, l.time"
        f" FROM pool.statement_line l JOIN pool.journal_entry e ON e.id = l.entry_id WHERE l.{_LINE}",
        ("cause",),
    ),
    Rule("statement_line (other lines)", f"SELECT 1 FROM pool.statement_line WHERE NOT {_LINE}"),
    Rule("share_balance", "SELECT 1 FROM pool.share_balance"),
    Rule("tier_shares", "SELECT 1 FROM pool.tier_shares"),
    Rule(
        "deposit",
        "SELECT * FROM pool.deposit WHERE withdrawal_id IS NULL",
        ("id",),
        frozenset(
            {
                "state",
                "shares",
                "wait_reason",
                "restored",
                "btc_round",
                "stx_round",
                "btc_price_e8",
                "stx_price_e8",
                "price_burn_height",
                "volatility_ewma",
                "volatility_30d",
                "volatility_90d",
                "volatility_parkinson",
                "final_market_time",
                "create_time",
            }
        ),
    ),
    Rule("deposit (of vouchers that ended)", "SELECT 1 FROM pool.deposit WHERE withdrawal_id IS NOT NULL"),
    Rule(
        "withdrawal",
        "SELECT id, provider, tier, token, amount, voucher_expiration_burn_height, signature, txid"
        " FROM pool.withdrawal WHERE state = 'PAID'",
        ("id",),
    ),
    Rule("withdrawal (the rest)", "SELECT 1 FROM pool.withdrawal"),
    Rule(
        "reservation",
        f"SELECT * FROM pool.reservation WHERE {_SIGNED}",
        ("policy_id",),
        frozenset({"create_time", "end_time"}),
    ),
    Rule("reservation (nothing signed)", f"SELECT 1 FROM pool.reservation WHERE NOT ({_SIGNED})"),
    Rule("coverage", "SELECT * FROM pool.coverage", ("policy_id",)),
    Rule("reconciliation", "SELECT 1 FROM pool.reconciliation"),
)
# How far the work has come and what providers are told of it, not what is in the books: begun anew. Decisions are read
# again from the oracle's receipts, and what was not explained may be another thing then.
WORKING: Final = frozenset(
    {
        "cursor",
        "outbox",
        "lease",
        "request",
        "tier_lock",
        "unknown_event",
        "decision",
        "decision_cursor",
        LINES.table.name,
    }
)
