"""What is watched on the pool besides the calls that it serves."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

PROJECTED = Gauge("bithedge_pool_projected_burn_height", "Burn height up to which the ledger has followed the chain")
APPLIED = Counter("bithedge_pool_events_total", "Chain events taken into the books")
BALANCE = Gauge("bithedge_pool_account_base_units", "Balances of the ledger; owed is negative", ["account", "token"])
UNEXPLAINED = Counter("bithedge_pool_unexplained_events_total", "Chain events that the books could not explain")
