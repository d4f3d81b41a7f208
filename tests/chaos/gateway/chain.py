"""What the chain itself says, read from the node without the gateway's help."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from deploy.devnet.driver import DevnetClient
from services.chain_gateway.stacks.c32 import parse_address
from services.chain_gateway.stacks.clarity import (
    ClarityValue,
    StandardPrincipal,
    StringAscii,
    TupleValue,
    UInt,
    deserialize,
    serialize,
)

_BLOCKS_PER_PAGE: Final = 30
_TRANSACTIONS_PER_PAGE: Final = 50
_EVENTS: Final = 100
_AT_ONCE: Final = 8
SUCCESS: Final = "success"
_CONTRACTS: Final = ("parameter", "oracle", "liquidity-pool-vault", "policy-registry")


@dataclass(frozen=True)
class MinedTransaction:
    """A transaction in a canonical block. `function` is `contract.function` of ours, or the kind of transaction."""

    txid: str
    sender: str
    nonce: int
    status: str
    function: str
    arguments: tuple[str, ...]
    stacks_height: int


@dataclass(frozen=True)
class EventRow:
    """A print of our contracts in a canonical block, or what a key of ours paid where there is none; hashes and `value`
    in hexadecimal without 0x."""

    block_hash: str
    txid: str
    event_index: int
    contract: str
    value: str


@dataclass(frozen=True)
class ChainReading:
    """The whole canonical chain in order. `waiting`: nonces in the mempool, by account."""

    transactions: tuple[MinedTransaction, ...]
    events: tuple[EventRow, ...]
    waiting: dict[str, tuple[int, ...]]


class ChainMoved(Exception):
    """The chain went on while it was read."""


def uint_of(value: ClarityValue) -> int:
    """The number in a uint."""
    assert isinstance(value, UInt), value
    return value.value


def policy_event(row: EventRow) -> tuple[str, int]:
    """Topic of an event of the registry, and the on-chain id that it names."""
    value = deserialize(bytes.fromhex(row.value))
    assert isinstance(value, TupleValue), row
    topic = value["topic"]
    assert isinstance(topic, StringAscii), row
    return topic.value, uint_of(value["id"])


async def read_chain(devnet: DevnetClient, deployer: str, addresses: Sequence[str]) -> ChainReading:
    """Reads every block; ChainMoved when that was not one chain."""
    tip = await devnet.get("/extended/v2/blocks/latest")
    gate = asyncio.Semaphore(_AT_ONCE)

    async def gated(path: str) -> dict[str, Any]:
        async with gate:
            return await devnet.get(path)

    offsets = range(0, int(tip["height"]), _BLOCKS_PER_PAGE)
    paths = [f"/extended/v2/blocks?limit={_BLOCKS_PER_PAGE}&offset={offset}" for offset in offsets]
    pages = await asyncio.gather(*(gated(path) for path in paths))
    blocks = sorted((block for page in pages for block in page["results"]), key=lambda block: int(block["height"]))
    _check_linked(blocks)
    contents = await asyncio.gather(*(_content(gated, block) for block in blocks if block["tx_count"]))
    transactions = [transaction for content in contents for transaction in content]
    waiting = {}
    for address in addresses:
        nonces = await devnet.get(f"/extended/v1/address/{address}/nonces")
        waiting[address] = tuple(sorted(int(nonce) for nonce in nonces["detected_mempool_nonces"]))
    if (await devnet.get("/extended/v2/blocks/latest"))["hash"] != tip["hash"]:
        raise ChainMoved
    mined = tuple(_mined(one, deployer) for one in transactions)
    events = tuple(row for one in transactions for row in _events(one, deployer) or _fee(one, addresses))
    return ChainReading(mined, events, waiting)


def _check_linked(blocks: Sequence[dict[str, Any]]) -> None:
    if any(child["parent_block_hash"] != parent["hash"] for parent, child in itertools.pairwise(blocks)):
        raise ChainMoved


async def _content(gated: Any, block: dict[str, Any]) -> list[dict[str, Any]]:
    """The transactions of a block in order, with all their events."""
    listed: list[dict[str, Any]] = []
    while len(listed) < block["tx_count"]:
        query = f"limit={_TRANSACTIONS_PER_PAGE}&offset={len(listed)}"
        page = await gated(f"/extended/v2/blocks/{block['hash']}/transactions?{query}")
        if not page["results"]:
            raise ChainMoved
        listed += page["results"]
    return [await _complete(gated, one) if one["event_count"] else one for one in listed]


async def _complete(gated: Any, listed: dict[str, Any]) -> dict[str, Any]:
    whole: dict[str, Any] = await gated(f"/extended/v1/tx/{listed['tx_id']}?event_limit={_EVENTS}")
    while len(whole["events"]) < whole["event_count"]:
        query = f"tx_id={listed['tx_id']}&limit={_EVENTS}&offset={len(whole['events'])}"
        more = (await gated(f"/extended/v1/tx/events?{query}"))["events"]
        if not more:
            raise ChainMoved
        whole["events"] += more
    return whole


def _mined(transaction: dict[str, Any], deployer: str) -> MinedTransaction:
    call = transaction.get("contract_call")
    function, arguments = str(transaction["tx_type"]), list[str]()
    if call is not None:
        function = f"{call['contract_id']}.{call['function_name']}".removeprefix(f"{deployer}.")
        arguments = [_digits(one["hex"]) for one in call["function_args"]]
    return MinedTransaction(
        txid=_digits(transaction["tx_id"]),
        sender=transaction["sender_address"],
        nonce=int(transaction["nonce"]),
        status=transaction["tx_status"],
        function=function,
        arguments=tuple(arguments),
        stacks_height=int(transaction["block_height"]),
    )


def _events(transaction: dict[str, Any], deployer: str) -> list[EventRow]:
    """The prints of our contracts; what an aborted transaction printed never happened."""
    if transaction["tx_status"] != SUCCESS or not transaction["event_count"]:
        return []
    rows = []
    for event in transaction["events"]:
        log = event.get("contract_log")
        if log is None or log["topic"] != "print":
            continue
        address, _, name = log["contract_id"].partition(".")
        if address == deployer and name in _CONTRACTS:
            block, txid = _digits(transaction["block_hash"]), _digits(transaction["tx_id"])
            rows.append(EventRow(block, txid, int(event["event_index"]), name, _digits(log["value"]["hex"])))
    return rows


def _fee(transaction: dict[str, Any], addresses: Sequence[str]) -> list[EventRow]:
    """What a transaction without prints of ours cost, if one of these accounts paid."""
    payer, fee = transaction.get("sponsor_address") or transaction["sender_address"], int(transaction["fee_rate"])
    if payer not in addresses or not fee:
        return []
    told = TupleValue({"payer": StandardPrincipal(parse_address(payer)), "fee": UInt(fee)})
    block, txid = _digits(transaction["block_hash"]), _digits(transaction["tx_id"])
    return [EventRow(block, txid, 2**31 - 1, "", serialize(told).hex())]


def _digits(text: str) -> str:
    return text.removeprefix("0x")
