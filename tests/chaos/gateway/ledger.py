"""What the gateway says at the end: its answers over gRPC, its book of transactions, its table of events."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb

from services.chain_gateway.domain.confirmation import IntentState, TransactionState
from tests.chaos.gateway.chain import EventRow
from tests.chaos.gateway.customer import Customer
from tests.chaos.gateway.orders import Order

CONFIRMED: Final = "CONFIRMED"
ENDED_TRANSACTIONS: Final = ("CONFIRMED", "ABORTED", "DROPPED", "REPLACED")
_AT_ONCE: Final = 12


@dataclass(frozen=True)
class Answered:
    """An intent as the gateway answers it. `confirmed`: txids of its transactions that are said to be confirmed."""

    state: str
    reason: str
    confirmed: tuple[str, ...]


@dataclass(frozen=True)
class BookEntry:
    """A transaction of ours in the gateway's book."""

    sender: str
    nonce: int
    state: str


@dataclass(frozen=True)
class GatewayReading:
    """`intents` by key, `transactions` by txid, `nonces` that intents have, by account, `events` that stand."""

    intents: dict[str, Answered]
    transactions: dict[str, BookEntry]
    nonces: dict[str, tuple[int, ...]]
    events: tuple[EventRow, ...]

    @property
    def replaced(self) -> int:
        """Transactions in whose place another one was mined."""
        return sum(entry.state == "REPLACED" for entry in self.transactions.values())


async def read_gateway(database_url: str, customer: Customer, orders: Sequence[Order]) -> GatewayReading:
    """Asks for every intent again, by its key, and reads the tables."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def answered(order: Order) -> tuple[str, Answered]:
        async with gate:
            return order.key, _answered(await customer.intent(order))

    intents = dict(await asyncio.gather(*(answered(order) for order in orders)))
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch(
            "SELECT txid, sender, nonce, state FROM chain_gateway.chain_transaction WHERE prepared_id IS NULL"
        )
        slots = await connection.fetch(
            "SELECT address, nonce FROM chain_gateway.nonce_slot WHERE intent_id IS NOT NULL"
        )
        events = await connection.fetch(
            "SELECT block_hash, txid, event_index, contract, value FROM chain_gateway.event"
            " WHERE canonical AND NOT withdrawn ORDER BY sequence"
        )
    finally:
        await connection.close()
    nonces: defaultdict[str, list[int]] = defaultdict(list)
    for slot in slots:
        nonces[slot["address"]].append(int(slot["nonce"]))
    book = {
        row["txid"]: BookEntry(row["sender"], int(row["nonce"]), TransactionState(row["state"]).name) for row in rows
    }
    return GatewayReading(
        intents=intents,
        transactions=book,
        nonces={address: tuple(given) for address, given in nonces.items()},
        events=tuple(
            EventRow(row["block_hash"], row["txid"], row["event_index"], row["contract"], row["value"].hex())
            for row in events
        ),
    )


def _answered(intent: pb.Intent) -> Answered:
    confirmed = tuple(one.txid for one in intent.transactions if one.state == pb.TRANSACTION_STATE_CONFIRMED)
    return Answered(IntentState(intent.state).name, intent.reason, confirmed)


@dataclass(frozen=True)
class Progress:
    """How far the gateway is: grows as long as it does anything."""

    ended: int
    mined: int
    latest_sequence: int
    newest_standing: int
    tip_hash: str


async def read_progress(connection: asyncpg.Connection[asyncpg.Record]) -> Progress:
    """Counts in the gateway's tables."""
    row = await connection.fetchrow(
        "SELECT (SELECT count(*) FROM chain_gateway.intent WHERE state > $1) AS ended,"
        " (SELECT count(*) FROM chain_gateway.chain_transaction WHERE mined_index_hash IS NOT NULL) AS mined,"
        " (SELECT max(sequence) FROM chain_gateway.event WHERE canonical AND NOT withdrawn) AS standing,"
        " (SELECT latest_sequence FROM chain_gateway.chain_state) AS sequence,"
        " (SELECT block_hash FROM chain_gateway.chain_state) AS tip",
        IntentState.SUBMITTED,
    )
    assert row is not None
    return Progress(row["ended"], row["mined"], row["sequence"] or 0, row["standing"] or 0, row["tip"] or "")
