"""Signed messages, plain and structured, and those that must not verify."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from services.chain_gateway.stacks.errors import SignatureError
from services.chain_gateway.stacks.keys import is_compressed, recover, verify
from services.chain_gateway.stacks.messages import (
    encode_plain,
    encode_structured,
    plain_hash,
    structured_hash,
    value_hash,
)
from services.chain_gateway.stacks.signer import KeySigner
from tests.vectors.addresses import check_accounts
from tests.vectors.descriptions import key_order, to_value
from tests.vectors.entry import Entry, check_sections


def recognises(document: dict[str, Any]) -> bool:
    """Whether the document holds signed messages."""
    return "plain" in document or "structured" in document


def check(document: dict[str, Any]) -> Iterator[Entry]:
    """Checks each entry of the document."""
    return check_sections(
        document,
        {
            "plain": _plain,
            "structured": _structured,
            "plain_tampered": _plain_refused,
            "structured_tampered": _structured_refused,
            "plain_malleable_informational": _plain_refused,
            "structured_malleable_informational": _structured_refused,
        },
    )


def _plain(entry: Entry) -> None:
    entry.equal("encoded_hex", encode_plain(entry["message"]).hex())
    _signed(entry, plain_hash(entry["message"]))


def _structured(entry: Entry) -> None:
    domain, message = to_value(entry["domain"]), to_value(entry["message"])
    order = key_order(entry, domain, message)
    entry.equal("domain_hash", value_hash(domain, order).hex())
    entry.equal("message_hash", value_hash(message, order).hex())
    entry.equal("encoded_hex", encode_structured(domain, message, order).hex())
    _signed(entry, structured_hash(domain, message, order))


def _signed(entry: Entry, digest: bytes) -> None:
    entry.equal("hash", digest.hex())
    signer = KeySigner.from_hex(entry["private_key"])
    entry.equal("public_key", signer.public_key.hex())
    check_accounts(entry, signer.public_key)
    entry.equal("signature_rsv", signer.sign_digest(digest).hex())
    signature = bytes.fromhex(entry["signature_rsv"])
    verify(digest, signature, signer.public_key)
    recovered = recover(digest, signature, is_compressed(signer.public_key))
    entry.require("the signature recovers to the key", recovered == signer.public_key)


def _plain_refused(entry: Entry) -> None:
    _refused(entry, plain_hash(entry["message"]))
    entry.peer("peer_verifies", "recovers_to_public_key")


def _structured_refused(entry: Entry) -> None:
    domain, message = to_value(entry["domain"]), to_value(entry["message"])
    _refused(entry, structured_hash(domain, message, key_order(entry, domain, message)))
    entry.peer("peer_verifies", "peer_recovers_public_key", "recovers_to_public_key")


def _refused(entry: Entry, digest: bytes) -> None:
    signature, key = bytes.fromhex(entry["signature_rsv"]), bytes.fromhex(entry["public_key"])
    entry.refused("signature", lambda: verify(digest, signature, key), SignatureError)
