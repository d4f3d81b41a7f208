"""Addresses, keys, signatures, messages and signers."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.settings import SettingsError
from services.chain_gateway.stacks.c32 import Address, AddressVersion, parse_address
from services.chain_gateway.stacks.clarity import ClarityValue, ContractPrincipal, TupleValue, UInt
from services.chain_gateway.stacks.errors import CodecError, SignatureError
from services.chain_gateway.stacks.keys import check_public_key, check_signature, recover, uncompress, verify
from services.chain_gateway.stacks.messages import (
    plain_hash,
    recover_plain,
    recover_structured,
    sign_plain,
    sign_structured,
    structured_domain,
    structured_hash,
    verify_plain,
    verify_structured,
)
from services.chain_gateway.stacks.signer import KeySigner
from tests.unit.chain_gateway.stacks_strategies import addresses, signers, values

_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_SECRET = "c32adbe09abfac4ede9a08e30af64520816849517a9ed15bf5056dcd36b2f9a9"
_DIGESTS = st.binary(min_size=32, max_size=32)


@given(addresses)
def test_addresses_survive_their_spelling(address: Address) -> None:
    """Proves that an address reads back from its text, leading zeros included."""
    assert parse_address(address.text) == address
    assert parse_address(Address(address.version, bytes(12) + address.hash160[:8]).text).hash160[:12] == bytes(12)


@given(addresses, st.data())
def test_an_address_with_another_character_is_refused(address: Address, data: st.DataObject) -> None:
    """Proves that a slip in any one place is seen, lower case and look-alikes included."""
    place = data.draw(st.integers(0, len(address.text) - 1))
    character = data.draw(st.characters().filter(lambda c: c != address.text[place]))
    with pytest.raises(CodecError):
        parse_address(address.text[:place] + character + address.text[place + 1 :])


@given(signers, _DIGESTS)
def test_a_signature_recovers_to_its_key_and_its_twins_are_refused(signer: KeySigner, digest: bytes) -> None:
    """Proves that of all spellings of a signature only the low-s one with its recovery id is accepted."""
    signature = signer.sign_digest(digest)
    verify(digest, signature, signer.public_key)
    assert recover(digest, signature, compressed=len(signer.public_key) == 33) == signer.public_key
    s = int.from_bytes(signature[32:64], "big")
    high_s = signature[:32] + (_ORDER - s).to_bytes(32, "big") + bytes([signature[64] ^ 1])
    for twin in (high_s, signature[:64] + bytes([signature[64] ^ 1]), signature[:64], signature + b"\0"):
        with pytest.raises(SignatureError):
            verify(digest, twin, signer.public_key)


@given(st.binary(min_size=60, max_size=70), _DIGESTS)
def test_any_bytes_as_a_signature_end_in_a_key_or_the_typed_error(signature: bytes, digest: bytes) -> None:
    """Proves that recovery never raises anything but SignatureError."""
    try:
        key = recover(digest, signature)
    except SignatureError:
        return
    verify(digest, signature, key)


def test_signatures_out_of_range_are_refused() -> None:
    """Proves the bounds of R, S and V."""
    one, order = (1).to_bytes(32, "big"), _ORDER.to_bytes(32, "big")
    check_signature(one + one + b"\x03")
    for bad in (bytes(32) + one + b"\0", order + one + b"\0", one + bytes(32) + b"\0", one + order + b"\0"):
        with pytest.raises(SignatureError):
            check_signature(bad)
    with pytest.raises(SignatureError):
        check_signature(one + one + b"\x04")


def test_public_keys_off_the_curve_or_of_other_spellings_are_refused() -> None:
    """Proves that only points in their two usual spellings are public keys."""
    key = KeySigner.from_hex(_SECRET).public_key
    hybrid = b"\x06" + key[1:]
    for bad in (b"", bytes(33), b"\x02" + b"\xff" * 32, hybrid, key[:-1], key + b"\0", b"\x04" + bytes(64)):
        with pytest.raises(CodecError):
            check_public_key(bad)
    assert check_public_key(key) == uncompress(key) == key


@given(signers, st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_plain_messages_verify_and_no_other_does(signer: KeySigner, message: str) -> None:
    """Proves that a plain message is bound to its text, also where its length takes another form."""
    signature = sign_plain(signer, message)
    verify_plain(message, signature, signer.public_key)
    assert uncompress(recover_plain(message, signature)) == uncompress(signer.public_key)
    with pytest.raises(SignatureError):
        verify_plain(message + " ", signature, signer.public_key)


@given(signers, values, values)
def test_structured_messages_verify_under_their_own_domain_only(
    signer: KeySigner, message: ClarityValue, other: ClarityValue
) -> None:
    """Proves that a structured message is bound to kind, chain, contract and content."""
    contract = ContractPrincipal(signer.address(AddressVersion.TESTNET_SINGLE_SIG), "oracle")
    domain = structured_domain("bithedge-quote", 1, contract)
    signature = sign_structured(signer, domain, message)
    verify_structured(domain, message, signature, signer.public_key)
    assert uncompress(recover_structured(domain, message, signature)) == uncompress(signer.public_key)
    wrong = [
        structured_domain("bithedge-voucher", 1, contract),
        structured_domain("bithedge-quote", 2, contract),
        structured_domain("bithedge-quote", 1, ContractPrincipal(contract.address, "other")),
    ]
    for elsewhere in wrong:
        with pytest.raises(SignatureError):
            verify_structured(elsewhere, message, signature, signer.public_key)
    if other != message:
        with pytest.raises(SignatureError):
            verify_structured(domain, other, signature, signer.public_key)


def test_kinds_of_messages_never_share_a_digest() -> None:
    """Proves that plain text cannot be mistaken for a structured message with the same bytes."""
    value = TupleValue({"a": UInt(1)})
    assert plain_hash("SIP018") != structured_hash(value, value)


def test_unspeakable_text_is_the_typed_error() -> None:
    """Proves that a lone surrogate in a message is a CodecError."""
    with pytest.raises(CodecError):
        plain_hash("\ud800")


def test_a_signer_never_shows_its_key() -> None:
    """Proves that neither text, errors nor pickling give the private key away."""
    signer = KeySigner.from_hex(_SECRET)
    for shown in (repr(signer), str(signer), f"{signer}", repr([signer])):
        assert _SECRET not in shown
        assert signer.public_key.hex() in shown
    assert not hasattr(signer, "__dict__")
    with pytest.raises(TypeError):
        pickle.dumps(signer)
    for bad in (_SECRET + "02", _SECRET[:-2], "zz" + _SECRET[2:], "00" * 32, "ff" * 32):
        with pytest.raises(CodecError) as caught:
            KeySigner.from_hex(bad)
        assert _SECRET[4:40] not in repr(caught.value)
        assert caught.value.__cause__ is None


def _key_file(path: Path, content: str, mode: int) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


def test_a_key_file_is_read_by_its_owner_alone(tmp_path: Path) -> None:
    """Proves that a key file of another mode, or without a key, is refused, and nothing of it shown."""
    good = _key_file(tmp_path / "good", _SECRET + "01\n", 0o600)
    assert KeySigner.from_file(good).public_key == KeySigner.from_hex(_SECRET + "01").public_key
    for mode in (0o640, 0o604, 0o644, 0o700):
        with pytest.raises(SettingsError):
            KeySigner.from_file(_key_file(tmp_path / f"mode{mode}", _SECRET, mode))
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "mode420")
    os.mkfifo(tmp_path / "pipe", 0o600)
    empty = _key_file(tmp_path / "empty", "", 0o600)
    pipe, missing = tmp_path / "pipe", tmp_path / "missing"
    for bad in (link, pipe, missing, empty, tmp_path, _key_file(tmp_path / "bad", _SECRET + "zz", 0o600)):
        with pytest.raises(SettingsError) as caught:
            KeySigner.from_file(bad)
        assert _SECRET[:20] not in str(caught.value)
