"""Signed transactions: plain, sponsored, of several keys, and tampered ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from services.chain_gateway.stacks.c32 import parse_address
from services.chain_gateway.stacks.errors import CodecError
from services.chain_gateway.stacks.payload import Payload
from services.chain_gateway.stacks.post_condition import PostConditionMode
from services.chain_gateway.stacks.signer import KeySigner
from services.chain_gateway.stacks.spending import HashMode, MultiSigCondition, signer_hash
from services.chain_gateway.stacks.transaction import (
    AnchorMode,
    Network,
    Transaction,
    TransactionVersion,
    deserialize_transaction,
    multi_sig,
    pending_sponsor,
    serialize_transaction,
    single_sig,
)
from services.chain_gateway.stacks.transaction_signing import (
    initial_sighash,
    presign_sighash,
    sign_as_sponsor,
    sign_multisig,
    sign_transaction,
    verify_origin,
    verify_transaction,
)
from tests.vectors.entry import Check, Entry, check_sections
from tests.vectors.transaction_descriptions import (
    NETWORKS,
    to_payload,
    to_post_condition,
    to_transfer,
)

_ANCHOR_MODES = {
    "on-chain-only": AnchorMode.ON_CHAIN_ONLY,
    "off-chain-only": AnchorMode.OFF_CHAIN_ONLY,
    "any": AnchorMode.ANY,
}


def recognises(document: dict[str, Any]) -> bool:
    """Whether the document holds transactions."""
    return "transactions" in document or "sponsored" in document or "multisig_2of3" in document


def check(document: dict[str, Any]) -> Iterator[Entry]:
    """Checks each entry of the document."""
    sections: dict[str, Check] = {"transactions": _single, "sponsored": _sponsored, "tampered": _tampered}
    sections |= {name: _multisig for name in document if name.startswith("multisig_")}
    return check_sections(document, sections)


def _single(entry: Entry) -> None:
    signer = KeySigner.from_hex(entry["private_key"])
    entry.equal("public_key", signer.public_key.hex())
    network = NETWORKS[entry["network"]]
    entry.equal("tx_version", int(network.version))
    unsigned = Transaction(
        Network(TransactionVersion(entry["tx_version"]), entry["chain_id"]),
        single_sig(signer.public_key, int(entry["nonce"]), int(entry["fee"])),
        to_payload(entry["kind"], entry["payload"]),
        tuple(map(to_post_condition, entry["post_conditions"])),
        PostConditionMode[entry["post_condition_mode"].upper()],
        _ANCHOR_MODES[entry["anchor_mode"]],
    )
    entry.equal("sender", unsigned.sender.text)
    entry.equal("unsigned_hex", serialize_transaction(unsigned).hex())
    entry.equal("initial_sighash", initial_sighash(unsigned).hex())
    entry.equal("presign_sighash", presign_sighash(unsigned).hex())
    signed = sign_transaction(unsigned, signer)
    _signed(entry, signed)
    entry.require("the key signed", verify_transaction(signed).origin_keys == (signer.public_key,))
    entry.require("unsigned_hex reads back", _read(entry["unsigned_hex"]) == unsigned)
    entry.refused("unsigned_hex as signed", lambda: verify_transaction(unsigned), CodecError)


def _sponsored(entry: Entry) -> None:
    origin = KeySigner.from_hex(entry["origin_private_key"])
    sponsor = KeySigner.from_hex(entry["sponsor_private_key"])
    unsigned = Transaction(
        NETWORKS[entry["network"]],
        single_sig(origin.public_key, int(entry["origin_nonce"]), int(entry["origin_fee"])),
        to_payload(entry.get("kind", "contract-call"), entry["payload"]),
        tuple(map(to_post_condition, entry.get("post_conditions", ()))),
        PostConditionMode[entry["post_condition_mode"].upper()],
        sponsor=pending_sponsor(),
    )
    entry.equal("origin", unsigned.sender.text)
    waiting = sign_transaction(unsigned, origin)
    entry.equal("origin_signed_hex", serialize_transaction(waiting).hex())
    origin_keys = verify_origin(_read(entry["origin_signed_hex"]))
    entry.require("the origin signed before the sponsor", origin_keys == (origin.public_key,))
    entry.refused("without a sponsor's signature", lambda: verify_transaction(waiting), CodecError)
    payer = single_sig(sponsor.public_key, int(entry["sponsor_nonce"]), int(entry["sponsor_fee"]))
    signed = sign_as_sponsor(waiting, payer, sponsor)
    entry.equal("sponsor", str(signed.sponsor_address))
    _signed(entry, signed)
    verified = verify_transaction(signed)
    entry.require("the origin signed", verified.origin_keys == (origin.public_key,))
    entry.require("the sponsor signed", verified.sponsor_keys == (sponsor.public_key,))


def _multisig(entry: Entry) -> None:
    mode, threshold = HashMode(entry["hash_mode"]), entry["threshold"]
    owners = [KeySigner.from_hex(key) for key in entry["private_keys"]]
    keys = [owner.public_key for owner in owners]
    signers = [owners[index] for index in entry["signer_indexes"]]
    entry.equal("public_keys", [key.hex() for key in keys])
    if signer_hash(mode, keys, threshold).hex() != entry["signer_hash160"]:
        keys.sort()
    condition = multi_sig(mode, keys, threshold, int(entry["nonce"]), int(entry["fee"]))
    unsigned = Transaction(NETWORKS[entry["network"]], condition, _shared_payload(entry))
    entry.equal("signer_hash160", condition.signer.hex())
    entry.equal("address", unsigned.sender.text)
    entry.require("address reads back", parse_address(entry["address"]).hash160 == condition.signer)
    signed = sign_multisig(unsigned, keys, signers)
    _signed(entry, signed)
    expected = {signer.public_key for signer in signers}
    entry.require("the owners signed", set(verify_transaction(signed).origin_keys) == expected)
    _without_one_signature(entry, signed)


def _shared_payload(entry: Entry) -> Payload:
    if "payload" in entry:
        return to_payload(entry.get("kind", "contract-call"), entry["payload"])
    return to_transfer({name: entry[name] for name in ("recipient", "amount", "memo")})


def _without_one_signature(entry: Entry, signed: Transaction) -> None:
    """A shared account with a signature too few must be refused."""
    origin = signed.origin
    if not isinstance(origin, MultiSigCondition):
        entry.require("the condition is of several keys", False)
        return
    fewer = replace(signed, origin=replace(origin, fields=origin.fields[1:]))
    entry.refused("with one field less", lambda: verify_transaction(fewer), CodecError)


def _signed(entry: Entry, signed: Transaction) -> None:
    entry.equal("signed_hex", serialize_transaction(signed).hex())
    entry.equal("txid", signed.txid)
    data = bytes.fromhex(entry["signed_hex"])
    read = deserialize_transaction(data)
    entry.require("signed_hex reads back", read == signed)
    entry.require("signed_hex has the txid", read.txid == entry["txid"])
    entry.refused("one byte less", lambda: deserialize_transaction(data[:-1]), CodecError)
    entry.refused("one byte more", lambda: deserialize_transaction(data + b"\0"), CodecError)


def _tampered(entry: Entry) -> None:
    entry.refused("signed_hex", lambda: verify_transaction(_read(entry["signed_hex"])), CodecError)
    entry.peer("peer_accepts")


def _read(text: str) -> Transaction:
    return deserialize_transaction(bytes.fromhex(text))
