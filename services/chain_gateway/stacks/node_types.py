"""What a Stacks node and its API answer, as values. Hashes and txids are 64 hex digits without 0x."""

from __future__ import annotations

from dataclasses import dataclass

from services.chain_gateway.stacks.clarity import ClarityValue, from_hex
from services.chain_gateway.stacks.node_json import Fields, read_list


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """The node's tip. `stacks_tip` is the tip's block hash."""

    network_id: int
    server_version: str
    burn_height: int
    stacks_height: int
    stacks_tip: str


@dataclass(frozen=True, slots=True)
class Account:
    """An account at the tip; `nonce` is that of its next transaction, the mempool not regarded."""

    balance_ustx: int
    locked_ustx: int
    nonce: int


@dataclass(frozen=True, slots=True)
class Nonces:
    """The API's view of an account's nonces. `possible_next` ignores gaps and may lag behind."""

    last_executed: int | None
    last_mempool: int | None
    possible_next: int
    missing: tuple[int, ...]
    mempool: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FeeEstimate:
    """Fees in micro-STX for three degrees of haste."""

    low_ustx: int
    middle_ustx: int
    high_ustx: int


@dataclass(frozen=True, slots=True)
class Block:
    """A Stacks block. `time` is unix seconds; `burn_height` that of the Bitcoin block it is anchored to."""

    height: int
    hash: str
    index_hash: str
    parent_hash: str
    parent_index_hash: str
    time: int
    burn_height: int
    burn_hash: str
    burn_time: int
    transaction_count: int
    canonical: bool


@dataclass(frozen=True, slots=True)
class BurnBlock:
    """A Bitcoin block and the hashes of the Stacks blocks anchored to it, newest first."""

    height: int
    hash: str
    time: int
    stacks_blocks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ContractLog:
    """A value that a contract printed, in consensus form."""

    index: int
    contract: str
    topic: str
    value: bytes


@dataclass(frozen=True, slots=True)
class AssetEvent:
    """A movement of an asset. `asset_id` is None for STX; `amount` is None for an item that cannot be split."""

    index: int
    kind: str
    asset_event: str
    asset_id: str | None
    sender: str | None
    recipient: str | None
    amount: int | None


@dataclass(frozen=True, slots=True)
class OtherEvent:
    """An event that concerns neither contracts' prints nor assets."""

    index: int
    kind: str


Event = ContractLog | AssetEvent | OtherEvent


@dataclass(frozen=True, slots=True)
class CallRecord:
    """Which contract function a transaction called, with its arguments' consensus bytes in hex."""

    contract: str
    function: str
    arguments_hex: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TransactionRecord:
    """A transaction as the API knows it; the fields about blocks are None while it is in no block.

    `status` is the API's ``tx_status``. `events` holds all `event_count` events only where the method that
    answered says so.
    """

    txid: str
    status: str
    kind: str
    nonce: int
    sender: str
    sponsor: str | None
    sponsor_nonce: int | None
    fee_ustx: int
    canonical: bool
    block_hash: str | None
    block_height: int | None
    block_time: int | None
    burn_height: int | None
    index: int | None
    result_hex: str | None
    result_text: str | None
    vm_error: str | None
    call: CallRecord | None
    replaced_by: str | None
    event_count: int
    events: tuple[Event, ...]

    @property
    def payer(self) -> str:
        """Who paid the fee."""
        return self.sponsor or self.sender

    def result(self) -> ClarityValue | None:
        """What the transaction returned, None while pending; raises `CodecError` when we do not read it."""
        return None if self.result_hex is None else from_hex(self.result_hex)


@dataclass(frozen=True, slots=True)
class DevnetClock:
    """The devnet's market clock: unix seconds, and market seconds per wall second."""

    market_time: float
    burn_height: int
    speed: float
    held: tuple[str, ...]


def read_info(fields: Fields) -> NodeInfo:
    """From ``/v2/info``."""
    return NodeInfo(
        network_id=fields.integer("network_id"),
        server_version=fields.optional_text("server_version") or "",
        burn_height=fields.integer("burn_block_height"),
        stacks_height=fields.integer("stacks_tip_height"),
        stacks_tip=fields.hash("stacks_tip"),
    )


def read_account(fields: Fields) -> Account:
    """From ``/v2/accounts``, whose amounts are hex."""
    return Account(fields.integer("balance"), fields.integer("locked"), fields.integer("nonce"))


def read_nonces(fields: Fields) -> Nonces:
    """From ``/extended/v1/address/.../nonces``."""
    return Nonces(
        last_executed=fields.optional_integer("last_executed_tx_nonce"),
        last_mempool=fields.optional_integer("last_mempool_tx_nonce"),
        possible_next=fields.integer("possible_next_nonce"),
        missing=fields.integers("detected_missing_nonces"),
        mempool=fields.integers("detected_mempool_nonces") if "detected_mempool_nonces" in fields.content else (),
    )


def read_block(fields: Fields) -> Block:
    """From ``/extended/v2/blocks``."""
    return Block(
        height=fields.integer("height"),
        hash=fields.hash("hash"),
        index_hash=fields.hash("index_block_hash"),
        parent_hash=fields.hash("parent_block_hash"),
        parent_index_hash=fields.hash("parent_index_block_hash"),
        time=fields.integer("block_time"),
        burn_height=fields.integer("burn_block_height"),
        burn_hash=fields.hash("burn_block_hash"),
        burn_time=fields.integer("burn_block_time"),
        transaction_count=fields.integer("tx_count"),
        canonical=fields.flag("canonical"),
    )


def read_burn_block(fields: Fields) -> BurnBlock:
    """From ``/extended/v2/burn-blocks``."""
    return BurnBlock(
        height=fields.integer("burn_block_height"),
        hash=fields.hash("burn_block_hash"),
        time=fields.integer("burn_block_time"),
        stacks_blocks=fields.hashes("stacks_blocks"),
    )


def read_transaction(fields: Fields) -> TransactionRecord:
    """From any of the API's answers that hold transactions, mined or not."""
    result = fields.optional_object("tx_result")
    mined = bool(fields.content.get("block_hash"))
    return TransactionRecord(
        txid=fields.hash("tx_id"),
        status=fields.text("tx_status"),
        kind=fields.text("tx_type"),
        nonce=fields.integer("nonce"),
        sender=fields.text("sender_address"),
        sponsor=fields.optional_text("sponsor_address"),
        sponsor_nonce=fields.optional_integer("sponsor_nonce"),
        fee_ustx=fields.integer("fee_rate"),
        canonical=fields.flag("canonical") if "canonical" in fields.content else False,
        block_hash=fields.hash("block_hash") if mined else None,
        block_height=fields.integer("block_height") if mined else None,
        block_time=fields.optional_integer("block_time") if mined else None,
        burn_height=fields.optional_integer("burn_block_height") if mined else None,
        index=fields.integer("tx_index") if mined else None,
        result_hex=None if result is None else result.text("hex"),
        result_text=None if result is None else result.optional_text("repr"),
        vm_error=fields.optional_text("vm_error"),
        call=_read_call(fields.optional_object("contract_call")),
        replaced_by=fields.optional_hash("replaced_by_tx_id"),
        event_count=fields.optional_integer("event_count") or 0,
        events=read_list(fields, "events", read_event) if "events" in fields.content else (),
    )


def read_devnet_clock(fields: Fields) -> DevnetClock:
    """From ``/devnet/clock``."""
    return DevnetClock(
        market_time=fields.number("market_time"),
        burn_height=fields.integer("burn_height"),
        speed=fields.number("speed"),
        held=tuple(str(reason) for reason in fields.items("held")),
    )


def read_event(fields: Fields) -> Event:
    """One event of a transaction."""
    index, kind = fields.integer("event_index"), fields.text("event_type")
    if kind == "smart_contract_log":
        log = fields.object("contract_log")
        return ContractLog(index, log.text("contract_id"), log.text("topic"), log.object("value").octets("hex"))
    if kind in ("stx_asset", "fungible_token_asset", "non_fungible_token_asset"):
        asset = fields.object("asset")
        return AssetEvent(
            index=index,
            kind=kind,
            asset_event=asset.text("asset_event_type"),
            asset_id=asset.optional_text("asset_id"),
            sender=asset.optional_text("sender"),
            recipient=asset.optional_text("recipient"),
            amount=asset.optional_integer("amount"),
        )
    return OtherEvent(index, kind)


def _read_call(fields: Fields | None) -> CallRecord | None:
    if fields is None:
        return None
    arguments = () if fields.content.get("function_args") is None else tuple(fields.objects("function_args"))
    return CallRecord(
        contract=fields.text("contract_id"),
        function=fields.text("function_name"),
        arguments_hex=tuple(argument.text("hex") for argument in arguments),
    )
