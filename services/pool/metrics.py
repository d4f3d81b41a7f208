"""What is watched on the pool besides the calls that it serves."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

PROJECTED = Gauge("bithedge_pool_projected_burn_height", "Burn height up to which the ledger has followed the chain")
APPLIED = Counter("bithedge_pool_events_total", "Chain events taken into the books")
BALANCE = Gauge("bithedge_pool_account_base_units", "Balances of the ledger; owed is negative", ["account", "token"])
UNEXPLAINED = Counter("bithedge_pool_unexplained_events_total", "Chain events that the books could not explain")
UTILIZATION = Gauge("bithedge_pool_utilization_bps", "Pledged capital by total", ["tier", "token"])
COVERAGE = Gauge("bithedge_pool_coverage_bps", "Total capital by pledged; 0 while nothing is", ["tier", "token"])
STRESS = Gauge(
    "bithedge_pool_stress_base_units", "Payouts if BTC and STX fell by so many bps", ["tier", "token", "fall_bps"]
)
MODEL_VALUE = Gauge("bithedge_pool_model_value_base_units", "Open policies at the model", ["tier", "token"])
SPOT_DELTA = Gauge("bithedge_pool_spot_delta_sats", "BTC that the open policies are short", ["tier", "token"])
RISK_ALERT = Gauge("bithedge_pool_risk_alert", "1 while a person should look at it", ["tier", "token", "alert"])
DIFFERENCES = Gauge(
    "bithedge_pool_differences", "Differences in the last report: healed, or for a person", ["resolution"]
)
HEALED = Counter("bithedge_pool_healed_differences_total", "Differences that reconciliation healed", ["cause"])
WATCHERS = Gauge("bithedge_pool_watchers", "Open WatchNotifications streams")
