"""Accounts of several keys, in every hash mode, signed by the gateway's own codec."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from services.chain_gateway.stacks.clarity import parse_principal
from services.chain_gateway.stacks.payload import TokenTransfer
from services.chain_gateway.stacks.signer import KeySigner
from services.chain_gateway.stacks.spending import HashMode, KeyField, MultiSigCondition
from services.chain_gateway.stacks.transaction import TESTNET, Transaction, multi_sig, serialize_transaction
from services.chain_gateway.stacks.transaction_signing import sign_multisig
from tests.integration.devnet.chain import Chain
from tests.wallet import TransactionRejected

NOBODY = "ST000000000000000000002AMW42H"
FEE = 2_000
# No text: any bytes may be a memo.
MEMO = b"two \xff\xfe of three"
MODES = (HashMode.P2SH, HashMode.P2WSH, HashMode.P2SH_NON_SEQUENTIAL, HashMode.P2WSH_NON_SEQUENTIAL)


def owners(mode: HashMode) -> list[KeySigner]:
    """Three keys of a mode's own."""
    return [KeySigner(hashlib.sha256(f"owner {mode} {number}".encode()).digest() + b"\x01") for number in range(3)]


def unsigned(mode: HashMode, nonce: int = 0) -> Transaction:
    """A transfer with a memo by the two-of-three account."""
    keys = [owner.public_key for owner in owners(mode)]
    transfer = TokenTransfer(parse_principal(NOBODY), 5, MEMO)
    return Transaction(TESTNET, multi_sig(mode, keys, 2, nonce, FEE), transfer)


def signed_by(mode: HashMode, *indexes: int, nonce: int = 0) -> Transaction:
    """The transfer, signed by these owners."""
    own = owners(mode)
    keys = [owner.public_key for owner in own]
    return sign_multisig(unsigned(mode, nonce), keys, [own[index] for index in indexes])


@pytest.mark.parametrize("mode", MODES)
async def test_two_of_three_keys_spend(chain: Chain, mode: HashMode) -> None:
    """Any two owners sign for the account; the transfer, its memo and its fee are on the chain."""
    address = unsigned(mode).sender.text
    await chain.mined(await chain.devnet.faucet_stx(address, 100_000))
    for nonce, pair in enumerate(((0, 1), (0, 2), (1, 2))):
        raw = serialize_transaction(signed_by(mode, *pair, nonce=nonce)).hex()
        mined = await chain.mined(await chain.wallet.broadcast(raw))
        assert (mined["tx_status"], mined["sender_address"]) == ("success", address)
        assert bytes.fromhex(mined["token_transfer"]["memo"][2:]).rstrip(b"\0") == MEMO
    assert await chain.balance(address) == 100_000 - 3 * (FEE + 5)


@pytest.mark.parametrize("mode", MODES)
async def test_too_few_or_other_signatures_do_not(chain: Chain, mode: HashMode) -> None:
    """One signature, or one of another transaction, does not validate."""
    good, other = signed_by(mode, 0, 1), signed_by(mode, 0, 1, nonce=1)
    assert isinstance(good.origin, MultiSigCondition) and isinstance(other.origin, MultiSigCondition)
    second_key = KeyField(owners(mode)[1].public_key)
    too_few = replace(good.origin, fields=(good.origin.fields[0], second_key, good.origin.fields[2]))
    foreign = replace(good.origin, fields=other.origin.fields)
    for origin in (too_few, foreign):
        with pytest.raises(TransactionRejected) as caught:
            await chain.wallet.broadcast(serialize_transaction(good.authorized(origin, None)).hex())
        assert caught.value.reason == "SignatureValidation"
