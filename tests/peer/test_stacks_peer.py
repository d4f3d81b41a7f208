"""Ours against the Stacks JavaScript libraries, on values and transactions that neither has seen before."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from services.chain_gateway.stacks.c32 import parse_address
from services.chain_gateway.stacks.clarity import ClarityValue, deserialize, serialize
from services.chain_gateway.stacks.clarity_text import render
from services.chain_gateway.stacks.errors import CodecError, SignatureError
from services.chain_gateway.stacks.keys import compress, recover, verify
from services.chain_gateway.stacks.messages import plain_hash, structured_hash
from services.chain_gateway.stacks.payload import ContractCall, Payload, TokenTransfer
from services.chain_gateway.stacks.post_condition import write_post_condition
from services.chain_gateway.stacks.signer import KeySigner
from services.chain_gateway.stacks.spending import SpendingCondition
from services.chain_gateway.stacks.transaction import Transaction, deserialize_transaction, serialize_transaction
from services.chain_gateway.stacks.transaction_signing import verify_transaction
from tests.peer import describe
from tests.peer.cases import Case, cases, clear_values, private_key
from tests.peer.stacks import PeerRefused, StacksPeer
from tests.unit.chain_gateway.stacks_strategies import addresses, signers

_MANY = settings(max_examples=200, deadline=None)
_SOME = settings(max_examples=60, deadline=None)


@pytest.fixture(scope="module")
def peer() -> Iterator[StacksPeer]:
    """The other implementation."""
    with StacksPeer() as process:
        yield process


@_MANY
@given(case=cases())
def test_both_sign_the_same_transaction(peer: StacksPeer, case: Case) -> None:
    """Proves that what we write and sign is, byte for byte, what the peer makes of the same wish, and back."""
    ours = case.signed()
    data = serialize_transaction(ours).hex()
    theirs = peer.ask("build", description=case.description())
    assert theirs == {"hex": data, "txid": ours.txid}
    assert deserialize_transaction(bytes.fromhex(theirs["hex"])) == ours
    read = peer.ask("read", hex=data)
    assert (read["txid"], read["hex"]) == (ours.txid, data)
    assert read["fields"] == _fields(ours)
    assert set(verify_transaction(ours).origin_keys) == {signer.public_key for signer in case.origin.present}


def _fields(transaction: Transaction) -> dict[str, Any]:
    return {
        "tx_version": transaction.network.version,
        "chain_id": transaction.network.chain_id,
        "anchor_mode": transaction.anchor_mode,
        "post_condition_mode": transaction.post_condition_mode,
        "post_conditions": [write_post_condition(one).hex() for one in transaction.post_conditions],
        "origin": _account(transaction.origin),
        "sponsor": None if transaction.sponsor is None else _account(transaction.sponsor),
        "payload": _payload(transaction.payload),
    }


def _account(condition: SpendingCondition) -> dict[str, Any]:
    paid = {"nonce": str(condition.nonce), "fee": str(condition.fee)}
    return {"hash_mode": condition.hash_mode, "signer": condition.signer.hex(), **paid}


def _payload(payload: Payload) -> dict[str, Any]:
    if isinstance(payload, TokenTransfer):
        memo = payload.memo.decode("utf-8")
        return {"recipient": payload.recipient.text, "amount": str(payload.amount_ustx), "memo": memo}
    if isinstance(payload, ContractCall):
        arguments = [serialize(argument).hex() for argument in payload.arguments]
        return {"contract": payload.contract.text, "function": payload.function_name, "arguments": arguments}
    return {"name": payload.contract_name, "code": payload.code, "clarity_version": payload.clarity_version}


@_MANY
@given(value=clear_values)
def test_both_write_the_same_value(peer: StacksPeer, value: ClarityValue) -> None:
    """Proves that bytes and text of a Clarity value are the peer's, and that each reads the other's."""
    ours = {"hex": serialize(value).hex(), "text": render(value)}
    theirs = peer.ask("value", value=describe.value(value))
    assert theirs == ours
    back = deserialize(bytes.fromhex(theirs["hex"]))
    assert back == value
    assert peer.ask("read_value", hex=ours["hex"]) == {"hex": ours["hex"], "text": render(back)}


@_SOME
@given(value=clear_values, data=st.data())
def test_what_the_peer_refuses_we_refuse(peer: StacksPeer, value: ClarityValue, data: st.DataObject) -> None:
    """Proves that no damaged value is read here that the peer throws at, nor read as anything but what it says."""
    damaged = bytearray(serialize(value))
    bit = data.draw(st.integers(0, len(damaged) * 8 - 1))
    damaged[bit // 8] ^= 1 << bit % 8
    try:
        ours = deserialize(bytes(damaged))
    except CodecError:
        return
    assert peer.ask("read_value", hex=damaged.hex())["hex"] == serialize(ours).hex() == damaged.hex()


@_SOME
@given(signer=signers, message=st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_both_sign_the_same_message(peer: StacksPeer, signer: KeySigner, message: str) -> None:
    """Proves digest and signature of plain messages, and that each recovers the other's key."""
    theirs = peer.ask("plain", key=private_key(signer), message=message)
    digest = plain_hash(message)
    assert theirs["hash"] == digest.hex()
    assert theirs["signature"] == signer.sign_digest(digest).hex()
    assert recover(digest, bytes.fromhex(theirs["signature"])) == compress(signer.public_key)
    found = peer.ask("recover", hash=theirs["hash"], signature=theirs["signature"])
    assert found["public_key"] == compress(signer.public_key).hex()


@_SOME
@given(signer=signers, value=clear_values)
def test_both_sign_the_same_structured_data(peer: StacksPeer, signer: KeySigner, value: ClarityValue) -> None:
    """Proves digest and signature of SIP-018, and that a signature's high-s twin is refused here."""
    domain = deserialize(bytes.fromhex(_DOMAIN))
    message = serialize(value).hex()
    theirs = peer.ask("structured", key=private_key(signer), domain=_DOMAIN, message=message)
    digest = structured_hash(domain, value)
    assert theirs["hash"] == digest.hex()
    signature = bytes.fromhex(theirs["signature"])
    verify(digest, signature, signer.public_key)
    twin = signature[:32] + (_ORDER - int.from_bytes(signature[32:64], "big")).to_bytes(32, "big")
    with pytest.raises(SignatureError):
        verify(digest, twin + bytes((signature[64] ^ 1,)), signer.public_key)


_ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
_DOMAIN = (
    "0c0000000308636861696e2d69640100000000000000000000000080000000046e616d650d00000008426974486564676507"
    "76657273696f6e0d0000000131"
)


@_SOME
@given(address=addresses, data=st.data())
def test_both_know_an_address_and_its_misspellings(peer: StacksPeer, address: Any, data: st.DataObject) -> None:
    """Proves that every address of ours is one for the peer, and that a slip of a letter is one for neither."""
    text = address.text
    assert peer.ask("address", text=text) == {"valid": True}
    place = data.draw(st.integers(1, len(text) - 1))
    letter = data.draw(st.sampled_from("0123456789ABCDEFGHJKMNPQRSTVWXYZ"))
    assume(letter != text[place])
    slip = text[:place] + letter + text[place + 1 :]
    assert peer.ask("address", text=slip) == {"valid": False}
    with pytest.raises(CodecError):
        parse_address(slip)


def test_the_peer_is_asked_and_not_believed(peer: StacksPeer) -> None:
    """Proves that the comparison can fail: a damaged transaction is refused by the peer, with its reason."""
    with pytest.raises(PeerRefused):
        peer.ask("read", hex=hashlib.sha256(b"not a transaction").hexdigest())
