"""Inputs: recorded good ones, whole, cut, flipped, spliced and stuffed with absurd lengths; deep ones; any bytes."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any, Final

from hypothesis import strategies as st

from services.chain_gateway.stacks.clarity import KeyOrder, deserialize, serialize
from services.chain_gateway.stacks.payload import write_payload
from services.chain_gateway.stacks.post_condition import write_post_condition
from services.chain_gateway.stacks.spending import write_condition
from services.chain_gateway.stacks.transaction import deserialize_transaction, serialize_transaction
from tests.unit.chain_gateway import stacks_strategies as strategies
from tests.unit.chain_gateway.node_answers import block_shape, mined_shape, pending_shape

_VECTORS: Final = Path(__file__).parents[1] / "vectors" / "data" / "stacks"
_STUFFING: Final = tuple(
    bytes.fromhex(text)
    for text in (
        "00",
        "ff",
        "00000000",
        "ffffffff",
        "7fffffff",
        "00100000",
        "00100001",
        "0bffffffff",
        "0b00100000",
        "0cffffffff",
        "0c00000001",
        "02ffffffff",
        "0effffffff",
        "0d00000001",
        "0a",
        "07",
        "08",
        "0b00000001",
        "0c000000010161",
        "80",
        "c3a9",
        "f09f9a80",
        "eda080",
        "c080",
    )
)
_WRAPPERS: Final = tuple(bytes.fromhex(text) for text in ("0a", "07", "08", "0b00000001", "0c000000010161"))
_TEXTS: Final = (
    b"null",
    b"[" * 2_000,
    b'{"a":',
    b"1e999",
    b"-1",
    b'"0x"',
    b"9" * 5_000,
    b'"\\ud800"',
    b"S",
    b".",
    b"::",
    b"0x",
    b"O",
    b"l",
    b"\xc3\xa9",
    b"\x00",
    b" ",
    b"\n",
    b"0" * 60,
)


@functools.cache
def recorded() -> dict[str, tuple[bytes, ...]]:
    """Good inputs by the name of the target that they are for."""
    sections = {name: rows for name, rows in _document("transactions").items() if isinstance(rows, list)}
    entries = [entry for name, rows in sections.items() if name != "tampered" for entry in rows]
    signed = sorted({bytes.fromhex(entry["signed_hex"]) for entry in entries})
    transactions = [deserialize_transaction(data) for data in signed]
    collated = [bytes.fromhex(entry["hex"]) for entry in _document("clarity_values")["values"]]
    values = [serialize(deserialize(data, KeyOrder.COLLATED)) for data in collated]
    addresses = [entry["address"].encode() for entry in _document("addresses")["raw_hash"]]
    messages = _document("messages")
    plain = [bytes.fromhex(one["signature_rsv"]) + one["message"].encode() for one in messages["plain"]]
    signatures = [bytes.fromhex(one["hash"] + one["signature_rsv"]) for one in messages["plain"]]
    return {
        "transaction": tuple(signed),
        "value": tuple(values),
        "collated value": tuple(collated),
        "hex": tuple(value.hex().encode() for value in values),
        "post-condition": tuple(write_post_condition(one) for each in transactions for one in each.post_conditions),
        "payload": tuple(write_payload(each.payload) for each in transactions),
        "spending condition": tuple(write_condition(each.origin) for each in transactions),
        "address": tuple(addresses),
        "principal": tuple(address + b".policy-registry" for address in addresses),
        "asset": tuple(address + b".sbtc-token::sbtc-token" for address in addresses),
        "structured message": tuple(one[:65] + value + value for one, value in zip(plain, values, strict=False)),
        "plain message": tuple(plain),
        "signature": tuple(signatures),
        "transaction of a node": tuple(map(_json, (mined_shape(1, 2, 2), mined_shape(2), pending_shape(3)))),
        "block of a node": (_json(block_shape(4)),),
        "rejection of a node": tuple(
            _json(
                {"error": "transaction rejected", "reason": reason, "reason_data": {"expected": 1}, "txid": "ab" * 32}
            )
            for reason in ("BadNonce", "ServerFailureOther")
        ),
        "public key": tuple(bytes.fromhex(one["public_key"]) for one in messages["plain"]),
    }


def _json(content: object) -> bytes:
    return json.dumps(content).encode()


def _document(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((_VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    return document


_GENERATED: Final = {
    "transaction": strategies.unsigned_transactions().map(serialize_transaction),
    "value": strategies.values.map(serialize),
}


@st.composite
def inputs(draw: st.DrawFn, target: str) -> bytes:
    """One input for a target."""
    good = recorded()[target]
    data = draw(st.sampled_from(good))
    if target in _GENERATED and draw(st.integers(0, 5)) == 0:
        data = draw(_GENERATED[target])
    match draw(st.integers(0, 7)):
        case 0:
            return data[: draw(st.integers(0, len(data)))]
        case 1:
            return _flipped(data, draw(st.lists(st.integers(0, max(0, len(data) * 8 - 1)), min_size=1, max_size=3)))
        case 2:
            other = draw(st.sampled_from(good))
            return data[: draw(st.integers(0, len(data)))] + other[draw(st.integers(0, len(other))) :]
        case 3:
            start, length = draw(st.integers(0, len(data))), draw(st.integers(0, 8))
            return data[:start] + draw(st.sampled_from(_STUFFING + _TEXTS)) + data[start + length :]
        case 4:
            return draw(st.binary(max_size=300))
        case 5:
            head = data[: draw(st.integers(0, min(len(data), 60)))]
            return head + draw(st.sampled_from(_WRAPPERS)) * draw(st.sampled_from((1, 31, 32, 33, 5_000))) + data
        case 6:
            head = data[: draw(st.integers(0, min(len(data), 200)))]
            return head + draw(st.sampled_from(_STUFFING)) * draw(st.sampled_from((2, 100, 20_000)))
        case _:
            return data


def _flipped(data: bytes, bits: list[int]) -> bytes:
    changed = bytearray(data)
    for bit in bits:
        if changed:
            changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
