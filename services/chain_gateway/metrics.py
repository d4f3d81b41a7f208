"""What is watched on the chain gateway besides the calls that it serves."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

NODE_ERRORS = Counter("bithedge_gateway_node_errors_total", "Questions to a node without a usable answer", ["url"])
NODE_BUSY = Counter("bithedge_gateway_node_busy_total", "Answers 429 of a node, which is then left alone", ["url"])
NODE_BREAKER = Gauge("bithedge_gateway_node_breaker", "1 closed, 2 open, 3 half-open, as of the last answer", ["url"])
NODE_TIP_HEIGHT = Gauge("bithedge_gateway_node_tip_stacks_height", "Height that the node told last", ["url"])
NODE_DISAGREEMENTS = Counter(
    "bithedge_gateway_node_disagreements_total", "Looks at which a node told another block or nonce", ["url", "about"]
)
NODE_HEALTHY = Gauge("bithedge_gateway_node_healthy", "1 while the node answers", ["url"])
PUSH_CONNECTED = Gauge("bithedge_gateway_push_connected", "1 while the node's websocket is open", ["url"])
PUSH_HINTS = Counter("bithedge_gateway_push_hints_total", "Blocks that a node's websocket told of", ["url"])
PUSH_SILENT = Counter("bithedge_gateway_push_silent_total", "Websockets opened anew after silence", ["url"])
TIP_STACKS_HEIGHT = Gauge("bithedge_gateway_tip_stacks_height", "Height of the last ingested Stacks block")
TIP_BURN_HEIGHT = Gauge("bithedge_gateway_tip_burn_height", "Burn height of the last ingested Stacks block")
INGEST_LAG = Gauge("bithedge_gateway_ingest_lag_blocks", "Stacks blocks known to the node and not ingested yet")
INGEST_STOPPED = Gauge(
    "bithedge_gateway_ingest_stopped", "1 while an event in unknown form keeps ingestion from going on"
)
WITHDRAWN_BLOCKS = Counter("bithedge_gateway_withdrawn_blocks_total", "Blocks withdrawn by reorganisations")
DEEP_REORGANISATIONS = Counter("bithedge_gateway_deep_reorganisations_total", "Reorganisations of final blocks")
INTENTS = Gauge("bithedge_gateway_intents", "Open intents by state", ["state"])
REJECTIONS = Counter("bithedge_gateway_broadcast_rejections_total", "Broadcasts that a node refused", ["reason"])
SIGNING_REFUSALS = Counter(
    "bithedge_gateway_signing_refusals_total", "Signatures that the signing policy refused", ["what", "reason"]
)
BALANCE = Gauge("bithedge_gateway_balance_ustx", "What an account of ours can pay fees with", ["address"])
FEE_RAISES = Counter("bithedge_gateway_fee_raises_total", "Transactions replaced by one with a higher fee")
FEE_CAPPED = Counter("bithedge_gateway_fee_capped_total", "Transactions that wait although they pay the highest fee")
FILLERS = Counter("bithedge_gateway_nonce_fillers_total", "Nonces that nothing had, filled with a transfer")
LOST_NONCES = Counter("bithedge_gateway_lost_nonces_total", "Nonces of intents that another transaction took finally")
GIVEN_UP = Counter("bithedge_gateway_given_up_total", "Transactions that nodes refused for good")
REFUSED_TO_SIGN = Counter("bithedge_gateway_refused_to_sign_total", "Intents that the signing policy refused")
