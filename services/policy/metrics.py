"""What is watched on the policy service besides the calls that it serves."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

QUOTES = Counter("bithedge_policy_quotes_total", "Quotes made", ["tier", "token"])
TRANSITIONS = Counter("bithedge_policy_transitions_total", "Transitions by the chain's events", ["state"])
ALERTS = Counter("bithedge_policy_alerts_total", "What a person must look at", ["kind"])
PROJECTED_HEIGHT = Gauge("bithedge_policy_projected_burn_height", "Burn height delivered by a stream", ["stream"])
POLICIES = Gauge("bithedge_policy_policies", "Policies by state", ["state"])
WATCHERS = Gauge("bithedge_policy_watchers", "Open WatchPolicy streams")
