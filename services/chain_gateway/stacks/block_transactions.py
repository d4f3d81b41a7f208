"""What is read of the transactions of a block while it is ingested: no more than that, since it is most of the work."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from services.chain_gateway.stacks.clarity import ClarityValue, from_hex
from services.chain_gateway.stacks.node_json import Fields
from services.chain_gateway.stacks.node_types import ContractLog, Event, read_event

_LOG: Final = "smart_contract_log"


@dataclass(frozen=True, slots=True)
class TransactionSummary:
    """As the list of a block's transactions shows it. Fields as in `TransactionRecord`."""

    txid: str
    status: str
    kind: str
    sender: str
    nonce: int
    sponsor: str | None
    sponsor_nonce: int | None
    index: int
    event_count: int
    result_hex: str | None
    result_text: str | None

    def result(self) -> ClarityValue | None:
        """What the transaction returned; raises `CodecError` when we do not read it."""
        return None if self.result_hex is None else from_hex(self.result_hex)


def read_summary(fields: Fields) -> TransactionSummary:
    """From a transaction of a block, whatever else is told of it."""
    result = fields.optional_object("tx_result")
    return TransactionSummary(
        txid=fields.hash("tx_id"),
        status=fields.text("tx_status"),
        kind=fields.text("tx_type"),
        sender=fields.text("sender_address"),
        nonce=fields.integer("nonce"),
        sponsor=fields.optional_text("sponsor_address"),
        sponsor_nonce=fields.optional_integer("sponsor_nonce"),
        index=fields.integer("tx_index"),
        event_count=fields.optional_integer("event_count") or 0,
        result_hex=None if result is None else result.text("hex"),
        result_text=None if result is None else result.optional_text("repr"),
    )


@dataclass(frozen=True, slots=True)
class MinedLogs:
    """What contracts printed in a transaction, with its place. `block_hash` is None while it is in no block.

    `payer` paid the fee: the sponsor, or else the sender. `events_told` of the `event_count` events, of whatever kind,
    were in the answer that this was read from.
    """

    txid: str
    status: str
    sender: str
    payer: str
    fee_ustx: int
    block_hash: str | None
    index: int
    event_count: int
    events_told: int
    logs: tuple[ContractLog, ...]


def read_logs(fields: Fields) -> MinedLogs:
    """From a transaction with its events."""
    mined, sender = fields.content.get("block_hash"), fields.text("sender_address")
    events = list(fields.objects("events")) if "events" in fields.content else []
    return MinedLogs(
        txid=fields.hash("tx_id"),
        status=fields.text("tx_status"),
        sender=sender,
        payer=fields.optional_text("sponsor_address") or sender,
        fee_ustx=fields.integer("fee_rate"),
        block_hash=fields.hash("block_hash") if mined else None,
        index=fields.integer("tx_index") if mined else 0,
        event_count=fields.optional_integer("event_count") or 0,
        events_told=len(events),
        logs=logs_of(read_event(one) for one in events if one.content.get("event_type") == _LOG),
    )


def logs_of(events: Iterable[Event]) -> tuple[ContractLog, ...]:
    """The prints among events."""
    return tuple(event for event in events if isinstance(event, ContractLog))
