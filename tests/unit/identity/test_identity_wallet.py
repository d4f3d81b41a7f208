"""Addresses, message digests and recovery against recorded vectors and the gateway's codec, an implementation apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chain_gateway.stacks.c32 import Address, AddressVersion
from services.chain_gateway.stacks.messages import plain_hash, sign_plain
from services.chain_gateway.stacks.signer import KeySigner
from services.identity.domain.errors import MalformedAddress, WrongSignature
from services.identity.domain.wallet import Network, address_of, check_address, plain_message_hash
from services.identity.recovery import check_signed_by

_DOCUMENT: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "data" / "stacks" / "messages.json").read_text()
)
_NETWORKS = {"mainnet": Network.MAINNET, "testnet": Network.TESTNET}
_HASHES = st.binary(min_size=20, max_size=20) | st.integers(0, 2**64).map(lambda number: number.to_bytes(20, "big"))


@pytest.mark.parametrize("entry", _DOCUMENT["plain"], ids=range(len(_DOCUMENT["plain"])))
def test_recorded_signatures_are_accepted(entry: dict[str, Any]) -> None:
    """Digest and both addresses are the recorded ones; the signature proves the address on its own network."""
    assert plain_message_hash(entry["message"]).hex() == entry["hash"]
    signature = bytes.fromhex(entry["signature_rsv"])
    for field, network in _NETWORKS.items():
        assert address_of(bytes.fromhex(entry["public_key"]), network) == entry[field]
        check_signed_by(entry[field], entry["message"], signature, network)


@pytest.mark.parametrize("section", ["plain_tampered", "plain_malleable_informational"])
def test_tampered_signatures_are_refused(section: str) -> None:
    """No recorded change of r, s, recovery id or message passes, nor the twins that other verifiers accept."""
    for entry in _DOCUMENT[section]:
        principal = address_of(bytes.fromhex(entry["public_key"]), Network.TESTNET)
        with pytest.raises(WrongSignature):
            check_signed_by(principal, entry["message"], bytes.fromhex(entry["signature_rsv"]), Network.TESTNET)


def test_a_key_of_the_uncompressed_spelling_signs_for_its_own_address() -> None:
    """A key has two addresses; its signature proves either and no other."""
    secret = bytes(range(1, 33))
    plain, compressed = KeySigner(secret), KeySigner(secret + b"\x01")
    signature = sign_plain(plain, "text")
    for signer in (plain, compressed):
        check_signed_by(address_of(signer.public_key, Network.TESTNET), "text", signature, Network.TESTNET)
    other = address_of(KeySigner(bytes(range(2, 34)) + b"\x01").public_key, Network.TESTNET)
    with pytest.raises(WrongSignature):
        check_signed_by(other, "text", signature, Network.TESTNET)


@given(_HASHES, st.sampled_from(Network))
def test_addresses_are_those_of_the_codec(key_hash: bytes, network: Network) -> None:
    """Every canonical spelling, leading zeros too, is accepted on its network and refused on the other."""
    text = Address(network, key_hash).text
    assert check_address(text, network) == text
    other = Network.TESTNET if network is Network.MAINNET else Network.MAINNET
    with pytest.raises(MalformedAddress):
        check_address(text, other)


@given(_HASHES, st.sampled_from([AddressVersion.MAINNET_MULTI_SIG, AddressVersion.TESTNET_MULTI_SIG]))
def test_addresses_of_several_keys_are_refused(key_hash: bytes, version: AddressVersion) -> None:
    """One signature cannot speak for several keys."""
    for network in Network:
        with pytest.raises(MalformedAddress):
            check_address(Address(version, key_hash).text, network)


@given(_HASHES, st.data())
def test_a_misspelled_address_is_refused(key_hash: bytes, data: st.DataObject) -> None:
    """One character replaced, left out or added is never another valid address."""
    text = Address(Network.TESTNET, key_hash).text
    position = data.draw(st.integers(0, len(text) - 1))
    character = data.draw(st.sampled_from("0123456789ABCDEFGHJKMNPQRSTVWXYZILOUabz .é"))
    wrong = [
        text[:position] + character + text[position + 1 :],
        text[:position] + text[position + 1 :],
        text[:position] + character + text[position:],
    ]
    for spelling in wrong:
        if spelling != text:
            with pytest.raises(MalformedAddress):
                check_address(spelling, Network.TESTNET)


@given(st.text(max_size=300))
def test_message_digests_are_those_of_the_codec(text: str) -> None:
    """Any text, also of more than 252 bytes of UTF-8, has the digest that wallets sign."""
    assert plain_message_hash(text) == plain_hash(text)


def test_long_messages_have_the_codecs_digest() -> None:
    """The length is right at each width of the varint."""
    for length in (0xFC, 0xFD, 0xFFFF, 0x1_0000):
        assert plain_message_hash("x" * length) == plain_hash("x" * length)
