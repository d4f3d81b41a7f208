"""What of the policies' books comes back from the chain and from what is kept for good; docs/rebuild.md tells it."""

from __future__ import annotations

from typing import Final

from kernel.book_comparison import Rule

# A policy in the middle of something that nothing outside these books has seen.
_SIGNED: Final = "(quote_signature <> '' OR onchain_id IS NOT NULL)"
_KNOWN: Final = f"{_SIGNED} AND state <> 'EXPIRING' AND NOT unjudged_activation"
_OF_SIGNED: Final = f"policy_id IN (SELECT id FROM policy.policy WHERE {_SIGNED})"
_BY_CHAIN: Final = "cause IN ('CREATED_ON_CHAIN', 'SETTLED_ON_CHAIN', 'EXPIRED_ON_CHAIN')"
_BY_QUOTE: Final = f"cause IN ('QUOTE_ACCEPTED', 'QUOTE_NOT_PAID') AND {_OF_SIGNED}"
_FEED: Final = "SELECT * FROM policy.feed WHERE"
_TOLD: Final = "kind IN ('ACTIVE', 'SETTLED', 'EXPIRED')"

RULES: Final = (
    Rule(
        "policy",
        f"SELECT * FROM policy.policy WHERE {_KNOWN}",
        ("id",),
        frozenset(
            {
                "breakdown",
                "quote_btc_round",
                "quote_stx_round",
                "prepared_transaction",
                "create_time",
                "update_time",
                "version",
                "expiry_batch_id",
                "expiry_checked_burn_height",
            }
        ),
    ),
    Rule("policy (nothing signed)", f"SELECT 1 FROM policy.policy WHERE NOT {_SIGNED}"),
    Rule(
        "policy_history",
        f"SELECT * FROM policy.policy_history WHERE {_BY_CHAIN}",
        ("policy_id", "to_state", "txid"),
        frozenset({"id", "version", "from_state", "time"}),
    ),
    Rule(
        "policy_history (of quotes)",
        f"SELECT * FROM policy.policy_history WHERE {_BY_QUOTE}",
        ("policy_id", "to_state"),
        frozenset({"id", "version", "time", "burn_height"}),
    ),
    Rule(
        "policy_history (other steps)",
        f"SELECT 1 FROM policy.policy_history WHERE NOT {_BY_CHAIN} AND NOT ({_BY_QUOTE})",
    ),
    Rule(
        "activation",
        "SELECT * FROM policy.activation WHERE receipt <> ''",
        ("policy_id", "number"),
        frozenset({"request_time", "btc_round", "stx_round", "receive_time"}),
    ),
    Rule("expiry_batch", "SELECT 1 FROM policy.expiry_batch"),
    Rule(
        "stat",
        "SELECT kind, key, sum(value)::bigint AS value FROM (SELECT kind, key, value FROM policy.stat UNION ALL"
        " SELECT kind, key, delta FROM policy.stat_delta) AS part WHERE kind IN ('premium', 'payout')"
        " GROUP BY kind, key HAVING sum(value) <> 0",
        ("kind", "key"),
    ),
    Rule("feed", f"{_FEED} {_TOLD}", ("policy_id", "kind", "txid"), frozenset({"id", "time", "number"})),
    Rule("feed (other notices)", f"{_FEED} NOT {_TOLD}"),
)
# How far the work has come, not what is in the books: begun anew.
WORKING: Final = frozenset({"projection", "outbox", "lease", "request", "notice_cursor", "stat_delta"})
