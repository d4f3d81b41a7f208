"""Blocks, burn blocks and waiting transactions of the stand-in, and what the API tells of them."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

from services.chain_gateway.stacks.clarity import ResponseOk, serialize
from services.chain_gateway.stacks.payload import ContractCall
from services.chain_gateway.stacks.transaction import Transaction
from tests.load.node import plan
from tests.load.node.registry import Event, Registry

_BURN_SECONDS: Final = 600
_START: Final = dt.datetime.fromisoformat(plan.MARKET_START).timestamp()


def digest(*parts: object) -> str:
    """A hash of whatever names a thing, with its 0x."""
    return "0x" + hashlib.sha256(repr(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Mined:
    """A transaction in a block."""

    txid: str
    transaction: Transaction
    call: ContractCall
    succeeded: bool
    result: bytes
    events: list[Event]
    block: Block
    index: int

    def summary(self) -> dict[str, Any]:
        """As the API tells it, without events."""
        return waiting(self.txid, self.transaction, self.call) | {
            "tx_status": "success" if self.succeeded else "abort_by_response",
            "canonical": True,
            "block_hash": self.block.hash,
            "block_height": self.block.height,
            "block_time": self.block.time,
            "burn_block_height": self.block.burn_height,
            "tx_index": self.index,
            "tx_result": {"hex": "0x" + self.result.hex(), "repr": ""},
            "event_count": len(self.events),
        }

    def some_events(self, first: int, limit: int) -> list[Event]:
        """Events from a number on."""
        part = self.events[first : first + limit]
        return [{**event, "event_index": number} for number, event in enumerate(part, first)]


def waiting(txid: str, transaction: Transaction, call: ContractCall) -> dict[str, Any]:
    """A transaction that is in no block, as the API tells it."""
    return {
        "tx_id": "0x" + txid,
        "tx_status": "pending",
        "tx_type": "contract_call",
        "nonce": transaction.nonce,
        "sender_address": transaction.sender.text,
        "fee_rate": str(transaction.fee_ustx),
        "contract_call": {
            "contract_id": f"{call.address.text}.{call.contract_name}",
            "function_name": call.function_name,
        },
    }


@dataclass
class Block:
    """A Stacks block."""

    height: int
    burn_height: int
    transactions: list[Mined] = field(default_factory=list)

    @property
    def hash(self) -> str:
        """Follows from the height: this chain has no forks."""
        return digest("block", self.height)

    @property
    def time(self) -> int:
        """Unix seconds: that of its burn block."""
        return burn_time(self.burn_height)

    def told(self) -> dict[str, Any]:
        """As the API tells it."""
        return {
            "canonical": True,
            "height": self.height,
            "hash": self.hash,
            "index_block_hash": index_hash(self.height),
            "parent_block_hash": digest("block", self.height - 1),
            "parent_index_block_hash": index_hash(self.height - 1),
            "block_time": self.time,
            "burn_block_height": self.burn_height,
            "burn_block_hash": digest("burn", self.burn_height),
            "burn_block_time": burn_time(self.burn_height),
            "tx_count": len(self.transactions),
        }


def index_hash(height: int) -> str:
    """The index hash of the block of a height."""
    return digest("index", height)


def burn_time(burn_height: int) -> int:
    """Unix seconds of a burn block: one in ten market minutes."""
    return int(_START) + _BURN_SECONDS * (burn_height - plan.FIRST_BURN_HEIGHT)


class Chain:
    """One chain that only grows."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.burn_height = plan.FIRST_BURN_HEIGHT
        self.blocks: list[Block] = []
        self.mined: dict[str, Mined] = {}
        self.pending: dict[str, Transaction] = {}
        self.nonces: dict[str, int] = defaultdict(int)
        self.of_burn_block: dict[int, list[str]] = defaultdict(list)
        self._add()

    def _add(self) -> Block:
        block = Block(len(self.blocks) + 1, self.burn_height)
        self.blocks.append(block)
        self.of_burn_block[self.burn_height].insert(0, block.hash)
        return block

    def mine_burn_block(self) -> None:
        """A burn block, and the Stacks block that begins in it."""
        self.burn_height += 1
        self._add()

    def mine(self) -> None:
        """A block of what waits and has its turn; none where there is nothing."""
        ready = []
        for txid, transaction in sorted(self.pending.items(), key=lambda item: item[1].nonce):
            if transaction.nonce == self.nonces[transaction.sender.text]:
                self.nonces[transaction.sender.text] += 1
                ready.append((txid, transaction))
        if not ready:
            return
        block = self._add()
        for txid, transaction in ready:
            del self.pending[txid]
            mined = self._run(txid, transaction, block)
            block.transactions.append(mined)
            self.mined[txid] = mined

    def _run(self, txid: str, transaction: Transaction, block: Block) -> Mined:
        call = transaction.payload
        assert isinstance(call, ContractCall)
        result, events = self.registry.call(call.function_name, call.arguments, self.burn_height)
        succeeded, index = isinstance(result, ResponseOk), len(block.transactions)
        return Mined(txid, transaction, call, succeeded, serialize(result), events, block, index)

    def find(self, txid: str) -> dict[str, Any] | None:
        """A transaction without its events; None for one that is not known."""
        if txid in self.mined:
            return self.mined[txid].summary()
        if txid in self.pending:
            transaction = self.pending[txid]
            assert isinstance(transaction.payload, ContractCall)
            return waiting(txid, transaction, transaction.payload)
        return None
