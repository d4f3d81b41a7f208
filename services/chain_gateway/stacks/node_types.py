"""What a Stacks node and its API answer, as values. Hashes and txids are 64 hex digits without 0x."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import field
from msgspec.structs import force_setattr

from services.chain_gateway.stacks.clarity import ClarityValue, from_hex
from services.chain_gateway.stacks.node_json import Amount, Told, hash_digits


class NodeInfo(Told, frozen=True):
    """The node's tip, from ``/v2/info``. `stacks_tip` is the tip's block hash."""

    network_id: int
    burn_height: int = field(name="burn_block_height")
    stacks_height: int = field(name="stacks_tip_height")
    stacks_tip: str
    server_version: str | None = None

    def __post_init__(self) -> None:
        self._keep_hashes("stacks_tip")


@dataclass(frozen=True, slots=True)
class Account:
    """An account at the tip; `nonce` is that of its next transaction, the mempool not regarded."""

    balance_ustx: int
    locked_ustx: int
    nonce: int


class Nonces(Told, frozen=True):
    """The API's view of an account's nonces. `possible_next` ignores gaps and may lag behind."""

    possible_next: int = field(name="possible_next_nonce")
    missing: tuple[int, ...] = field(name="detected_missing_nonces")
    mempool: tuple[int, ...] = field(name="detected_mempool_nonces", default=())
    last_executed: int | None = field(name="last_executed_tx_nonce", default=None)
    last_mempool: int | None = field(name="last_mempool_tx_nonce", default=None)


@dataclass(frozen=True, slots=True)
class FeeEstimate:
    """Fees in micro-STX for three degrees of haste."""

    low_ustx: int
    middle_ustx: int
    high_ustx: int


class Block(Told, frozen=True):
    """A Stacks block, from ``/extended/v2/blocks``. `time` is unix seconds; `burn_height` that of the Bitcoin block it
    is anchored to."""

    height: int
    hash: str
    index_hash: str = field(name="index_block_hash")
    parent_hash: str = field(name="parent_block_hash")
    parent_index_hash: str = field(name="parent_index_block_hash")
    time: int = field(name="block_time")
    burn_height: int = field(name="burn_block_height")
    burn_hash: str = field(name="burn_block_hash")
    burn_time: int = field(name="burn_block_time")
    transaction_count: int = field(name="tx_count")
    canonical: bool

    def __post_init__(self) -> None:
        self._keep_hashes("hash", "index_hash", "parent_hash", "parent_index_hash", "burn_hash")


class BurnBlock(Told, frozen=True):
    """A Bitcoin block and the hashes of the Stacks blocks anchored to it, newest first."""

    height: int = field(name="burn_block_height")
    hash: str = field(name="burn_block_hash")
    time: int = field(name="burn_block_time")
    stacks_blocks: tuple[str, ...]

    def __post_init__(self) -> None:
        self._keep_hashes("hash")
        force_setattr(self, "stacks_blocks", tuple(map(hash_digits, self.stacks_blocks)))


class Value(Told, frozen=True):
    """A Clarity value in consensus form, as hex digits with or without 0x, and as text where the API spells it."""

    hex: str
    text: str | None = field(name="repr", default=None)

    def __post_init__(self) -> None:
        # Much quicker than a pattern, which goes from digit to digit.
        bytes.fromhex(self.hex.removeprefix("0x"))

    @property
    def octets(self) -> bytes:
        """The consensus bytes."""
        return bytes.fromhex(self.hex.removeprefix("0x"))


class ContractLog(Told, frozen=True):
    """A value that a contract printed."""

    contract: str = field(name="contract_id")
    topic: str
    value: Value


class AssetMovement(Told, frozen=True):
    """A movement of an asset. `asset_id` is None for STX; `amount` is None for an item that cannot be split."""

    action: str = field(name="asset_event_type")
    asset_id: str | None = None
    sender: str | None = None
    recipient: str | None = None
    told_amount: Amount | None = field(name="amount", default=None)

    def __post_init__(self) -> None:
        for name in ("asset_id", "sender", "recipient"):
            force_setattr(self, name, getattr(self, name) or None)

    @property
    def amount(self) -> int | None:
        """In the asset's base units."""
        return None if self.told_amount is None else int(self.told_amount)


class Event(Told, frozen=True):
    """An event of a transaction: `log` of a contract's print, `asset` of a movement, neither of what we do not use."""

    index: int = field(name="event_index")
    kind: str = field(name="event_type")
    log: ContractLog | None = field(name="contract_log", default=None)
    asset: AssetMovement | None = None

    def __post_init__(self) -> None:
        # A print without its content would be an event passed over.
        if (self.kind == "smart_contract_log") != (self.log is not None):
            raise ValueError("a print and a contract_log go together")


class CallRecord(Told, frozen=True):
    """Which contract function a transaction called."""

    contract: str = field(name="contract_id")
    function: str = field(name="function_name")


class TransactionRecord(Told, frozen=True):
    """A transaction as the API knows it; what concerns blocks is None while it is in no block.

    `status` is the API's ``tx_status``. `events` holds all `event_count` events only where the method that answered
    says so, and none where a block's transactions are listed.
    """

    txid: str = field(name="tx_id")
    status: str = field(name="tx_status")
    kind: str = field(name="tx_type")
    nonce: int
    sender: str = field(name="sender_address")
    told_fee: Amount = field(name="fee_rate")
    sponsor: str | None = field(name="sponsor_address", default=None)
    sponsor_nonce: int | None = None
    canonical: bool = False
    block_hash: str | None = None
    block_height: int | None = None
    burn_height: int | None = field(name="burn_block_height", default=None)
    index: int | None = field(name="tx_index", default=None)
    told_result: Value | None = field(name="tx_result", default=None)
    vm_error: str | None = None
    call: CallRecord | None = field(name="contract_call", default=None)
    replaced_by: str | None = field(name="replaced_by_tx_id", default=None)
    told_event_count: int | None = field(name="event_count", default=None)
    events: tuple[Event, ...] = ()

    def __post_init__(self) -> None:
        for name in ("sponsor", "block_hash", "replaced_by"):
            if getattr(self, name) == "":
                force_setattr(self, name, None)
        self._keep_hashes("txid", "block_hash", "replaced_by")
        if self.block_hash is None:
            for name in ("block_height", "burn_height", "index"):
                force_setattr(self, name, None)
        elif self.block_height is None or self.index is None:
            raise ValueError("in a block without its height or index")

    @property
    def fee_ustx(self) -> int:
        """What it pays for being mined."""
        return int(self.told_fee)

    @property
    def payer(self) -> str:
        """Who paid the fee."""
        return self.sponsor or self.sender

    @property
    def event_count(self) -> int:
        """How many events it has, of whatever kind."""
        return self.told_event_count or 0

    @property
    def result_text(self) -> str:
        """The result as the API spells it; empty where it does not."""
        return "" if self.told_result is None else self.told_result.text or ""

    def result(self) -> ClarityValue | None:
        """What the transaction returned, None while pending; raises `CodecError` when we do not read it."""
        return None if self.told_result is None else from_hex(self.told_result.hex)


class DevnetClock(Told, frozen=True):
    """The devnet's market clock: unix seconds, and market seconds per wall second."""

    market_time: float
    burn_height: int
    speed: float
    held: tuple[str, ...]
