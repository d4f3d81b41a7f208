"""What is fuzzed: each target reads one input, and ends in a value that writes the same bytes, or in its error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from services.chain_gateway.stacks.c32 import parse_address
from services.chain_gateway.stacks.clarity import KeyOrder, deserialize, from_hex, parse_principal, serialize, to_hex
from services.chain_gateway.stacks.clarity_text import render
from services.chain_gateway.stacks.errors import CodecError
from services.chain_gateway.stacks.keys import check_public_key, check_signature, recover
from services.chain_gateway.stacks.messages import recover_plain, recover_structured
from services.chain_gateway.stacks.node_errors import NodeError
from services.chain_gateway.stacks.node_http import rejection
from services.chain_gateway.stacks.node_json import read
from services.chain_gateway.stacks.node_types import Block, TransactionRecord
from services.chain_gateway.stacks.payload import read_payload, write_payload
from services.chain_gateway.stacks.post_condition import parse_asset, read_post_condition, write_post_condition
from services.chain_gateway.stacks.reader import Reader
from services.chain_gateway.stacks.spending import read_condition, write_condition
from services.chain_gateway.stacks.transaction import deserialize_transaction, serialize_transaction
from services.chain_gateway.stacks.transaction_signing import verify_transaction


class NotCanonical(AssertionError):
    """Something was read that is not written back to what it was read from."""


@dataclass(frozen=True)
class Target:
    """`read` takes an input, raises one of REFUSED to refuse it, and NotCanonical or anything else when it is wrong.

    `share`: how many inputs it gets for one of the others.
    """

    name: str
    read: Callable[[bytes], None]
    share: int = 1


def _require(same: bool, what: str) -> None:
    if not same:
        raise NotCanonical(what)


def _transaction(data: bytes) -> None:
    transaction = deserialize_transaction(data)
    # A copy has to write itself anew: what was read keeps the bytes that it was read from.
    copy = replace(transaction)
    _require(serialize_transaction(copy) == data and copy.txid == transaction.txid, "transaction")
    _require(copy == transaction and hash(copy) == hash(transaction), "equality of transactions")
    _require(parse_address(transaction.sender.text) == transaction.sender, "sender")
    verify_transaction(transaction)


def _value(data: bytes) -> None:
    value = deserialize(data)
    _require(serialize(value) == data, "value")
    _require(from_hex(to_hex(value)) == value and hash(from_hex(data.hex())) == hash(value), "hex of a value")
    render(value)


def _collated_value(data: bytes) -> None:
    _require(serialize(deserialize(data, KeyOrder.COLLATED), KeyOrder.COLLATED) == data, "value in the peer's order")


def _hex(data: bytes) -> None:
    text = _text(data)
    _require(to_hex(from_hex(text)).removeprefix("0x") == text.removeprefix("0x").lower(), "hex")


def _post_condition(data: bytes) -> None:
    reader = Reader(data)
    condition = read_post_condition(reader)
    _require(write_post_condition(condition) == data[: reader.offset], "post-condition")
    reader.end()


def _payload(data: bytes) -> None:
    reader = Reader(data)
    payload = read_payload(reader)
    _require(write_payload(payload) == data[: reader.offset], "payload")
    reader.end()


def _condition(data: bytes) -> None:
    reader = Reader(data)
    condition = read_condition(reader)
    _require(write_condition(condition) == data[: reader.offset], "spending condition")
    reader.end()


def _address(data: bytes) -> None:
    _require(parse_address(_text(data)).text == _text(data), "address")


def _principal(data: bytes) -> None:
    _require(parse_principal(_text(data)).text == _text(data), "principal")


def _asset(data: bytes) -> None:
    _require(parse_asset(_text(data)).text == _text(data), "asset")


def _structured(data: bytes) -> None:
    """A domain, a message and a signature, as a stranger would send them."""
    reader = Reader(data)
    signature = reader.take(min(65, reader.remaining))
    half = reader.remaining // 2
    recover_structured(deserialize(reader.take(half)), deserialize(reader.rest()), signature)


def _plain(data: bytes) -> None:
    recover_plain(_text(data[65:]), data[:65])


def _signature(data: bytes) -> None:
    _require(check_signature(data[32:]) == data[32:], "signature")
    recover(data[:32], data[32:])


def _public_key(data: bytes) -> None:
    _require(check_public_key(data) == data, "public key")


def _record(data: bytes) -> None:
    """A transaction as a node tells of it."""
    record = read(TransactionRecord, data, "transaction")
    result = record.result()
    if result is not None:
        render(result)
    for event in record.events:
        if event.log is not None:
            _value(event.log.value.octets)


def _block(data: bytes) -> None:
    read(Block, data, "block")


def _rejection(data: bytes) -> None:
    raise rejection(data)


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="surrogateescape")


TARGETS = (
    Target("transaction", _transaction, 8),
    Target("value", _value, 8),
    Target("collated value", _collated_value),
    Target("hex", _hex),
    Target("post-condition", _post_condition, 2),
    Target("payload", _payload),
    Target("spending condition", _condition),
    Target("address", _address, 2),
    Target("principal", _principal),
    Target("asset", _asset),
    Target("structured message", _structured, 2),
    Target("plain message", _plain),
    Target("signature", _signature),
    Target("public key", _public_key),
    Target("transaction of a node", _record, 2),
    Target("block of a node", _block),
    Target("rejection of a node", _rejection),
)

REFUSED = (CodecError, NodeError)
