"""What a run leaves behind: intents beside the chain's transactions, workflows, outboxes."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from temporalio.client import Client

from deploy.devnet.driver import DevnetClient

_PAGE: Final = 20
_ENDED: Final = (gateway_pb2.INTENT_STATE_CONFIRMED, gateway_pb2.INTENT_STATE_ABORTED)
_FAILED: Final = "ExecutionStatus IN ('Failed', 'TimedOut', 'Terminated', 'Canceled')"
OUTBOXES: Final = ("oracle", "policy", "pool")


@dataclass(frozen=True)
class Mined:
    """A transaction in a block of the chain; `txid` without 0x."""

    txid: str
    sender: str
    status: str
    what: str


async def mined_transactions(devnet: DevnetClient) -> list[Mined]:
    """Every transaction of the chain, in order."""
    tip = (await devnet.get("/extended/v2/blocks/latest"))["height"]
    found: list[Mined] = []
    for height in range(1, tip + 1):
        page: dict[str, Any] = {"total": 1}
        offset = 0
        while offset < page["total"]:
            page = await devnet.get(f"/extended/v2/blocks/{height}/transactions?limit={_PAGE}&offset={offset}")
            found += [_mined(one) for one in page["results"]]
            offset += _PAGE
    return found


def _mined(transaction: dict[str, Any]) -> Mined:
    call = transaction.get("contract_call")
    arguments = [] if call is None else [argument["repr"] for argument in call["function_args"]]
    what = f"{call['function_name']} {arguments[0] if arguments else ''}" if call else transaction["tx_type"]
    txid = transaction["tx_id"].removeprefix("0x")
    return Mined(txid, transaction["sender_address"], transaction["tx_status"], what)


async def check_intents(database_url: str, mined: list[Mined]) -> int:
    """Asserts that every intent had its one effect, and that nothing else was sent with our keys; how many intents."""
    connection = await asyncpg.connect(database_url)
    try:
        intents = await connection.fetch("SELECT id, key, state FROM chain_gateway.intent")
        rows = await connection.fetch(
            "SELECT txid, intent_id, sender FROM chain_gateway.chain_transaction WHERE intent_id IS NOT NULL"
        )
        accounts = await connection.fetch("SELECT address FROM chain_gateway.signing_account")
    finally:
        await connection.close()
    owner = {row["txid"]: row["intent_id"] for row in rows}
    on_chain: defaultdict[str, list[Mined]] = defaultdict(list)
    ours = {account["address"] for account in accounts}
    for transaction in mined:
        if transaction.sender in ours:
            assert transaction.txid in owner, f"nobody ordered {transaction}"
            on_chain[owner[transaction.txid]].append(transaction)
    for intent in intents:
        effects = on_chain[intent["id"]]
        assert len(effects) <= 1, f"{intent['key']} went into the chain twice: {effects}"
        if intent["state"] in _ENDED:
            expected = "success" if intent["state"] == gateway_pb2.INTENT_STATE_CONFIRMED else "abort_by_response"
            assert [one.status for one in effects] == [expected], (intent["key"], effects)
    return len(intents)


def check_single_effects(mined: list[Mined]) -> None:
    """Asserts that no call succeeded twice on the same first argument: round, policy id, batch or quote."""
    calls = Counter(one.what for one in mined if one.status == "success" and " " in one.what)
    once = ("publish-price ", "settle-policy ", "expire-policies ", "create-policy-entry ", "withdraw-from-pool ")
    twice = {what: count for what, count in calls.items() if what.startswith(once) and count > 1}
    assert not twice


async def failed_workflows(temporal: Client) -> list[str]:
    """`{id} {status}` of every workflow that ended otherwise than by completing."""
    return [f"{one.id} {one.status}" async for one in temporal.list_workflows(_FAILED)]


async def open_workflows(temporal: Client) -> list[str]:
    """Ids of those that still run, but for publications: of these the newest always does."""
    running = [one.id async for one in temporal.list_workflows("ExecutionStatus = 'Running'")]
    return [one for one in running if not one.startswith("publish/")]


async def undelivered(database_url: str) -> list[str]:
    """Outbox rows that no relay has delivered, but for publications."""
    connection = await asyncpg.connect(database_url)
    try:
        left: list[str] = []
        for schema in OUTBOXES:
            rows = await connection.fetch(
                f"SELECT key, last_error FROM {schema}.outbox WHERE deliver_time IS NULL AND key NOT LIKE 'publish/%'"
            )
            left += [f"{schema} {row['key']}: {row['last_error']}" for row in rows]
        return left
    finally:
        await connection.close()
