"""Transactions: written, read, signed and verified; nothing damaged is accepted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chain_gateway.stacks.c32 import Address, AddressVersion
from services.chain_gateway.stacks.clarity import Buffer, ContractPrincipal, StandardPrincipal, UInt
from services.chain_gateway.stacks.errors import CodecError, SignatureError
from services.chain_gateway.stacks.payload import ContractCall, ContractDeploy, TokenTransfer
from services.chain_gateway.stacks.signer import KeySigner
from services.chain_gateway.stacks.spending import HashMode, MultiSigCondition, SingleSigCondition, signer_hash
from services.chain_gateway.stacks.transaction import (
    TESTNET,
    Network,
    Transaction,
    TransactionVersion,
    deserialize_transaction,
    multi_sig,
    pending_sponsor,
    serialize_transaction,
    single_sig,
    sip010_transfer,
)
from services.chain_gateway.stacks.transaction_signing import (
    sign_as_sponsor,
    sign_multisig,
    sign_transaction,
    verify_origin,
    verify_transaction,
)
from tests.unit.chain_gateway.stacks_strategies import signers, unsigned_transactions

_OWNERS = [KeySigner(bytes(31) + bytes([number]) + b"\x01") for number in (1, 2, 3)]
_ACCOUNT = Address(AddressVersion.TESTNET_SINGLE_SIG, bytes(20))
_TRANSFER = TokenTransfer(StandardPrincipal(_ACCOUNT), 5, b"memo")
_SHARED_MODES = [mode for mode in HashMode if not mode.is_single]


@given(unsigned_transactions())
def test_each_transaction_survives_the_wire(transaction: Transaction) -> None:
    """Proves that reading what was written gives the transaction back."""
    data = serialize_transaction(transaction)
    assert deserialize_transaction(data) == transaction
    with pytest.raises(CodecError):
        deserialize_transaction(data + b"\0")
    with pytest.raises(CodecError):
        verify_transaction(transaction)


@given(unsigned_transactions(), st.data())
def test_a_prefix_of_a_transaction_is_refused(transaction: Transaction, data: st.DataObject) -> None:
    """Proves that a truncated transaction is a CodecError, wherever it ends."""
    whole = serialize_transaction(transaction)
    with pytest.raises(CodecError):
        deserialize_transaction(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(st.binary(max_size=400))
def test_any_bytes_end_in_a_transaction_or_the_typed_error(data: bytes) -> None:
    """Proves that reading never raises anything but CodecError."""
    for bytes_read in (data, bytes.fromhex("808000000004") + data):
        try:
            transaction = deserialize_transaction(bytes_read)
        except CodecError:
            continue
        assert serialize_transaction(transaction) == bytes_read


@given(signers, st.data())
def test_no_bit_of_a_signed_transaction_can_be_changed(signer: KeySigner, data: st.DataObject) -> None:
    """Proves that a change of any one bit leaves bytes that are refused, whoever made it."""
    unsigned = replace(data.draw(unsigned_transactions(signer)), sponsor=None)
    signed = sign_transaction(unsigned, signer)
    assert verify_transaction(signed).origin_keys == (signer.public_key,)
    damaged = bytearray(serialize_transaction(signed))
    bit = data.draw(st.integers(0, len(damaged) * 8 - 1))
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CodecError):
        verify_transaction(deserialize_transaction(bytes(damaged)))


@given(signers, signers, unsigned_transactions())
def test_a_sponsor_pays_for_what_the_origin_signed(
    origin: KeySigner, sponsor: KeySigner, template: Transaction
) -> None:
    """Proves that origin and sponsor both sign, and that neither's part can be exchanged afterwards."""
    unsigned = replace(template, origin=single_sig(origin.public_key, 1, 0), sponsor=pending_sponsor())
    signed = sign_as_sponsor(sign_transaction(unsigned, origin), single_sig(sponsor.public_key, 7, 900), sponsor)
    verified = verify_transaction(deserialize_transaction(serialize_transaction(signed)))
    assert (verified.origin_keys, verified.sponsor_keys) == ((origin.public_key,), (sponsor.public_key,))
    assert (signed.fee_ustx, signed.nonce) == (900, 1)
    condition = signed.sponsor
    assert isinstance(condition, SingleSigCondition)
    with pytest.raises(SignatureError):
        verify_transaction(replace(signed, sponsor=replace(condition, fee=901)))
    with pytest.raises(SignatureError):
        verify_transaction(replace(signed, sponsor=None))
    assert verify_origin(signed) == (origin.public_key,)


@pytest.mark.parametrize("mode", _SHARED_MODES)
@pytest.mark.parametrize("present", [(0, 1), (0, 2), (1, 2)])
def test_any_two_of_three_owners_may_sign(mode: HashMode, present: tuple[int, int]) -> None:
    """Proves shared accounts in each hash mode, and that one signature or a stranger's is not enough."""
    keys = [owner.public_key for owner in _OWNERS]
    unsigned = Transaction(TESTNET, multi_sig(mode, keys, 2, 3, 400), _TRANSFER)
    assert unsigned.sender == Address(AddressVersion.TESTNET_MULTI_SIG, signer_hash(mode, keys, 2))
    signed = sign_multisig(unsigned, keys, [_OWNERS[index] for index in present])
    read = deserialize_transaction(serialize_transaction(signed))
    assert read == signed
    assert verify_transaction(read).origin_keys == tuple(keys[index] for index in present)
    with pytest.raises(SignatureError):
        sign_multisig(unsigned, keys, [_OWNERS[present[0]]])
    with pytest.raises(CodecError):
        sign_multisig(unsigned, keys, [_OWNERS[0], KeySigner(bytes(31) + b"\x09\x01")])
    with pytest.raises(CodecError):
        sign_multisig(unsigned, keys[::-1], _OWNERS[:2])


def test_more_signatures_than_required_pass_only_where_the_order_is_free() -> None:
    """Proves the one difference in counting between sequential and non-sequential accounts."""
    keys = [owner.public_key for owner in _OWNERS]
    free = Transaction(TESTNET, multi_sig(HashMode.P2SH_NON_SEQUENTIAL, keys, 2, 0, 0), _TRANSFER)
    assert len(verify_transaction(sign_multisig(free, keys, _OWNERS)).origin_keys) == 3
    bound = replace(free, origin=multi_sig(HashMode.P2SH, keys, 2, 0, 0))
    with pytest.raises(SignatureError):
        sign_multisig(bound, keys, _OWNERS)


def test_uncompressed_keys_share_accounts_except_in_segwit_modes() -> None:
    """Proves that an owner's spelling of the key is part of the account and survives the wire."""
    owners = [KeySigner(bytes(31) + bytes([number])) for number in (4, 5)]
    keys = [owner.public_key for owner in owners]
    unsigned = Transaction(TESTNET, multi_sig(HashMode.P2SH, keys, 1, 0, 0), _TRANSFER)
    signed = sign_multisig(unsigned, keys, owners[:1])
    assert deserialize_transaction(serialize_transaction(signed)) == signed
    assert verify_transaction(signed).origin_keys == (keys[0],)
    for mode in (HashMode.P2WSH, HashMode.P2WSH_NON_SEQUENTIAL):
        with pytest.raises(CodecError):
            multi_sig(mode, keys, 1, 0, 0)


def test_single_segwit_accounts_sign_too() -> None:
    """Proves the account of one key behind a witness program."""
    owner = _OWNERS[0]
    condition = SingleSigCondition(
        HashMode.P2WPKH, signer_hash(HashMode.P2WPKH, [owner.public_key]), nonce=0, fee=1, compressed=True
    )
    signed = sign_transaction(Transaction(TESTNET, condition, _TRANSFER), owner)
    assert verify_transaction(signed).origin_keys == (owner.public_key,)
    assert signed.sender.version == AddressVersion.TESTNET_MULTI_SIG


class _OtherKey:
    """Claims one key and signs with another, as a misconfigured machine would."""

    is_remote = False
    public_key = _OWNERS[0].public_key

    def address(self, version: int) -> Address:
        return _OWNERS[0].address(version)

    def sign_digest(self, digest: bytes) -> bytes:
        return _OWNERS[1].sign_digest(digest)


def test_a_signer_is_not_taken_at_its_word() -> None:
    """Proves that a signature of another key than the account's is refused before it leaves."""
    unsigned = Transaction(TESTNET, single_sig(_OWNERS[0].public_key, 0, 0), _TRANSFER)
    with pytest.raises(SignatureError):
        sign_transaction(unsigned, _OtherKey())
    with pytest.raises(CodecError):
        sign_transaction(unsigned, _OWNERS[1])
    shared = multi_sig(HashMode.P2SH, [_OWNERS[0].public_key], 1, 0, 0)
    with pytest.raises(CodecError):
        sign_transaction(replace(unsigned, origin=shared), _OWNERS[0])


def test_a_forged_condition_cannot_claim_more_keys_than_there_are() -> None:
    """Proves that absurd thresholds and numbers of fields are refused while reading."""
    keys = [owner.public_key for owner in _OWNERS]
    unsigned = Transaction(TESTNET, multi_sig(HashMode.P2SH, keys, 2, 0, 0), _TRANSFER)
    whole = serialize_transaction(unsigned)
    place = 1 + 4 + 1 + 1 + 20 + 8 + 8
    for fields in (b"\xff\xff\xff\xff", b"\x00\x00\x00\x11"):
        with pytest.raises(CodecError):
            deserialize_transaction(whole[:place] + fields + whole[place + 4 :])
    with pytest.raises(CodecError):
        MultiSigCondition(HashMode.P2SH, bytes(20), 0, 0, (), 17)
    with pytest.raises(SignatureError):
        verify_transaction(unsigned)


def test_parts_check_themselves() -> None:
    """Proves that no transaction exists that could not be written."""
    attempts: list[Callable[[], object]] = [
        lambda: TokenTransfer(StandardPrincipal(_ACCOUNT), 1 << 64),
        lambda: TokenTransfer(StandardPrincipal(_ACCOUNT), -1),
        lambda: TokenTransfer(StandardPrincipal(_ACCOUNT), 1, bytes(35)),
        lambda: ContractCall(_ACCOUNT, "a" * 41, "f"),
        lambda: ContractCall(_ACCOUNT, "a", "1f"),
        lambda: ContractDeploy("a", "\ud800", None),
        lambda: ContractDeploy("a", "", 0),
        lambda: single_sig(_OWNERS[0].public_key, -1, 0),
        lambda: single_sig(_OWNERS[0].public_key, 0, 1 << 64),
        lambda: Network(TransactionVersion.TESTNET, 1 << 32),
    ]
    for attempt in attempts:
        with pytest.raises(CodecError):
            attempt()


def test_a_token_transfer_is_the_call_that_sip_010_names() -> None:
    """Proves the order of a SIP-010 transfer's arguments."""
    token, recipient = ContractPrincipal(_ACCOUNT, "sbtc-token"), StandardPrincipal(_ACCOUNT)
    call = sip010_transfer(token, 7, _ACCOUNT, recipient, Buffer(b"x"))
    assert call.function_name == "transfer"
    assert call.contract == token
    assert call.arguments[0] == UInt(7)
    assert len(call.arguments) == 4
