"""Clarity values: bytes both ways, text, and malformed bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from services.chain_gateway.stacks.clarity import deserialize, serialize
from services.chain_gateway.stacks.clarity_text import render
from services.chain_gateway.stacks.errors import CodecError
from tests.vectors.descriptions import key_order, to_value
from tests.vectors.entry import Entry, check_sections


def recognises(document: dict[str, Any]) -> bool:
    """Whether the document holds Clarity values."""
    return "values" in document or "malformed" in document


def check(document: dict[str, Any]) -> Iterator[Entry]:
    """Checks each entry of the document."""
    return check_sections(document, {"values": _value, "malformed": _malformed})


def _value(entry: Entry) -> None:
    value = to_value(entry["value"])
    order = key_order(entry, value)
    entry.equal("repr", render(value))
    entry.equal("hex", serialize(value, order).hex())
    data = bytes.fromhex(entry["hex"])
    entry.require("hex reads back to the value", deserialize(data, order) == value)
    entry.refused("one byte less", lambda: deserialize(data[:-1], order), CodecError)
    entry.refused("one byte more", lambda: deserialize(data + b"\0", order), CodecError)


def _malformed(entry: Entry) -> None:
    entry.refused("hex", lambda: deserialize(bytes.fromhex(entry["hex"])), CodecError)
    if not entry["peer_threw"]:
        entry.notes.append("the peer does not throw; we refuse")
