"""Addresses: from keys, from hashes, and those to refuse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from services.chain_gateway.stacks.c32 import Address, AddressVersion, parse_address
from services.chain_gateway.stacks.errors import CodecError
from services.chain_gateway.stacks.keys import address_of, hash160, is_compressed
from services.chain_gateway.stacks.signer import KeySigner
from tests.vectors.entry import Entry, check_sections

_C32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def recognises(document: dict[str, Any]) -> bool:
    """Whether the document holds addresses."""
    return "raw_hash" in document or "wrong_version" in document


def check(document: dict[str, Any]) -> Iterator[Entry]:
    """Checks each entry of the document."""
    return check_sections(
        document,
        {
            "valid": _valid,
            "raw_hash": _raw_hash,
            "invalid": _invalid,
            "wrong_version": _wrong_version,
            "lenient_informational": _lenient,
        },
    )


def check_accounts(entry: Entry, public_key: bytes) -> None:
    """The two addresses of a key, both ways."""
    for name, version in (
        ("mainnet", AddressVersion.MAINNET_SINGLE_SIG),
        ("testnet", AddressVersion.TESTNET_SINGLE_SIG),
    ):
        address = address_of(public_key, version)
        entry.equal(name, address.text)
        entry.require(f"{name} reads back", parse_address(entry[name]) == address)


def _valid(entry: Entry) -> None:
    signer = KeySigner.from_hex(entry["private_key"])
    entry.equal("public_key", signer.public_key.hex())
    entry.equal("compressed", is_compressed(signer.public_key))
    entry.equal("hash160", hash160(signer.public_key).hex())
    check_accounts(entry, signer.public_key)


def _raw_hash(entry: Entry) -> None:
    address = Address(entry["version"], bytes.fromhex(entry["hash160"]))
    entry.equal("address", address.text)
    entry.require("address reads back", parse_address(entry["address"]) == address)


def _invalid(entry: Entry) -> None:
    entry.refused("address", lambda: parse_address(entry["address"]), CodecError)
    entry.peer("peer_validateStacksAddress")


def _wrong_version(entry: Entry) -> None:
    entry.refused("address", lambda: parse_address(entry["address"]), CodecError)
    entry.require("version is the second letter", entry["address"][1] == _C32[entry["version"]])
    entry.require("version is not an account's", entry["version"] not in set(AddressVersion))
    entry.peer("peer_validateStacksAddress")


def _lenient(entry: Entry) -> None:
    entry.refused("address", lambda: parse_address(entry["address"]), CodecError)
    entry.equal("canonical", parse_address(entry["canonical"]).text)
    entry.peer("peer_validateStacksAddress")
